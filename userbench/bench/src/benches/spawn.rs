// SPDX-License-Identifier: GPL-2.0

//! What it takes to get others to work, and to join them: in the kernel by a job of the engine and by
//! other means, and in user space.
//!
//! There is no work: each of those who are called for says that it is there, and is gone. What the
//! kernel has, it measures itself, in debugfs (`CONFIG_PARCALL_DEBUG`).

use crate::report::write_json;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::machine::Machine;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    array, fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

const FILE: &str = "/sys/kernel/debug/parcall/debug/spawn";

/// The modes take turns after so many rounds.
const BATCH: u64 = 50;

/// Between two rounds, for the CPUs to become idle.
const PAUSE: Duration = Duration::from_micros(200);

#[derive(clap::Args)]
pub struct Args {
    /// How many are called for, beside the caller.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    helpers: Vec<usize>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Means::value_variants().to_vec())]
    modes: Vec<Means>,
    /// How many times to measure each.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Where to write the results as JSON; '-' is standard output, which then has nothing else.
    #[arg(long)]
    json: Option<String>,
}

/// How others are called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
enum Means {
    /// A job of the engine, in which each helper takes part.
    Job,
    /// A job of the engine whose caller does not wait for helpers to start.
    Unhelped,
    /// queue_work_on() and wait_for_completion(), with a workqueue of one pool per CPU.
    PerCpu,
    /// The same, with CPU intensive work items, as the engine's.
    PerCpuIntensive,
    /// The same, with high priority.
    PerCpuHighpri,
    /// The same, with a workqueue whose pools are as large as workqueue.default_affinity_scope.
    Unbound,
    /// The same, with high priority.
    UnboundHighpri,
    /// A kthread that is made and stopped.
    Kthread,
    /// A thread of this process that is made and joined.
    Pthread,
    /// Threads of this process that sleep in a futex until they are woken up.
    Pool,
}

/// What is measured in one round, in nanoseconds.
const TIMES: [&str; 4] = ["spawn", "first", "join", "total"];

#[derive(Serialize)]
struct Record {
    bench: &'static str,
    size_bytes: u64,
    mode: Means,
    workers: usize,
    repeat: u64,
    /// Until all were called for.
    spawn_median_ns: u64,
    spawn_p99_ns: u64,
    /// Until the first has started.
    first_median_ns: u64,
    first_p99_ns: u64,
    /// From when the last was done until the caller goes on.
    join_median_ns: u64,
    join_p99_ns: u64,
    /// All of it.
    median_ns: u64,
    p99_ns: u64,
    min_ns: u64,
    max_ns: u64,
    #[serde(flatten)]
    machine: Machine,
}

/// What those who are called for have in common.
struct Round {
    since: Instant,
    missing: AtomicUsize,
    first: AtomicU64,
    last: AtomicU64,
    caller: Thread,
}

impl Round {
    fn new(helpers: usize) -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            missing: AtomicUsize::new(helpers),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            caller: thread::current(),
        })
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_nanos() as u64
    }

    /// Returns whether it was the last.
    fn arrive(&self) -> bool {
        let now = self.now();
        let _ = self
            .first
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.last.store(self.now(), Ordering::Relaxed);
        self.missing.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn times(&self, begun: u64, spawned: u64) -> [u64; 4] {
        let end = self.now();
        [
            spawned - begun,
            self.first.load(Ordering::Relaxed).saturating_sub(begun),
            end.saturating_sub(self.last.load(Ordering::Relaxed)),
            end - begun,
        ]
    }
}

fn threads(helpers: usize) -> [u64; 4] {
    let round = Round::new(helpers);
    let begun = round.now();
    let threads: Vec<_> = (0..helpers)
        .map(|_| {
            let round = round.clone();
            thread::spawn(move || round.arrive())
        })
        .collect();
    let spawned = round.now();
    for thread in threads {
        let _ = thread.join();
    }
    round.times(begun, spawned)
}

/// Where a thread of the pool finds the round that it is called for.
type Slot = Arc<Mutex<Option<Arc<Round>>>>;

/// Threads that sleep until there is a round for them.
struct Pool {
    members: Vec<(Slot, JoinHandle<()>)>,
    stop: Arc<AtomicBool>,
}

impl Pool {
    fn new(helpers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let member = |_| {
            let slot = Slot::default();
            let (own, stop) = (slot.clone(), stop.clone());
            let thread = thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let round = own.lock().expect("no one panics").take();
                    match round {
                        Some(round) if round.arrive() => round.caller.unpark(),
                        Some(_) => {}
                        // This and its counterpart are a futex each.
                        None => thread::park(),
                    }
                }
            });
            (slot, thread)
        };
        let members = (0..helpers).map(member).collect();
        Self { members, stop }
    }

    fn measure(&self) -> [u64; 4] {
        let round = Round::new(self.members.len());
        let begun = round.now();
        for (slot, thread) in &self.members {
            *slot.lock().expect("no one panics") = Some(round.clone());
            thread.thread().unpark();
        }
        let spawned = round.now();
        while round.missing.load(Ordering::Acquire) != 0 {
            thread::park();
        }
        round.times(begun, spawned)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for (_, thread) in self.members.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Means {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_string())
    }

    fn measure(self, helpers: usize, rounds: u64) -> Result<Vec<[u64; 4]>> {
        let pool = (self == Self::Pool).then(|| Pool::new(helpers));
        match self {
            Self::Pthread | Self::Pool => Ok((0..rounds)
                .map(|_| {
                    thread::sleep(PAUSE);
                    match &pool {
                        Some(pool) => pool.measure(),
                        None => threads(helpers),
                    }
                })
                .collect()),
            _ => {
                let request = format!("{} {helpers} {rounds}", self.name());
                fs::write(FILE, &request)
                    .with_context(|| format!("writing '{request}' to {FILE}"))?;
                fs::read_to_string(FILE)
                    .context(FILE)?
                    .lines()
                    .map(parse)
                    .collect()
            }
        }
    }
}

fn parse(line: &str) -> Result<[u64; 4]> {
    let numbers = line
        .split(' ')
        .map(str::parse)
        .collect::<Result<Vec<u64>, _>>()
        .with_context(|| line.to_string())?;
    numbers.try_into().ok().with_context(|| line.to_string())
}

pub fn run(args: &Args) -> Result<()> {
    let machine = Machine::here()?;
    let mut records = Vec::new();

    for &helpers in &args.helpers {
        ensure!(helpers != 0, "--helpers is 1 at least");
        let mut samples = Vec::new();
        for _ in &args.modes {
            let histogram = || Histogram::<u64>::new(3);
            samples.push([histogram()?, histogram()?, histogram()?, histogram()?]);
        }
        let mut left = args.repeat;
        while left != 0 {
            let rounds = left.min(BATCH);
            for (means, sample) in args.modes.iter().zip(&mut samples) {
                for times in means.measure(helpers, rounds)? {
                    for (histogram, time) in sample.iter_mut().zip(times) {
                        histogram.record(time)?;
                    }
                }
            }
            left -= rounds;
        }
        for (&mode, sample) in args.modes.iter().zip(&samples) {
            let [spawn, first, join, total] = array::from_fn(|i| sample[i].value_at_quantile(0.5));
            let [spawn_p99, first_p99, join_p99, total_p99] =
                array::from_fn(|i| sample[i].value_at_quantile(0.99));
            records.push(Record {
                bench: "spawn",
                size_bytes: 0,
                mode,
                workers: helpers + 1,
                repeat: sample[3].len(),
                spawn_median_ns: spawn,
                spawn_p99_ns: spawn_p99,
                first_median_ns: first,
                first_p99_ns: first_p99,
                join_median_ns: join,
                join_p99_ns: join_p99,
                median_ns: total,
                p99_ns: total_p99,
                min_ns: sample[3].min(),
                max_ns: sample[3].max(),
                machine: machine.clone(),
            });
        }
    }
    if write_json(args.json.as_deref(), &records)? {
        return Ok(());
    }

    println!("spawn on {machine}; microseconds, median (99th percentile)");
    print!("  {:<18} {:>7} {:>7}", "mode", "helpers", "rounds");
    for time in TIMES {
        print!(" {time:>17}");
    }
    println!();
    for record in &records {
        let time =
            |median: u64, p99: u64| format!("{:.1} ({:.1})", median as f64 / 1e3, p99 as f64 / 1e3);
        println!(
            "  {:<18} {:>7} {:>7} {:>17} {:>17} {:>17} {:>17}",
            record.mode.name(),
            record.workers - 1,
            record.repeat,
            time(record.spawn_median_ns, record.spawn_p99_ns),
            time(record.first_median_ns, record.first_p99_ns),
            time(record.join_median_ns, record.join_p99_ns),
            time(record.median_ns, record.p99_ns),
        );
    }
    Ok(())
}
