// SPDX-License-Identifier: GPL-2.0

//! Takes the measurements of all benchmarks: modes in turn, and a histogram for each.

use anyhow::{Result, ensure};
use common::{
    mark::{self, Mark},
    prctl::Setting,
    record::Mode,
    tunables::Tunables,
};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Options that all benchmarks have.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The most CPUs in one call, the caller's among them; 0: as the system is set.
    #[arg(long, default_value_t = 0)]
    pub workers: u64,
    /// The modes to compare.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "serial,parallel"
    )]
    pub modes: Vec<Mode>,
    /// How many times to measure each mode.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(1..))]
    pub repeat: u64,
    /// Where to write the results as JSON; '-' is standard output, which then has nothing else.
    #[arg(long)]
    pub json: Option<String>,
}

impl RunArgs {
    /// Refuses modes that a benchmark does not have, besides `serial` and `parallel`.
    pub fn only(&self, others: &[Mode]) -> Result<()> {
        for mode in &self.modes {
            let has = matches!(mode, Mode::Serial | Mode::Parallel) || others.contains(mode);
            ensure!(has, "this benchmark has no mode '{}'", mode.name());
        }
        Ok(())
    }

    /// How many threads are as many CPUs as a call may have.
    pub fn threads(&self) -> Result<usize> {
        match self.workers {
            0 => Ok(thread::available_parallelism()?.get()),
            workers => Ok(workers as usize),
        }
    }
}

/// The measurements of one mode.
pub struct Sample {
    pub mode: Mode,
    pub nanoseconds: Histogram<u64>,
}

/// Times what a benchmark measures. On simulated cores, these are slow just while it runs.
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        mark::mark(Mark::Begin);
        Self(Instant::now())
    }

    pub fn stop(self) -> Duration {
        mark::mark(Mark::End);
        self.0.elapsed()
    }
}

/// Measures calls that are `serial` or `parallel`; see [`run_modes`].
pub fn run(
    args: &RunArgs,
    what: &str,
    mut measure: impl FnMut() -> Result<Duration>,
) -> Result<Vec<Sample>> {
    args.only(&[])?;
    run_modes(args, what, |_| measure())
}

/// Measures each mode `repeat` times, in turns, after one round that does not count.
pub fn run_modes(
    args: &RunArgs,
    what: &str,
    mut measure: impl FnMut(Mode) -> Result<Duration>,
) -> Result<Vec<Sample>> {
    // What is switched is the system's setting: one of this process's own must not override it.
    let _ = Setting::DEFAULT.set();

    // Without parcall there is nothing to switch, but serial can be measured.
    let serial_only = !args.modes.contains(&Mode::Parallel);
    let mut tunables = match Tunables::open() {
        Err(_) if serial_only => None,
        tunables => Some(tunables?),
    };
    if args.workers != 0 {
        ensure!(tunables.is_some(), "--workers needs a kernel with parcall");
        if let Some(tunables) = &mut tunables {
            tunables.set("max_workers", args.workers)?;
        }
    }

    let mut samples = args
        .modes
        .iter()
        .map(|&mode| {
            Ok(Sample {
                mode,
                nanoseconds: Histogram::new(4)?,
            })
        })
        .collect::<Result<Vec<_>>>()?;

    let rounds = args.repeat + 1;
    let progress = ProgressBar::new(rounds * samples.len() as u64)
        .with_style(ProgressStyle::with_template(
            "  {msg} [{bar:30}] {pos}/{len} {eta}",
        )?)
        .with_message(what.to_string());
    for round in 0..rounds {
        // Turn the order around, so that no mode always profits from what the one before left.
        let turn = |index| {
            if round % 2 == 0 {
                index
            } else {
                args.modes.len() - 1 - index
            }
        };
        for index in (0..args.modes.len()).map(turn) {
            let sample = &mut samples[index];
            if let Some(tunables) = &mut tunables {
                tunables.set("enabled", u64::from(sample.mode == Mode::Parallel))?;
            }
            mark::mark(match sample.mode {
                _ if round == 0 => Mark::Ignore,
                Mode::Serial => Mark::Serial,
                Mode::Parallel => Mark::Parallel,
                _ => Mark::Ignore,
            });
            let time = measure(sample.mode)?;
            if round > 0 {
                sample.nanoseconds.record(time.as_nanos() as u64)?;
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(samples)
}
