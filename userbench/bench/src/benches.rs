// SPDX-License-Identifier: GPL-2.0

//! One module a benchmark.

pub mod exec;
pub mod fork;
pub mod populate;
