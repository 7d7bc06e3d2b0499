// SPDX-License-Identifier: GPL-2.0

//! What `userbench suite` writes, and the report reads: all that was measured in one boot.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fs, io, path::Path};

/// What the boot was, beside what each result says of its machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The configuration that was booted.
    pub boot: String,
    /// `quick` or `full`.
    pub depth: String,
    /// The project's commit, with `-dirty` where the tree was not that.
    pub commit: String,
    /// When it was measured.
    pub date: String,
    /// The host's processor, and how many of them.
    pub host: String,
    /// The guest's memory.
    pub memory: String,
    /// Of the order in which the sizes were measured.
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    #[serde(flatten)]
    pub about: About,
    /// What the benchmarks have written; each with `variant`, their further arguments, and
    /// `policy_splits`, whether a call of that size is split when nothing forces it to be.
    pub results: Vec<Value>,
}

impl Suite {
    /// Writes it, with a line for each result.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let about = serde_json::to_string_pretty(&self.about)?;
        let about = about.trim_end_matches('}').trim_end();
        let results: Vec<_> = self.results.iter().map(Value::to_string).collect();
        let results = results.join(",\n");
        fs::write(
            path,
            format!("{about},\n  \"results\": [\n{results}\n  ]\n}}\n"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_what_it_reads() {
        let suite = Suite {
            about: About {
                commit: "{brace}".into(),
                seed: 7,
                ..About::default()
            },
            results: vec![json!({"bench": "fork"}), json!({"bench": "read"})],
        };
        let path = std::env::temp_dir().join(format!("suite-{}", std::process::id()));
        suite.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(serde_json::from_str::<Suite>(&text).unwrap(), suite);
        assert_eq!(
            text.lines().filter(|line| line.contains("bench")).count(),
            2
        );
    }
}
