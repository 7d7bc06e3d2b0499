// SPDX-License-Identifier: GPL-2.0

//! What a figure was measured on.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{env, fmt, fs, thread};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// `kvm`, `tcg` or `sim` as `make boot` says in PARCALL_ACCEL; `native` where it did not.
    pub accel: String,
    /// The CPUs that this process may use.
    pub vcpus: usize,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    pub fn here() -> Result<Self> {
        let release = "/proc/sys/kernel/osrelease";
        Ok(Self {
            accel: env::var("PARCALL_ACCEL").unwrap_or_else(|_| "native".into()),
            vcpus: thread::available_parallelism()?.get(),
            kernel: fs::read_to_string(release)
                .context(release)?
                .trim()
                .to_string(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accel,
            vcpus,
            kernel,
        } = self;
        write!(f, "{accel} with {vcpus} CPUs, Linux {kernel}")
    }
}
