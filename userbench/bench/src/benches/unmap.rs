// SPDX-License-Identifier: GPL-2.0

//! munmap() and the like, of much memory.

use super::fork::{Memory, MemoryArgs, Pages};
use crate::{
    report::report,
    runner::{self, RunArgs, Stopwatch},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::size::Size;
use nix::libc;
use serde::Serialize;
use std::{sync::Barrier, thread, time::Duration};

#[derive(clap::Args)]
pub struct Args {
    /// How much memory to unmap. Each page has been written to.
    #[arg(long, default_value = "512M")]
    size: Size,
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Serialize)]
struct Parameters {
    /// The pages that the memory is made of.
    #[arg(long, value_enum, default_value_t = Pages::Small)]
    pages: Pages,
    /// How many areas of the same size the memory consists of, with a hole after each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    vmas: u64,
    /// What is called.
    #[arg(long, value_enum, default_value_t = Call::Munmap)]
    call: Call,
    /// How many threads call, each for a part; for 'dontneed' only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    threads: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Call {
    /// munmap()
    Munmap,
    /// madvise(MADV_DONTNEED)
    Dontneed,
}

/// Parts are cut where a page table ends.
const TABLE: usize = 2 << 20;

/// Has each thread call madvise() for its part. Holes are skipped, and cause an error.
fn discard(memory: &Memory, threads: usize) -> Duration {
    let (start, length) = memory.range();
    let (start, end) = (start.as_ptr() as usize, start.as_ptr() as usize + length);
    let step = (length / threads).next_multiple_of(TABLE);
    let discard_from = |from: usize| {
        let to = (from + step).min(end);
        if from < to {
            // SAFETY: The range is within the memory, of which there are no references.
            unsafe { libc::madvise(from as *mut _, to - from, libc::MADV_DONTNEED) };
        }
    };

    let begin = Barrier::new(threads);
    let done = Barrier::new(threads);
    thread::scope(|scope| {
        for index in 1..threads {
            let (begin, done, discard_from) = (&begin, &done, &discard_from);
            scope.spawn(move || {
                begin.wait();
                discard_from(start + index * step);
                done.wait();
            });
        }
        begin.wait();
        let watch = Stopwatch::start();
        discard_from(start);
        done.wait();
        watch.stop()
    })
}

fn unmap(memory: Memory) -> Result<Duration> {
    let (start, length) = memory.range();
    // Nothing is left to be unmapped.
    std::mem::forget(memory);
    let watch = Stopwatch::start();
    // SAFETY: The memory is not used any more.
    unsafe { nix::sys::mman::munmap(start, length) }.context("munmap")?;
    Ok(watch.stop())
}

pub fn run(args: &Args) -> Result<()> {
    let parameters = &args.parameters;
    let threads = parameters.threads as usize;
    ensure!(
        threads == 1 || parameters.call == Call::Dontneed,
        "only 'dontneed' is called by several threads"
    );
    let memory = MemoryArgs {
        pages: parameters.pages,
        untouched: false,
        vmas: parameters.vmas,
    };
    let what = format!("unmap {}", args.size);
    let samples = runner::run(&args.run, &what, || {
        let memory = Memory::new(args.size.0 as usize, &memory)?;
        match parameters.call {
            Call::Munmap => unmap(memory),
            Call::Dontneed => Ok(discard(&memory, threads)),
        }
    })?;
    report("unmap", args.size, &args.run, parameters, &samples)
}
