// SPDX-License-Identifier: GPL-2.0

//! One module a benchmark.

pub mod command;
pub mod control;
pub mod fork;
pub mod overhead;
pub mod redis;
