// SPDX-License-Identifier: GPL-2.0

//! What was measured, read from files.

use crate::{interval::Interval, overhead::Overhead};
use anyhow::{Context, Result};
use common::{
    machine::Machine,
    record::{Mode, Record},
    size::Size,
    suite::{About, Suite},
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many times as fast is faster, and not noise.
pub const MARGIN: f64 = 1.05;

/// What a benchmark has said of a mode.
#[derive(Clone, Debug)]
pub struct Half {
    pub record: Record,
    pub times_ns: Vec<u64>,
}

/// A benchmark with one size and number of workers, serial and parallel in turns.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Where it was measured: an index into [`Data::boots`].
    pub boot: usize,
    pub serial: Half,
    pub parallel: Half,
    /// The further arguments of a path's benchmark; other benchmarks have none.
    pub variant: Option<String>,
    /// Whether a call is split when nothing forces it to be.
    pub policy_splits: Option<bool>,
    /// In how many measurements of the parallel mode a call was split.
    pub split: Option<u64>,
    pub gain: Interval,
    /// Of the parallel call, on simulated cores: the instructions of all, over those of the busiest.
    pub work_over_span: Option<f64>,
}

impl Pair {
    pub fn bench(&self) -> &str {
        &self.serial.record.bench
    }

    pub fn size(&self) -> Size {
        Size(self.serial.record.size_bytes)
    }

    pub fn workers(&self) -> u64 {
        self.serial.record.workers
    }

    pub fn machine(&self) -> &Machine {
        &self.serial.record.machine
    }

    pub fn is_simulated(&self) -> bool {
        self.machine().accel == "sim"
    }

    /// What makes it the same figure in another run.
    fn key(&self) -> (&str, Option<&str>, Size, u64, &str, usize) {
        let Machine { accel, vcpus, .. } = self.machine();
        let variant = self.variant.as_deref();
        (
            self.bench(),
            variant,
            self.size(),
            self.workers(),
            accel,
            *vcpus,
        )
    }
}

/// All results.
#[derive(Default)]
pub struct Data {
    pub boots: Vec<About>,
    pub pairs: Vec<Pair>,
    pub overhead: Option<Overhead>,
}

impl Data {
    /// Reads a file, or all of a directory.
    pub fn load(path: &Path) -> Result<Self> {
        let mut data = Self::default();
        let mut files = list(path).with_context(|| path.display().to_string())?;
        files.sort();
        for file in &files {
            let mut read = || data.add(serde_json::from_str(&fs::read_to_string(file)?)?);
            read().with_context(|| file.display().to_string())?;
        }
        data.pairs.sort_by(|one, other| {
            let key = |pair: &Pair| (pair.boot, pair.workers(), pair.size());
            key(one).cmp(&key(other))
        });
        Ok(data)
    }

    fn add(&mut self, json: Value) -> Result<()> {
        if json.get("calls").is_some() {
            self.overhead = Some(Overhead::deserialize(json)?);
            return Ok(());
        }
        // A list is what `make sim` writes.
        let suite = match json {
            Value::Array(results) => Suite {
                about: About::default(),
                results,
            },
            json => Suite::deserialize(json)?,
        };
        let boot = self.boots.len();
        let mut left: Vec<(Half, Value)> = Vec::new();
        for result in suite.results {
            let half = Half {
                record: Record::deserialize(&result)?,
                times_ns: match result.get("times_ns") {
                    Some(times) => Vec::deserialize(times)?,
                    None => Vec::new(),
                },
            };
            // The others are not of calls that are the same but for being split.
            if !matches!(half.record.mode, Mode::Serial | Mode::Parallel) {
                continue;
            }
            let same = |(other, json): &(Half, Value)| {
                let of =
                    |record: &Record| (record.bench.clone(), record.size_bytes, record.workers);
                of(&other.record) == of(&half.record)
                    && other.record.mode != half.record.mode
                    && json.get("variant") == result.get("variant")
            };
            let Some(index) = left.iter().position(same) else {
                left.push((half, result));
                continue;
            };
            let other = left.swap_remove(index);
            let (serial, parallel) = match half.record.mode {
                Mode::Serial => ((half, result), other),
                _ => (other, (half, result)),
            };
            let json = &parallel.1;
            self.pairs.push(Pair {
                boot,
                gain: gain(&serial.0, &parallel.0, suite.about.seed),
                variant: json["variant"].as_str().map(String::from),
                policy_splits: json["policy_splits"].as_bool(),
                split: json["split"].as_u64(),
                work_over_span: json["work_instructions"]
                    .as_f64()
                    .zip(json["span_instructions"].as_f64())
                    .map(|(work, span)| work / span),
                serial: serial.0,
                parallel: parallel.0,
            });
        }
        self.boots.push(suite.about);
        Ok(())
    }

    /// Of how many figures there are in both, the intervals overlap, and how many there are.
    pub fn agreement(&self, other: &Self) -> (usize, usize) {
        let overlaps: Vec<_> = self
            .pairs
            .iter()
            .filter_map(|pair| {
                let twin = other.pairs.iter().find(|twin| twin.key() == pair.key())?;
                Some(pair.gain.overlaps(&twin.gain))
            })
            .collect();
        let agree = overlaps.iter().filter(|&&overlaps| overlaps).count();
        (agree, overlaps.len())
    }
}

/// Where not all times are known, from the fastest and the slowest of the parallel ones.
fn gain(serial: &Half, parallel: &Half, seed: u64) -> Interval {
    if serial.times_ns.is_empty() || parallel.times_ns.is_empty() {
        let median = serial.record.median_ns as f64;
        let over = |nanoseconds: u64| median / nanoseconds.max(1) as f64;
        return Interval {
            value: over(parallel.record.median_ns),
            low: over(parallel.record.max_ns),
            high: over(parallel.record.min_ns),
        };
    }
    Interval::of_medians(&serial.times_ns, &parallel.times_ns, seed)
}

/// All JSON files in a directory and below.
fn list(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir()
            || path
                .extension()
                .is_some_and(|extension| extension == "json")
        {
            files.extend(list(&path)?);
        }
    }
    Ok(files)
}

/// The smallest size from which on all win, of one width and in order of size.
pub fn break_even<'a>(pairs: impl DoubleEndedIterator<Item = &'a Pair>) -> Option<Size> {
    pairs
        .rev()
        .take_while(|pair| pair.gain.value >= MARGIN)
        .last()
        .map(Pair::size)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    pub fn half(bench: &str, mode: &str, megabytes: u64, nanoseconds: u64) -> Value {
        json!({
            "bench": bench, "size_bytes": megabytes << 20, "mode": mode, "workers": 2, "repeat": 3,
            "median_ns": nanoseconds, "p99_ns": nanoseconds, "min_ns": nanoseconds,
            "max_ns": nanoseconds, "accel": "tcg", "vcpus": 2, "kernel": "7.3.4+", "split": 3,
            "times_ns": [nanoseconds, nanoseconds, nanoseconds], "variant": "",
            "policy_splits": megabytes >= 16
        })
    }

    /// Results of fork by size, with the time of the parallel call where the serial one is 1000 ns.
    pub fn forks(times: &[(u64, u64)]) -> Data {
        let mut data = Data::default();
        let results: Vec<_> = times
            .iter()
            .flat_map(|&(megabytes, parallel)| {
                [("parallel", parallel), ("serial", 1000)]
                    .map(|(mode, time)| half("fork", mode, megabytes, time))
            })
            .collect();
        data.add(Value::Array(results)).unwrap();
        data
    }

    #[test]
    fn pairs_modes_of_the_same() {
        let data = forks(&[(1, 500), (4, 800)]);
        let gains: Vec<_> = data.pairs.iter().map(|pair| pair.gain.value).collect();
        assert_eq!(gains, [2.0, 1.25]);
        assert_eq!(data.pairs[1].size(), Size(4 << 20));
        assert_eq!(data.pairs[1].policy_splits, Some(false));
    }

    #[test]
    fn breaks_even_where_all_larger_sizes_win() {
        let of = |times: &[(u64, u64)]| break_even(forks(times).pairs.iter());
        assert_eq!(
            of(&[(1, 1000), (2, 900), (4, 990), (8, 500)]),
            Some(Size(8 << 20))
        );
        assert_eq!(of(&[(1, 900), (2, 500)]), Some(Size(1 << 20)));
        assert_eq!(of(&[(1, 900), (2, 1000)]), None);
    }

    #[test]
    fn does_without_the_single_times() {
        let mut serial = half("fork", "serial", 1, 1000);
        let mut parallel = half("fork", "parallel", 1, 500);
        for json in [&mut serial, &mut parallel] {
            json.as_object_mut().unwrap().remove("times_ns");
        }
        parallel["min_ns"] = 400.into();
        let mut data = Data::default();
        data.add(Value::Array(vec![serial, parallel])).unwrap();
        assert_eq!(data.pairs[0].gain.to_string(), "2.00 [2.00, 2.50]");
    }

    #[test]
    fn runs_agree_where_intervals_overlap() {
        let [one, other] = [500, 800].map(|time| forks(&[(1, 900), (4, time)]));
        assert_eq!(one.agreement(&other), (1, 2));
        assert_eq!(one.agreement(&one), (2, 2));
        assert_eq!(one.agreement(&forks(&[(64, 500)])), (0, 0));
    }
}
