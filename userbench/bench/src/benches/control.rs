// SPDX-License-Identifier: GPL-2.0

//! Work whose speed-up is known, on threads of this process: a machine on which it is not measured
//! as it should be does not tell how anything else scales.

use crate::{
    report::report,
    runner::{self, RunArgs, Stopwatch},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::{
    record::{CONTROL_BUSY, CONTROL_SERIAL, Mode},
    size::Size,
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::Serialize;
use std::{
    hint::black_box,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

#[derive(clap::Args)]
pub struct Args {
    /// The kind of work.
    #[arg(value_enum)]
    kind: Kind,
    /// How many bytes of pseudorandom numbers to make.
    #[arg(long, default_value = "8M")]
    size: Size,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Each thread makes its part: as fast again as there are workers.
    Busy,
    /// The threads take turns: never faster than one.
    Serial,
}

#[derive(Serialize)]
struct Parameters {}

/// How many turns each thread takes.
const TURNS: u64 = 10;

/// Takes time in proportion to `steps`, and accesses no memory.
fn work(steps: u64) {
    let mut number = 1_u64;
    for _ in 0..steps {
        number = number.wrapping_mul(6364136223846793005).wrapping_add(1);
        number ^= black_box(number) >> 13;
    }
    black_box(number);
}

/// Counts threads. They spin for each other, since to wake one up takes time.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Counter {
    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn wait(&self, count: usize) {
        while self.0.load(SeqCst) < count {
            thread::yield_now();
        }
    }
}

fn pin(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("choosing CPUs")
}

/// Lets a thread on each CPU do its share, and returns how long it took all of them.
fn measure(kind: Kind, steps: u64, cpus: &[usize]) -> Result<Duration> {
    let turn = Mutex::new(());
    let share = steps / cpus.len() as u64;
    let part = || match kind {
        Kind::Busy => work(share),
        Kind::Serial => {
            for _ in 0..TURNS {
                let _turn = turn.lock();
                work(share / TURNS);
            }
        }
    };

    let [own, others @ ..] = cpus else {
        unreachable!("there always is a CPU");
    };
    let (ready, done) = (Counter::default(), Counter::default());
    pin(&[*own])?;
    thread::scope(|scope| {
        let threads: Vec<_> = others
            .iter()
            .map(|&cpu| {
                let (ready, done) = (&ready, &done);
                scope.spawn(move || {
                    let pinned = pin(&[cpu]);
                    ready.add();
                    ready.wait(cpus.len());
                    part();
                    done.add();
                    pinned
                })
            })
            .collect();
        ready.wait(others.len());
        let watch = Stopwatch::start();
        ready.add();
        part();
        done.wait(others.len());
        let time = watch.stop();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("threads do not panic"))?;
        Ok(time)
    })
}

pub fn run(args: &Args) -> Result<()> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<_> = (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect();
    let width = match args.run.workers {
        0 => cpus.len(),
        workers => workers as usize,
    };
    ensure!(
        width <= cpus.len(),
        "{width} workers on {} CPUs",
        cpus.len()
    );
    let steps = args.size.0 / size_of::<u64>() as u64;
    let name = match args.kind {
        Kind::Busy => CONTROL_BUSY,
        Kind::Serial => CONTROL_SERIAL,
    };
    args.run.only(&[])?;
    let samples = runner::run_modes(&args.run, name, |mode| {
        let width = if mode == Mode::Parallel { width } else { 1 };
        measure(args.kind, steps, &cpus[..width])
    })?;
    pin(&cpus)?;
    report(name, args.size, &args.run, &Parameters {}, &samples)
}
