// SPDX-License-Identifier: GPL-2.0

//! One module a benchmark.

pub mod fork;
pub mod read;
pub mod write;
