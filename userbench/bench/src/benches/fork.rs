// SPDX-License-Identifier: GPL-2.0

//! fork() of a process with much memory.

use crate::{
    report::report,
    runner::{self, RunArgs, Stopwatch},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::size::Size;
use nix::{
    sys::{
        mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, execv, fork},
};
use serde::Serialize;
use std::{
    ffi::{CString, c_void},
    num::NonZeroUsize,
    ptr::NonNull,
    time::Duration,
};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// How much memory the process has.
    #[arg(long, default_value = "512M")]
    size: Size,
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Serialize)]
struct Parameters {
    #[command(flatten)]
    #[serde(flatten)]
    memory: MemoryArgs,
    /// Let the child execute this program, which is given no arguments and is to exit with 0, and
    /// measure until that was waited for: fork(), exec() and exit() in one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<String>,
}

#[derive(clap::Args, Serialize)]
pub struct MemoryArgs {
    /// The pages that the memory is made of.
    #[arg(long, value_enum, default_value_t = Pages::Small)]
    pub pages: Pages,
    /// Leave the memory alone between forks. Otherwise each page is written to, as in a process at
    /// work: then all pages are this process's alone, and writable, when it forks.
    #[arg(long)]
    pub untouched: bool,
    /// How many areas of the same size the memory consists of, with a hole after each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub vmas: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Pages {
    /// 4 KiB pages only.
    #[value(name = "4k")]
    #[serde(rename = "4k")]
    Small,
    /// Transparent huge pages where they fit.
    #[value(name = "thp")]
    #[serde(rename = "thp")]
    Huge,
    /// Areas, or halves of the only one, take turns.
    #[value(name = "mixed")]
    #[serde(rename = "mixed")]
    Mixed,
}

impl MemoryArgs {
    pub fn untouched(&self) -> bool {
        self.untouched
    }
}

/// Anonymous memory in one or more areas.
pub struct Memory {
    start: NonNull<c_void>,
    mapped: NonZeroUsize,
    areas: Vec<(usize, usize)>,
}

impl Memory {
    pub fn new(size: usize, args: &MemoryArgs) -> Result<Self> {
        let count = args.vmas as usize;
        let area = (size / count) & !(PAGE - 1);
        ensure!(area != 0, "{count} areas of no page each");

        // A hole of one page keeps areas from being merged.
        let stride = area + PAGE;
        let mapped = NonZeroUsize::new(stride * count + HUGE_PAGE).context("no memory")?;
        // SAFETY: A new mapping, at an address of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(
                None,
                mapped,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        }
        .context("mapping memory")?;

        let first = (start.as_ptr() as usize).next_multiple_of(HUGE_PAGE);
        let mut memory = Self {
            start,
            mapped,
            areas: Vec::with_capacity(count),
        };
        for index in 0..count {
            let addr = first + index * stride;
            // SAFETY: The hole is within our mapping, and nothing is there yet.
            unsafe { munmap(pointer(addr + area)?, PAGE) }.context("making a hole")?;
            memory.areas.push((addr, area));
        }
        memory.advise(args.pages)?;
        memory.touch();
        Ok(memory)
    }

    /// All of it, with the holes, as an address and a length.
    pub fn range(&self) -> (NonNull<c_void>, usize) {
        (self.start, self.mapped.get())
    }

    fn advise(&self, pages: Pages) -> Result<()> {
        let advise = |addr, length, huge| {
            let advice = if huge {
                MmapAdvise::MADV_HUGEPAGE
            } else {
                MmapAdvise::MADV_NOHUGEPAGE
            };
            // SAFETY: The range is within our mapping; the advice changes no contents.
            unsafe { madvise(pointer(addr)?, length, advice) }
                .context("advising on huge pages; is CONFIG_TRANSPARENT_HUGEPAGE set?")
        };

        for (index, &(addr, length)) in self.areas.iter().enumerate() {
            match pages {
                Pages::Mixed if self.areas.len() == 1 => {
                    let half = (length / 2).next_multiple_of(HUGE_PAGE).min(length);
                    advise(addr, half, true)?;
                    if half < length {
                        advise(addr + half, length - half, false)?;
                    }
                }
                Pages::Mixed => advise(addr, length, index % 2 == 0)?,
                _ => advise(addr, length, pages == Pages::Huge)?,
            }
        }
        Ok(())
    }

    /// Writes to each page, so that it is there, and is this process's alone.
    pub fn touch(&self) {
        for &(addr, length) in &self.areas {
            for page in (addr..addr + length).step_by(PAGE) {
                // SAFETY: The page is within our mapping, of which there are no references.
                unsafe { (page as *mut u64).write_volatile(page as u64) };
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: This is our mapping, which nobody uses any more; holes in it do no harm.
        let _ = unsafe { munmap(self.start, self.mapped.get()) };
    }
}

fn pointer(addr: usize) -> Result<NonNull<c_void>> {
    NonNull::new(addr as *mut c_void).context("null pointer")
}

/// Forks a child that does nothing, and returns how long fork() took in the parent, and what is to
/// be found out right after.
pub fn fork_once<T>(after: impl FnOnce() -> T) -> Result<(Duration, T)> {
    let watch = Stopwatch::start();
    let child = start(|| 0)?;
    let time = (watch.stop(), after());
    wait(child)?;
    Ok(time)
}

/// Forks a child that executes a program, and returns how long it took until that has ended.
fn fork_and_exec_once(program: &CString) -> Result<Duration> {
    let watch = Stopwatch::start();
    let child = start(|| execv(program, &[program]).map_or(1, |never| match never {}))?;
    wait(child)?;
    Ok(watch.stop())
}

/// Forks a child that does something, and exits with a status.
pub fn start(work: impl FnOnce() -> i32) -> Result<Pid> {
    // SAFETY: There is a single thread, so the child can do everything.
    match unsafe { fork() }.context("fork")? {
        // SAFETY: This ends the child at once, which is fine for a single thread.
        ForkResult::Child => unsafe { nix::libc::_exit(work()) },
        ForkResult::Parent { child } => Ok(child),
    }
}

/// Waits for a child, which is to exit with 0.
pub fn wait(child: Pid) -> Result<()> {
    let status = waitpid(child, None).context("waitpid")?;
    ensure!(
        status == WaitStatus::Exited(child, 0),
        "the child ended with {status:?}"
    );
    Ok(())
}

pub fn run(args: &Args) -> Result<()> {
    let parameters = &args.parameters;
    let memory = Memory::new(args.size.0 as usize, &parameters.memory)?;
    let program = parameters.exec.clone().map(CString::new).transpose()?;
    let what = format!("fork {}", args.size);
    let samples = runner::run(&args.run, &what, || {
        if !parameters.memory.untouched {
            memory.touch();
        }
        match &program {
            Some(program) => fork_and_exec_once(program),
            None => fork_once(|| ()).map(|(time, ())| time),
        }
    })?;
    report("fork", args.size, &args.run, parameters, &samples)
}
