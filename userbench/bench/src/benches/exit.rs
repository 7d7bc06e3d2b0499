// SPDX-License-Identifier: GPL-2.0

//! The end of a process with much memory, as its parent sees it.

use super::fork::{Memory, MemoryArgs, Pages, start, wait};
use crate::{
    report::report,
    runner::{self, RunArgs, Stopwatch},
};
use anyhow::Result;
use common::size::Size;
use serde::Serialize;
use std::{
    ffi::CString,
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    time::Duration,
};

#[derive(clap::Args)]
pub struct Args {
    /// How much memory the process has. Each page has been written to.
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
    /// Execute this program first, which is given no arguments and is to exit with 0. The memory is
    /// then unmapped by the exec.
    #[arg(long)]
    exec: Option<String>,
}

/// The child's part: gets the memory, says so, and ends when it is told to.
fn end(
    size: usize,
    memory: &MemoryArgs,
    exec: Option<&CString>,
    mut ready: PipeWriter,
    mut go: PipeReader,
) -> Result<()> {
    let memory = Memory::new(size, memory)?;
    ready.write_all(&[1])?;
    go.read_exact(&mut [0])?;
    if let Some(program) = exec {
        nix::unistd::execv(program, &[program])?;
    }
    // It is the exit that unmaps it.
    std::mem::forget(memory);
    Ok(())
}

/// Returns how long it took from when the child was told to end until it was waited for.
fn end_once(size: usize, memory: &MemoryArgs, exec: Option<&CString>) -> Result<Duration> {
    let (mut ready, child_ready) = pipe()?;
    let (child_go, mut go) = pipe()?;

    // The parent closes the child's ends of the pipes with that function.
    let child = start(move || {
        end(size, memory, exec, child_ready, child_go)
            .is_err()
            .into()
    })?;
    let is_ready = ready.read_exact(&mut [0]);

    let watch = Stopwatch::start();
    if is_ready.is_ok() {
        go.write_all(&[1])?;
    }
    wait(child)?;
    is_ready?;
    Ok(watch.stop())
}

pub fn run(args: &Args) -> Result<()> {
    let parameters = &args.parameters;
    let memory = MemoryArgs {
        pages: parameters.pages,
        untouched: false,
        vmas: parameters.vmas,
    };
    let exec = parameters.exec.clone().map(CString::new).transpose()?;
    let what = format!("exit {}", args.size);
    let samples = runner::run(&args.run, &what, || {
        end_once(args.size.0 as usize, &memory, exec.as_ref())
    })?;
    report("exit", args.size, &args.run, parameters, &samples)
}
