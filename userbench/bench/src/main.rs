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
mod suite;
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
    /// exec() of a large program, mapped on demand or ahead: the time until it ends.
    Exec(benches::exec::Args),
    /// fork() of a process with much memory: the time until it returns in the parent.
    Fork(benches::fork::Args),
    /// Work whose speed-up is known: what shows whether speed-ups can be measured here.
    Control(benches::control::Args),
    /// CPU time of forks, and what they take from tasks that keep the CPUs busy.
    Cost(benches::cost::Args),
    /// Getting others to work, and joining them, by several means: what each step takes.
    Spawn(benches::spawn::Args),
    /// munmap() or madvise(MADV_DONTNEED) of much memory.
    Unmap(benches::unmap::Args),
    /// The end of a process with much memory, or its exec: the time until its parent has waited for it.
    Exit(benches::exit::Args),
    /// Memory that is populated: the time until it is, or until some of it is touched.
    Populate(benches::populate::Args),
    /// read() of a file that is cached.
    Read(benches::read::Args),
    /// write() to a file that is cached.
    Write(benches::write::Args),
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
        Bench::Exec(args) => benches::exec::run(&args),
        Bench::Fork(args) => benches::fork::run(&args),
        Bench::Control(args) => benches::control::run(&args),
        Bench::Cost(args) => benches::cost::run(&args),
        Bench::Spawn(args) => benches::spawn::run(&args),
        Bench::Unmap(args) => benches::unmap::run(&args),
        Bench::Exit(args) => benches::exit::run(&args),
        Bench::Populate(args) => benches::populate::run(&args),
        Bench::Read(args) => benches::read::run(&args),
        Bench::Write(args) => benches::write::run(&args),
        Bench::Overhead(args) => benches::overhead::run(&args),
        Bench::Command(args) => benches::command::run(&args),
        Bench::Redis(args) => benches::redis::run(&args),
        Bench::Suite(args) => suite::run(&args),
    }
}
