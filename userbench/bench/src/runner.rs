// SPDX-License-Identifier: GPL-2.0

//! Takes the measurements of all benchmarks: modes in turn.

use anyhow::{Result, ensure};
use common::{
    mark::{self, Mark},
    prctl::Setting,
    record::Mode,
    stats::Stats,
    tunables::Tunables,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    thread,
    time::{Duration, Instant},
};

/// With `--seconds`, how many times each mode is measured at least.
const REPEAT_MIN: u64 = 5;

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
    /// Stop after about so many seconds, once each mode was measured five times.
    #[arg(long)]
    pub seconds: Option<u64>,
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
    /// In the order in which they were taken.
    pub times_ns: Vec<u64>,
    /// What the kernel counted meanwhile, if it does.
    pub counters: Vec<Stats>,
}

impl Sample {
    /// In how many measurements a call of a path was split. Some kernels do not count.
    pub fn split(&self, path: &str) -> Option<u64> {
        let was_split = |stats: &&Stats| {
            stats
                .get(path)
                .is_some_and(|path| path.count("parallel") != 0)
        };
        (self.counters.len() == self.times_ns.len())
            .then(|| self.counters.iter().filter(was_split).count() as u64)
    }
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

/// The same for what does not leave it to parcall what a mode is, or has to know it.
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
        .map(|&mode| Sample {
            mode,
            times_ns: Vec::new(),
            counters: Vec::new(),
        })
        .collect::<Vec<_>>();

    let rounds = args.repeat + 1;
    let progress = ProgressBar::new(rounds * samples.len() as u64)
        .with_style(ProgressStyle::with_template(
            "  {msg} [{bar:30}] {pos}/{len} {eta}",
        )?)
        .with_message(what.to_string());
    let start = Instant::now();
    for round in 0..rounds {
        let enough = |&seconds: &u64| start.elapsed().as_secs() >= seconds;
        if round > REPEAT_MIN && args.seconds.as_ref().is_some_and(enough) {
            break;
        }
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
            let before = Stats::read();
            let time = measure(sample.mode)?;
            if round > 0 {
                sample.times_ns.push(time.as_nanos() as u64);
                if let (Ok(before), Ok(now)) = (before, Stats::read()) {
                    sample.counters.push(now.since(&before));
                }
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(samples)
}
