// SPDX-License-Identifier: GPL-2.0

//! read() of a cached file, and what programs do instead.

use crate::{
    file::{Buffer, CachedFile, FileArgs, Mapping, expected, share},
    report::report,
    runner::{self, RunArgs, Stopwatch},
    uring,
};
use anyhow::{Result, bail, ensure};
use common::{record::Mode, size::Size};
use nix::sys::mman::MapFlags;
use std::{fs::File, os::unix::fs::FileExt, thread, time::Duration};

#[derive(clap::Args)]
pub struct Args {
    /// How much is read, in one call.
    #[arg(long, default_value = "256M")]
    size: Size,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Reads all, in calls as large as they can be.
fn read(file: &File, to: &mut [u8]) -> Result<()> {
    Ok(file.read_exact_at(to, 0)?)
}

fn read_on_threads(file: &File, to: &mut [u8], threads: usize) -> Result<()> {
    let share = share(to.len(), threads);
    thread::scope(|scope| {
        let readers: Vec<_> = to
            .chunks_mut(share)
            .enumerate()
            .map(|(i, part)| scope.spawn(move || file.read_exact_at(part, (i * share) as u64)))
            .collect();
        for reader in readers {
            reader.join().expect("a thread has panicked")?;
        }
        Ok(())
    })
}

fn copy_from_mapping(file: &File, to: &mut [u8], flags: MapFlags) -> Result<()> {
    let mapping = Mapping::file(file, to.len(), flags)?;
    to.copy_from_slice(mapping.bytes());
    Ok(())
}

fn measure(file: &File, to: &mut [u8], mode: Mode, threads: usize) -> Result<Duration> {
    let watch = Stopwatch::start();
    match mode {
        Mode::Serial | Mode::Parallel => read(file, to)?,
        Mode::Threads => read_on_threads(file, to, threads)?,
        Mode::Mmap => copy_from_mapping(file, to, MapFlags::empty())?,
        Mode::MmapPopulate => copy_from_mapping(file, to, MapFlags::MAP_POPULATE)?,
        Mode::Uring => uring::read(file, to, threads)?,
        _ => bail!("reads have no mode '{}'", mode.name()),
    }
    let time = watch.stop();
    // It must have read something other than the memory had.
    let last = to.len() - 1;
    ensure!(
        to[last / 2] == expected(last / 2) && to[last] == expected(last),
        "what was read is not what the file has"
    );
    to[last] = !to[last];
    to[last / 2] = !to[last / 2];
    Ok(time)
}

pub fn run(args: &Args) -> Result<()> {
    let size = args.size.0 as usize;
    let file = CachedFile::new(size, &args.file)?;
    let mut buffer = Buffer::new(args.size, args.file.memory)?;
    let threads = args.run.threads()?;
    let what = format!("read {}", args.size);
    let samples = runner::run_modes(&args.run, &what, |mode| {
        buffer.with(|to| measure(&file.file, to, mode, threads))
    })?;
    report("read", args.size, &args.run, &args.file, &samples)
}
