// SPDX-License-Identifier: GPL-2.0

//! What split forks cost others: CPU time in all, and the throughput of tasks that want the CPUs.
//!
//! A turn is a number of forks at fixed intervals. Meanwhile spinners may keep CPUs busy; how often
//! these went round tells what the forks took from them.

use super::fork::{Memory, MemoryArgs, fork_once};
use crate::report::write_json;
use anyhow::{Context, Result};
use common::{machine::Machine, prctl::Setting, record::Mode, size::Size, tunables::Tunables};
use hdrhistogram::Histogram;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous},
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
        time::TimeValLike,
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use serde::Serialize;
use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Args {
    /// How much memory the process has.
    #[arg(long, default_value = "64M")]
    size: Size,
    #[command(flatten)]
    memory: MemoryArgs,
    /// How many CPUs, from the first on, a task each keeps busy.
    #[arg(long, default_value_t = 0)]
    spinners: usize,
    /// How many forks there are in a turn.
    #[arg(long, default_value_t = 10)]
    forks: u32,
    /// How many milliseconds there are from one fork to the next.
    #[arg(long, default_value_t = 100)]
    interval: u64,
    /// The modes to compare.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "serial,parallel"
    )]
    modes: Vec<Mode>,
    /// How many turns each mode has.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Where to write the results as JSON; '-' is standard output, which then has nothing else.
    #[arg(long)]
    json: Option<String>,
}

#[derive(Serialize)]
struct Record {
    bench: &'static str,
    size_bytes: u64,
    mode: Mode,
    spinners: usize,
    repeat: u64,
    /// The time of a fork.
    median_ns: u64,
    p99_ns: u64,
    min_ns: u64,
    max_ns: u64,
    /// The CPU time that this process was charged for a fork: its mean in a turn.
    cpu_median_ns: u64,
    /// How often spinners went round in a second.
    spins_median: u64,
    #[serde(flatten)]
    machine: Machine,
}

/// Processes that keep a CPU each busy, until it is dropped.
struct Spinners {
    children: Vec<Pid>,
    spins: &'static [AtomicU64],
}

impl Spinners {
    fn start(count: usize) -> Result<Self> {
        let bytes = NonZeroUsize::new(count.max(1) * size_of::<AtomicU64>()).context("none")?;
        // SAFETY: A new mapping, at an address of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(
                None,
                bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
            )
        }
        .context("mapping memory")?;
        // SAFETY: It is large enough, full of zeroes, and never unmapped.
        let spins = unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), count) };
        let mut spinners = Self {
            children: Vec::new(),
            spins,
        };
        for (cpu, spins) in spins.iter().enumerate() {
            // SAFETY: The child does nothing but spin.
            match unsafe { fork() }.context("fork")? {
                ForkResult::Child => spin(cpu, spins),
                ForkResult::Parent { child } => spinners.children.push(child),
            }
        }
        Ok(spinners)
    }

    fn spins(&self) -> u64 {
        self.spins
            .iter()
            .map(|spins| spins.load(Ordering::Relaxed))
            .sum()
    }
}

fn spin(cpu: usize, spins: &AtomicU64) -> ! {
    let mut cpus = CpuSet::new();
    let _ = cpus.set(cpu);
    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    loop {
        for _ in 0..1000 {
            std::hint::black_box(());
        }
        spins.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in self.children.drain(..) {
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// The CPU time that this process was charged for so far, in nanoseconds.
fn cpu_ns() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("getrusage")?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(microseconds as u64 * 1000)
}

/// What was measured in one mode.
struct Sample {
    fork: Histogram<u64>,
    cpu: Histogram<u64>,
    spins: Histogram<u64>,
}

fn turn(args: &Args, memory: &Memory, spinners: &Spinners, sample: &mut Sample) -> Result<()> {
    let (begun, spins) = (Instant::now(), spinners.spins());
    let mut cpu = 0;
    for count in 0..args.forks {
        if !args.memory.untouched() {
            memory.touch();
        }
        let before = cpu_ns()?;
        let (time, charged) = fork_once(cpu_ns)?;
        cpu += charged? - before;
        sample.fork.record(time.as_nanos() as u64)?;
        let next = Duration::from_millis(args.interval) * (count + 1);
        thread::sleep(next.saturating_sub(begun.elapsed()));
    }
    let spins = (spinners.spins() - spins) as f64 / begun.elapsed().as_secs_f64();
    sample.spins.record(spins as u64)?;
    sample.cpu.record(cpu / u64::from(args.forks.max(1)))?;
    Ok(())
}

pub fn run(args: &Args) -> Result<()> {
    let _ = Setting::DEFAULT.set();
    let mut tunables = Tunables::open()?;
    let spinners = Spinners::start(args.spinners)?;
    let memory = Memory::new(args.size.0 as usize, &args.memory)?;
    let histogram = || Histogram::new(4);
    let mut samples = args
        .modes
        .iter()
        .map(|_| {
            Ok(Sample {
                fork: histogram()?,
                cpu: histogram()?,
                spins: histogram()?,
            })
        })
        .collect::<Result<Vec<_>>>()?;

    for _ in 0..args.repeat {
        for (&mode, sample) in args.modes.iter().zip(&mut samples) {
            tunables.set("enabled", u64::from(mode == Mode::Parallel))?;
            turn(args, &memory, &spinners, sample)?;
        }
    }

    let machine = Machine::here()?;
    let records: Vec<_> = args
        .modes
        .iter()
        .zip(&samples)
        .map(|(&mode, sample)| Record {
            bench: "cost",
            size_bytes: args.size.0,
            mode,
            spinners: args.spinners,
            repeat: sample.fork.len(),
            median_ns: sample.fork.value_at_quantile(0.5),
            p99_ns: sample.fork.value_at_quantile(0.99),
            min_ns: sample.fork.min(),
            max_ns: sample.fork.max(),
            cpu_median_ns: sample.cpu.value_at_quantile(0.5),
            spins_median: sample.spins.value_at_quantile(0.5),
            machine: machine.clone(),
        })
        .collect();
    if write_json(args.json.as_deref(), &records)? {
        return Ok(());
    }
    println!(
        "cost of forks of {} beside {} spinners on {machine}; medians",
        args.size, args.spinners
    );
    println!(
        "  {:<10} {:>12} {:>12} {:>12}",
        "mode", "fork us", "CPU us", "spins/s"
    );
    for record in &records {
        println!(
            "  {:<10} {:>12.1} {:>12.1} {:>12}",
            format!("{:?}", record.mode).to_lowercase(),
            record.median_ns as f64 / 1e3,
            record.cpu_median_ns as f64 / 1e3,
            record.spins_median
        );
    }
    Ok(())
}
