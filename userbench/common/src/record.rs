// SPDX-License-Identifier: GPL-2.0

//! What `userbench --json` writes, and `parcall tune` reads.

use crate::machine::Machine;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The benchmarks of which the speed-up is known: all of it, and none.
pub const CONTROL_BUSY: &str = "control busy";
pub const CONTROL_SERIAL: &str = "control serial";

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// parcall switched off.
    Serial,
    /// parcall switched on; whether a call is split is up to its policy.
    Parallel,
    /// No call at all: what it would have done is done when it is needed.
    Lazy,
    /// Threads do in user space what the call would have done, or call for a share of it each.
    Threads,
    /// Threads call, each for its share.
    ThreadsPopulate,
    /// The program maps the file, and copies it.
    Mmap,
    /// The same, but the mapping is populated.
    MmapPopulate,
    /// Threads with an io_uring each share the work.
    Uring,
}

impl Mode {
    /// As on the command line, and in JSON.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_string())
    }
}

/// The measurements of one mode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub bench: String,
    pub size_bytes: u64,
    pub mode: Mode,
    pub workers: u64,
    pub repeat: u64,
    pub median_ns: u64,
    pub p99_ns: u64,
    pub min_ns: u64,
    pub max_ns: u64,
    #[serde(flatten)]
    pub machine: Machine,
}

impl Record {
    /// The one of a mode, if there is one.
    pub fn find(records: &[Self], mode: Mode) -> Option<&Self> {
        records.iter().find(|record| record.mode == mode)
    }
}

/// A time, for people.
pub fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}

/// The path of the kernel's that a benchmark measures. Most have its name.
pub fn path(bench: &str) -> &str {
    match bench {
        "exit" => "unmap",
        bench => bench,
    }
}
