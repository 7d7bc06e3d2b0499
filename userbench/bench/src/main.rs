// SPDX-License-Identifier: GPL-2.0

//! Benchmarks of system calls, serial and split by parcall.
//!
//! Each benchmark measures one kind of call in several modes. The modes take turns within one run,
//! so that whatever changes over time changes for all of them; what is compared are medians.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod benches;
mod report;
mod runner;
mod suite;

/// Measure system calls, serial and split by parcall.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// fork() of a process with much memory: the time until it returns in the parent.
    Fork(benches::fork::Args),
    /// Work whose speed-up is known: what shows whether speed-ups can be measured here.
    Control(benches::control::Args),
    /// Calls that are too small to be split: what they take, whether parcall is on or off.
    Overhead(benches::overhead::Args),
    /// Programs as they are, from start to end.
    Command(benches::command::Args),
    /// Redis that saves in the background: how long it forks, and how long its clients wait.
    Redis(benches::redis::Args),
    /// All of these, over sizes and widths: what 'make bench' runs.
    Suite(suite::Args),
}

fn main() -> Result<()> {
    match Cli::parse().bench {
        Bench::Fork(args) => benches::fork::run(&args),
        Bench::Control(args) => benches::control::run(&args),
        Bench::Overhead(args) => benches::overhead::run(&args),
        Bench::Command(args) => benches::command::run(&args),
        Bench::Redis(args) => benches::redis::run(&args),
        Bench::Suite(args) => suite::run(&args),
    }
}
