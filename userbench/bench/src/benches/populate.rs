// SPDX-License-Identifier: GPL-2.0

//! Memory that is populated eagerly, in one call or by threads, or lazily as it is touched.

use crate::{
    report::report,
    runner::{self, RunArgs, Stopwatch},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::{record::Mode, size::Size};
use nix::{
    errno::Errno,
    libc,
    sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap},
};
use serde::Serialize;
use std::{ffi::c_void, num::NonZeroUsize, ptr::NonNull, thread, time::Duration};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// Besides `serial` and `parallel`, which populate all memory in one call, there are the modes
/// `lazy`, which does nothing until memory is touched, and `threads` and `threads-populate`, where
/// as many threads as there are workers, each with its share, touch all pages or populate them.
#[derive(clap::Args)]
pub struct Args {
    /// How much memory there is.
    #[arg(long, default_value = "512M")]
    size: Size,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Serialize)]
struct MemoryArgs {
    /// The pages that the memory is made of.
    #[arg(long, value_enum, default_value_t = Pages::Small)]
    pages: Pages,
    /// The call that populates memory.
    #[arg(long, value_enum, default_value_t = Call::Madvise)]
    call: Call,
    /// How much of the memory one thread touches afterwards, in percent, within the time that is
    /// measured. With 0 it is the time until memory is populated.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    touch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
enum Pages {
    /// 4 KiB pages only.
    #[value(name = "4k")]
    #[serde(rename = "4k")]
    Small,
    /// Transparent huge pages.
    #[value(name = "thp")]
    #[serde(rename = "thp")]
    Huge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Call {
    /// `madvise(MADV_POPULATE_WRITE)`.
    Madvise,
    /// `mmap(MAP_POPULATE)`, whose pages are of the size that the system is set to.
    Mmap,
    /// `mlock()`.
    Mlock,
}

/// Anonymous memory, none of which is populated at first.
struct Memory {
    mapped: NonNull<c_void>,
    mapped_bytes: NonZeroUsize,
    start: usize,
    bytes: usize,
}

impl Memory {
    fn new(bytes: usize, pages: Pages) -> Result<Self> {
        let bytes = bytes.next_multiple_of(PAGE);
        let mapped_bytes = NonZeroUsize::new(bytes + HUGE_PAGE).context("no memory")?;
        // SAFETY: A new mapping, at an address of the kernel's choice.
        let mapped = unsafe {
            mmap_anonymous(
                None,
                mapped_bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        }
        .context("mapping memory")?;
        let advice = match pages {
            Pages::Small => MmapAdvise::MADV_NOHUGEPAGE,
            Pages::Huge => MmapAdvise::MADV_HUGEPAGE,
        };
        // SAFETY: It is our mapping; the advice changes no contents.
        unsafe { madvise(mapped, mapped_bytes.get(), advice) }
            .context("advising on huge pages; is CONFIG_TRANSPARENT_HUGEPAGE set?")?;

        Ok(Self {
            mapped,
            mapped_bytes,
            start: (mapped.as_ptr() as usize).next_multiple_of(HUGE_PAGE),
            bytes,
        })
    }

    /// Splits it into shares of whole huge pages.
    fn shares(&self, threads: usize) -> impl Iterator<Item = (usize, usize)> {
        let share = self.bytes.div_ceil(threads).next_multiple_of(HUGE_PAGE);
        let end = self.start + self.bytes;

        (self.start..end)
            .step_by(share)
            .map(move |start| (start, share.min(end - start)))
    }

    fn populate(&self, call: Call) -> Result<()> {
        match call {
            Call::Madvise => populate_write(self.start, self.bytes),
            Call::Mlock => {
                // SAFETY: It is our mapping; locking it changes no contents.
                Errno::result(unsafe { libc::mlock(self.start as *const c_void, self.bytes) })
                    .map(drop)
                    .context("mlock")
            }
            Call::Mmap => {
                // SAFETY: It replaces a part of our mapping, of which there are no references.
                let at = unsafe {
                    libc::mmap(
                        self.start as *mut c_void,
                        self.bytes,
                        libc::PROT_READ | libc::PROT_WRITE,
                        libc::MAP_PRIVATE
                            | libc::MAP_ANONYMOUS
                            | libc::MAP_NORESERVE
                            | libc::MAP_FIXED
                            | libc::MAP_POPULATE,
                        -1,
                        0,
                    )
                };
                ensure!(at as usize == self.start, "mmap: {}", Errno::last());
                Ok(())
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: This is our mapping, which nobody uses any more.
        let _ = unsafe { munmap(self.mapped, self.mapped_bytes.get()) };
    }
}

fn populate_write(start: usize, bytes: usize) -> Result<()> {
    // SAFETY: It is our mapping; populating it changes no contents.
    let ret = unsafe { libc::madvise(start as *mut c_void, bytes, libc::MADV_POPULATE_WRITE) };
    Errno::result(ret)
        .map(drop)
        .context("madvise(MADV_POPULATE_WRITE)")
}

/// Writes to every `step`-th page.
fn touch(start: usize, bytes: usize, step: usize) -> Result<()> {
    for page in (start..start + bytes).step_by(step * PAGE) {
        // SAFETY: The page is within our mapping, of which there are no references.
        unsafe { (page as *mut u64).write_volatile(page as u64) };
    }
    Ok(())
}

/// Has each thread work on its share.
fn in_threads(
    memory: &Memory,
    threads: usize,
    work: impl Fn(usize, usize) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = memory
            .shares(threads)
            .map(|(start, bytes)| scope.spawn(move || work(start, bytes)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("threads do not panic"))
    })
}

pub fn run(args: &Args) -> Result<()> {
    let what = format!("populate {}", args.size);
    let threads = args.run.threads()?;
    args.run
        .only(&[Mode::Lazy, Mode::Threads, Mode::ThreadsPopulate])?;
    let samples = runner::run_modes(&args.run, &what, |mode| {
        let memory = Memory::new(args.size.0 as usize, args.memory.pages)?;
        let watch = Stopwatch::start();
        match mode {
            Mode::Serial | Mode::Parallel => memory.populate(args.memory.call)?,
            Mode::Threads => in_threads(&memory, threads, |start, bytes| touch(start, bytes, 1))?,
            Mode::ThreadsPopulate => in_threads(&memory, threads, populate_write)?,
            _ => {}
        }
        if let Some(step) = 100u64.checked_div(args.memory.touch) {
            touch(memory.start, memory.bytes, step as usize)?;
        }
        Ok::<Duration, anyhow::Error>(watch.stop())
    })?;
    report("populate", args.size, &args.run, &args.memory, &samples)
}
