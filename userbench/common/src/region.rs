// SPDX-License-Identifier: GPL-2.0

//! What simulated cores write down: a line of JSON on themselves, and one for each region of the
//! program that was measured.

use crate::record::Mode;
use serde::{Deserialize, Serialize};

/// The cores that are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cores {
    /// How many million instructions each of them executes in a second.
    pub mips: u64,
    /// How long they run ahead of that at most.
    pub quantum_ns: u64,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub mode: Mode,
    /// On the host's clock.
    pub elapsed_ns: u64,
    /// How often a CPU has executed a quantum of instructions.
    pub quanta: u64,
    /// How many of these were over much later than they should have been.
    pub overruns: u64,
    /// How many instructions each CPU has executed.
    pub instructions: Vec<u64>,
}

impl Region {
    /// The instructions of all CPUs.
    pub fn work(&self) -> u64 {
        self.instructions.iter().sum()
    }

    /// The instructions of the busiest CPU.
    pub fn span(&self) -> u64 {
        self.instructions.iter().copied().max().unwrap_or(0)
    }
}
