// SPDX-License-Identifier: GPL-2.0

//! Benchmarks of system calls, serial and split by parcall.
//!
//! Each benchmark measures one kind of call in several modes. The modes take turns within one run,
//! so that whatever changes over time changes for all of them; what is compared are medians.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod benches;
mod file;
mod report;
mod runner;
mod uring;

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
    /// read() of a file that is cached.
    Read(benches::read::Args),
    /// write() to a file that is cached.
    Write(benches::write::Args),
}

fn main() -> Result<()> {
    match Cli::parse().bench {
        Bench::Fork(args) => benches::fork::run(&args),
        Bench::Read(args) => benches::read::run(&args),
        Bench::Write(args) => benches::write::run(&args),
    }
}
