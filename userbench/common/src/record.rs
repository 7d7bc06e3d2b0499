// SPDX-License-Identifier: GPL-2.0

//! What `userbench --json` writes, and `parcall tune` reads.

use crate::machine::Machine;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// parcall switched off.
    Serial,
    /// parcall switched on; whether a call is split is up to its policy.
    Parallel,
    /// Switched off; threads of the program's share the work.
    Threads,
    /// Switched off; the program maps the file, and copies it.
    Mmap,
    /// The same, but the mapping is populated.
    MmapPopulate,
    /// Switched off; threads with an io_uring each share the work.
    Uring,
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
