// SPDX-License-Identifier: GPL-2.0

//! One module a benchmark.

pub mod command;
pub mod control;
pub mod cost;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod overhead;
pub mod populate;
pub mod read;
pub mod redis;
pub mod spawn;
pub mod unmap;
pub mod write;
