// SPDX-License-Identifier: GPL-2.0

//! What small calls take, in instructions: unpatched, with parcall off, and with it on.

use anyhow::{Context, Result, ensure};
use common::record::{Mode, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// How much more parcall may cost where it is off, in percent.
pub const OFF_MAX: f64 = 0.5;

#[derive(clap::Args)]
pub struct Args {
    /// The project's commit.
    #[arg(long, default_value = "")]
    commit: String,
    /// Where to write the table as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `userbench overhead` has written, on both kernels.
    #[arg(required = true)]
    results: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    pub commit: String,
    /// Both kernels' releases.
    pub unpatched: String,
    pub patched: String,
    pub calls: Vec<Call>,
}

/// A call, and the medians of its instructions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub call: String,
    pub unpatched: u64,
    pub off: u64,
    /// On, but the call is too small to be split.
    pub on: u64,
    /// How far the measurements of off are apart, from the least to the most.
    pub spread: u64,
}

impl Call {
    /// By how many percent a number is above that of the unpatched kernel.
    fn above(&self, instructions: u64) -> f64 {
        100.0 * (instructions as f64 / self.unpatched as f64 - 1.0)
    }

    pub fn off_percent(&self) -> f64 {
        self.above(self.off)
    }

    pub fn row(&self) -> [String; 5] {
        let with_percent =
            |instructions| format!("{instructions} ({:+.2} %)", self.above(instructions));
        [
            self.call.clone(),
            self.unpatched.to_string(),
            with_percent(self.off),
            with_percent(self.on),
            self.spread.to_string(),
        ]
    }
}

impl Overhead {
    pub const HEAD: [&str; 5] = ["call", "unpatched", "off", "on, too small", "spread of off"];

    /// From what the benchmark wrote on both kernels. An unpatched one has no `split`.
    fn new(commit: String, results: &[Value]) -> Result<Self> {
        let mut overhead = Self {
            commit,
            unpatched: String::new(),
            patched: String::new(),
            calls: Vec::new(),
        };
        for json in results {
            let record = Record::deserialize(json)?;
            let name = json["call"].as_str().context("not a result of overhead")?;
            let calls = &mut overhead.calls;
            let index = calls.iter().position(|call| call.call == name);
            let index = index.unwrap_or_else(|| {
                calls.push(Call {
                    call: name.into(),
                    unpatched: 0,
                    off: 0,
                    on: 0,
                    spread: 0,
                });
                calls.len() - 1
            });
            let call = &mut calls[index];
            let is_patched = json.get("split").is_some();
            match (is_patched, record.mode) {
                (false, _) => {
                    call.unpatched = record.median_ns;
                    overhead.unpatched = record.machine.kernel;
                }
                (true, Mode::Serial) => {
                    call.off = record.median_ns;
                    call.spread = record.max_ns - record.min_ns;
                    overhead.patched = record.machine.kernel;
                }
                (true, Mode::Parallel) => call.on = record.median_ns,
                (true, _) => {}
            }
        }
        let is_complete = |call: &Call| call.unpatched != 0 && call.off != 0 && call.on != 0;
        ensure!(
            overhead.calls.iter().all(is_complete),
            "a call was not measured on both kernels"
        );
        Ok(overhead)
    }

    /// The calls that cost too much.
    pub fn too_much(&self) -> Vec<&Call> {
        self.calls
            .iter()
            .filter(|call| call.off_percent() > OFF_MAX)
            .collect()
    }
}

pub fn run(args: &Args) -> Result<()> {
    let mut results = Vec::new();
    for path in &args.results {
        let context = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(context)?;
        results.extend(serde_json::from_str::<Vec<_>>(&text).with_context(context)?);
    }
    let overhead = Overhead::new(args.commit.clone(), &results)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&overhead)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }

    println!("instructions of a call, medians");
    let line = |row: [String; 5]| {
        let [call, unpatched, off, on, spread] = row;
        println!("  {call:<8} {unpatched:>10} {off:>20} {on:>20} {spread:>14}");
    };
    line(Overhead::HEAD.map(String::from));
    overhead.calls.iter().for_each(|call| line(call.row()));
    let names: Vec<_> = overhead
        .too_much()
        .into_iter()
        .map(|call| call.call.as_str())
        .collect();
    ensure!(
        names.is_empty(),
        "switched off, parcall costs more than {OFF_MAX} %: {}",
        names.join(", ")
    );
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    fn result(mode: &str, patched: bool, instructions: u64) -> Value {
        let mut json = json!({
            "bench": "overhead", "call": "read", "size_bytes": 4096, "mode": mode, "workers": 0,
            "repeat": 7, "median_ns": instructions, "p99_ns": instructions, "min_ns": instructions,
            "max_ns": instructions + 3, "accel": "icount", "vcpus": 1, "kernel": "7.3.4"
        });
        if patched {
            json["split"] = 0.into();
        }
        json
    }

    pub fn overhead(off: u64) -> Overhead {
        let results = [
            result("serial", false, 1000),
            result("parallel", true, 1010),
            result("serial", true, off),
        ];
        Overhead::new("c".into(), &results).unwrap()
    }

    #[test]
    fn off_may_cost_half_a_percent() {
        assert!(overhead(1005).too_much().is_empty());
        assert!(overhead(900).too_much().is_empty());
        assert_eq!(overhead(1006).too_much().len(), 1);
    }

    #[test]
    fn a_row_has_the_percentages() {
        let row = ["read", "1000", "1005 (+0.50 %)", "1010 (+1.00 %)", "3"];
        assert_eq!(overhead(1005).calls[0].row(), row);
    }

    #[test]
    fn both_kernels_are_needed() {
        let results = [result("serial", true, 1000), result("parallel", true, 1000)];
        assert!(Overhead::new("c".into(), &results).is_err());
    }
}
