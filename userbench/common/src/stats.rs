// SPDX-License-Identifier: GPL-2.0

//! The counters that the kernel keeps of each path.

use anyhow::{Context, Result, anyhow};
use serde::{Serialize, Serializer};
use std::{fs, io, str::FromStr};

const FILE: &str = "/sys/kernel/debug/parcall/stats";
/// Keys of calls that stayed serial begin with this; the reason follows.
const SERIAL: &str = "serial_";

/// Values by name, in the order in which they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<T>(pub Vec<(String, T)>);

impl<T> Table<T> {
    pub fn get(&self, name: &str) -> Option<&T> {
        self.iter()
            .find(|&(known, _)| known == name)
            .map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// The counters of one path.
pub type Counters = Table<u64>;

impl Counters {
    pub fn count(&self, name: &str) -> u64 {
        self.get(name).copied().unwrap_or(0)
    }

    /// The reasons for which calls stayed serial, the most frequent first.
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        let mut reasons: Vec<_> = self
            .iter()
            .filter_map(|(key, &count)| Some((key.strip_prefix(SERIAL)?, count)))
            .filter(|&(_, count)| count != 0)
            .collect();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        reasons
    }

    /// All counters but those.
    pub fn others(&self) -> impl Iterator<Item = (&str, u64)> {
        self.iter()
            .filter(|(key, _)| !key.starts_with(SERIAL))
            .map(|(key, &count)| (key, count))
    }

    /// What was counted since. A counter that is less than before began anew, with the module.
    fn since(&self, before: Option<&Self>) -> Self {
        let change = |(key, &count): (&str, &u64)| {
            let old = before.map_or(0, |before| before.count(key));
            (key.to_string(), count.checked_sub(old).unwrap_or(count))
        };
        Table(self.iter().map(change).collect())
    }
}

/// All paths.
pub type Stats = Table<Counters>;

impl Stats {
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(FILE).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "only root may see the counters",
                _ => "no counters; is debugfs mounted? (mount -t debugfs none /sys/kernel/debug)",
            };
            anyhow!("{hint}: {FILE}: {error}")
        })?;
        text.parse().context(FILE)
    }

    /// What was counted since.
    pub fn since(&self, before: &Self) -> Self {
        Table(
            self.iter()
                .map(|(path, counters)| (path.to_string(), counters.since(before.get(path))))
                .collect(),
        )
    }
}

impl FromStr for Stats {
    type Err = anyhow::Error;

    /// A line is a path's name, and pairs such as `calls=3`.
    fn from_str(text: &str) -> Result<Self> {
        let pair = |word: &str| {
            let (key, count) = word.split_once('=')?;
            Some((key.to_string(), count.parse().ok()?))
        };
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let path = words.next()?.to_string();
            Some((path, Table(words.map(pair).collect::<Option<_>>()?)))
        };
        text.lines()
            .map(|text| line(text).with_context(|| format!("'{text}' is no line of counters")))
            .collect::<Result<_>>()
            .map(Table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        fork calls=9 parallel=2 serial_small=3 serial_busy=0 serial_caller=4 chunks=40\n\
        read calls=1 parallel=1\n";

    #[test]
    fn reads_lines_of_any_keys() {
        let stats: Stats = TEXT.parse().unwrap();
        let fork = stats.get("fork").unwrap();
        assert_eq!(fork.count("chunks"), 40);
        assert_eq!(fork.count("unknown"), 0);
        assert_eq!(stats.get("read").unwrap().count("parallel"), 1);
        assert!(stats.get("write").is_none());
    }

    #[test]
    fn refuses_what_is_no_counter() {
        for text in [
            "fork calls",
            "fork calls=",
            "fork calls=-1",
            "fork calls=1 x",
            "\n",
        ] {
            assert!(text.parse::<Stats>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn sorts_the_reasons_and_keeps_them_apart() {
        let stats: Stats = TEXT.parse().unwrap();
        let fork = stats.get("fork").unwrap();
        assert_eq!(fork.reasons(), [("caller", 4), ("small", 3)]);
        let others: Vec<_> = fork.others().collect();
        assert_eq!(others, [("calls", 9), ("parallel", 2), ("chunks", 40)]);
    }

    #[test]
    fn counts_what_is_new() {
        let before: Stats = "fork calls=4 chunks=50\n".parse().unwrap();
        let now: Stats = TEXT.parse().unwrap();
        let new = now.since(&before);

        let fork = new.get("fork").unwrap();
        assert_eq!(fork.count("calls"), 5);
        // Not counted before, and begun anew.
        assert_eq!(fork.count("serial_small"), 3);
        assert_eq!(fork.count("chunks"), 40);
        assert_eq!(new.get("read"), now.get("read"));
    }

    #[test]
    fn json_is_by_name() {
        let stats: Stats = "fork calls=4 chunks=50".parse().unwrap();
        assert_eq!(
            serde_json::to_string(&stats).unwrap(),
            r#"{"fork":{"calls":4,"chunks":50}}"#
        );
    }
}
