// SPDX-License-Identifier: GPL-2.0

//! Puts together what benchmarks on simulated cores, and these cores, have written down, and refuses
//! it where the controls show that it is not what N cores would have done.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use common::{
    record::{CONTROL_BUSY, CONTROL_SERIAL, Mode, Record, milliseconds},
    region::{Cores, Region},
    size::Size,
};
use serde::Deserialize;
use serde_json::Value;
use std::{fs, path::PathBuf, process::ExitCode};

/// What the speed-up of perfectly parallel work must be at least, as a share of the workers.
const BUSY_MIN: f64 = 0.85;
/// What the speed-up of serialised work may be at most.
const SERIAL_MAX: f64 = 1.1;
/// The share of quanta that may be over too late.
const OVERRUNS_MAX: f64 = 0.01;
/// How many quanta a measurement must last.
const QUANTA_MIN: u64 = 100;
/// How often each mode must have been measured.
const REPEAT_MIN: u64 = 7;

/// Print and check the results of a benchmark on simulated cores; exit with 1 where they are invalid.
#[derive(Parser)]
struct Cli {
    /// What the simulated cores have written.
    #[arg(long)]
    regions: PathBuf,
    /// Where to write all results as JSON, if they are valid.
    #[arg(long)]
    json: PathBuf,
    /// The results of userbench, in the order in which it ran: the benchmark and both controls, for
    /// each number of workers.
    #[arg(required = true)]
    results: Vec<PathBuf>,
}

/// One mode of one benchmark.
struct Sample {
    record: Record,
    /// The same, with all that the benchmark has said of it.
    json: Value,
    /// Medians.
    work: u64,
    span: u64,
    /// Sums.
    quanta: u64,
    overruns: u64,
}

/// One benchmark, with one number of workers.
struct Bench {
    serial: Sample,
    parallel: Sample,
}

/// A benchmark and its controls, with one number of workers.
struct Row<'a> {
    workers: u64,
    bench: &'a Bench,
    busy: &'a Bench,
    turns: &'a Bench,
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.collect();
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

impl Sample {
    fn new(json: Value, regions: &[Region]) -> Result<Self> {
        let record = Record::deserialize(&json).context("not a result of userbench")?;
        let own = || regions.iter().filter(|region| region.mode == record.mode);
        let sum = |field: fn(&Region) -> u64| own().map(field).sum();
        let marked = own().count();
        ensure!(
            marked == record.repeat as usize,
            "{} was measured {} times, and marked {marked} times",
            record.bench,
            record.repeat
        );
        Ok(Self {
            work: median(own().map(Region::work)),
            span: median(own().map(Region::span)),
            quanta: sum(|region| region.quanta),
            overruns: sum(|region| region.overruns),
            json,
            record,
        })
    }

    fn to_json(&self, cores: Cores) -> Value {
        let mut json = self.json.clone();
        for (key, value) in [
            ("mips", cores.mips),
            ("quantum_ns", cores.quantum_ns),
            ("quanta", self.quanta),
            ("overruns", self.overruns),
            ("work_instructions", self.work),
            ("span_instructions", self.span),
        ] {
            json[key] = value.into();
        }
        json
    }
}

impl Bench {
    /// Takes what the benchmark has marked from the front of `regions`.
    fn new(json: Vec<Value>, regions: &mut &[Region]) -> Result<Self> {
        let repeats = json.iter().map(|sample| sample["repeat"].as_u64());
        let marked = repeats.sum::<Option<u64>>().context("no 'repeat'")? as usize;
        let (own, rest) = regions
            .split_at_checked(marked)
            .context("not all that was measured was marked; does it use the stopwatch?")?;
        *regions = rest;

        let mut samples = json
            .into_iter()
            .map(|json| Sample::new(json, own))
            .collect::<Result<Vec<_>>>()?;
        let mut take = |mode| {
            let index = samples.iter().position(|it| it.record.mode == mode);
            index
                .map(|index| samples.remove(index))
                .with_context(|| format!("{mode:?} was not measured"))
        };
        Ok(Self {
            serial: take(Mode::Serial)?,
            parallel: take(Mode::Parallel)?,
        })
    }

    fn name(&self) -> &str {
        &self.parallel.record.bench
    }

    fn workers(&self) -> u64 {
        self.parallel.record.workers
    }

    fn samples(&self) -> [&Sample; 2] {
        [&self.serial, &self.parallel]
    }

    fn speed_up_at(&self, parallel_ns: u64) -> f64 {
        self.serial.record.median_ns as f64 / parallel_ns as f64
    }

    fn speed_up(&self) -> f64 {
        self.speed_up_at(self.parallel.record.median_ns)
    }

    fn overruns(&self) -> f64 {
        let sum = |field: fn(&Sample) -> u64| self.samples().into_iter().map(field).sum::<u64>();
        sum(|sample| sample.overruns) as f64 / sum(|sample| sample.quanta).max(1) as f64
    }

    /// Why this does not count, whatever the controls say.
    fn flaws(&self, cores: Cores) -> Vec<String> {
        let mut flaws = Vec::new();
        let overruns = self.overruns();
        if overruns > OVERRUNS_MAX {
            flaws.push(format!("{:.2} % of the quanta were late", overruns * 100.0));
        }
        for Sample { record, .. } in self.samples() {
            let quanta = record.median_ns / cores.quantum_ns;
            if quanta < QUANTA_MIN {
                flaws.push(format!("{:?} took but {quanta} quanta", record.mode));
            }
            if record.repeat < REPEAT_MIN {
                flaws.push(format!("measured but {} times", record.repeat));
            }
        }
        for flaw in &mut flaws {
            *flaw = format!("{} with {} workers: {flaw}", self.name(), self.workers());
        }
        flaws
    }
}

impl<'a> Row<'a> {
    /// Finds the controls of each benchmark.
    fn all(benches: &'a [Bench]) -> Result<Vec<Self>> {
        let is_control = |name: &str| [CONTROL_BUSY, CONTROL_SERIAL].contains(&name);
        let rows: Vec<_> = benches
            .iter()
            .filter(|bench| !is_control(bench.name()))
            .map(|bench| {
                let workers = bench.workers();
                let find = |name| {
                    let control = benches
                        .iter()
                        .find(|it| it.name() == name && it.workers() == workers);
                    control.with_context(|| format!("no {name} with {workers} workers"))
                };
                Ok(Self {
                    workers,
                    bench,
                    busy: find(CONTROL_BUSY)?,
                    turns: find(CONTROL_SERIAL)?,
                })
            })
            .collect::<Result<_>>()?;
        ensure!(!rows.is_empty(), "nothing but controls");
        Ok(rows)
    }

    /// Why the row does not count.
    fn flaws(&self, cores: Cores) -> Vec<String> {
        let mut flaws: Vec<_> = [self.bench, self.busy, self.turns]
            .into_iter()
            .flat_map(|bench| bench.flaws(cores))
            .collect();
        let (busy, turns, workers) = (self.busy.speed_up(), self.turns.speed_up(), self.workers);
        let least = BUSY_MIN * workers as f64;
        if busy < least {
            flaws.push(format!(
                "BUSY({workers}) is {busy:.2}, less than {least:.2}"
            ));
        }
        if turns > SERIAL_MAX {
            flaws.push(format!(
                "SERIAL({workers}) is {turns:.2}, more than {SERIAL_MAX}"
            ));
        }
        flaws
    }

    fn print(&self) {
        let Bench { serial, parallel } = self.bench;
        let Record { min_ns, max_ns, .. } = parallel.record;
        println!(
            "  {:>7} {:>11} {:>11} {:>8.2} {:>15} {:>7.2} {:>7.2} {:>9.3} M {:>+6.1} % {:>9.2} {:>7.2} %",
            self.workers,
            milliseconds(serial.record.median_ns),
            milliseconds(parallel.record.median_ns),
            self.bench.speed_up(),
            format!(
                "[{:.2}, {:.2}]",
                self.bench.speed_up_at(max_ns),
                self.bench.speed_up_at(min_ns)
            ),
            self.busy.speed_up(),
            self.turns.speed_up(),
            parallel.work as f64 / 1e6,
            (parallel.work as f64 / serial.work as f64 - 1.0) * 100.0,
            parallel.work as f64 / parallel.span as f64,
            self.bench.overruns() * 100.0,
        );
    }
}

fn print(rows: &[Row], cores: Cores) {
    let Some(Row { bench, .. }) = rows.first() else {
        return;
    };
    let record = &bench.parallel.record;
    println!(
        "{} {} on {}: simulated cores of {} MIPS, quantum {} us",
        record.bench,
        Size(record.size_bytes),
        record.machine,
        cores.mips,
        cores.quantum_ns / 1000
    );
    println!(
        "An instruction takes 1 / R of a second: no caches, memory bandwidth, NUMA or TLB misses."
    );
    println!(
        "  {:>7} {:>11} {:>11} {:>8} {:>15} {:>7} {:>7} {:>11} {:>8} {:>9} {:>9}",
        "workers",
        "serial",
        "parallel",
        "speed-up",
        "[min, max]",
        "BUSY",
        "SERIAL",
        "work",
        "",
        "work/span",
        "late"
    );
    for row in rows {
        row.print();
    }
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let text = fs::read_to_string(&cli.regions).context(cli.regions.display().to_string())?;
    let mut lines = text.lines();
    let cores = lines.next().context("the simulated cores wrote nothing")?;
    let cores: Cores = serde_json::from_str(cores).context("the cores")?;
    let regions = lines
        .map(|line| serde_json::from_str(line).context("a region"))
        .collect::<Result<Vec<Region>>>()?;

    let mut left = &regions[..];
    let benches = cli
        .results
        .iter()
        .map(|file| {
            let name = file.display().to_string();
            let json = fs::read_to_string(file).context(name.clone())?;
            Bench::new(serde_json::from_str(&json)?, &mut left).context(name)
        })
        .collect::<Result<Vec<_>>>()?;
    ensure!(left.is_empty(), "more was marked than was measured");

    let rows = Row::all(&benches)?;
    print(&rows, cores);
    let flaws: Vec<_> = rows.iter().flat_map(|row| row.flaws(cores)).collect();
    for flaw in &flaws {
        eprintln!("invalid: {flaw}");
    }
    if !flaws.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let json: Vec<_> = benches
        .iter()
        .flat_map(Bench::samples)
        .map(|sample| sample.to_json(cores))
        .collect();
    let text = serde_json::to_string_pretty(&json)? + "\n";
    fs::write(&cli.json, text).context(cli.json.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CORES: Cores = Cores {
        mips: 20,
        quantum_ns: 500_000,
    };
    const SERIAL_NS: u64 = 800_000_000;

    fn regions(mode: Mode, instructions: &[u64], overruns: u64) -> Vec<Region> {
        let region = Region {
            mode,
            elapsed_ns: 0,
            quanta: 1000,
            overruns,
            instructions: instructions.to_vec(),
        };
        vec![region; REPEAT_MIN as usize]
    }

    fn record(bench: &str, mode: Mode, workers: u64, ns: u64) -> Value {
        json!({
            "bench": bench, "size_bytes": 1 << 20, "mode": mode, "workers": workers,
            "repeat": REPEAT_MIN, "median_ns": ns, "p99_ns": ns, "min_ns": ns, "max_ns": ns,
            "accel": "sim", "vcpus": 8, "kernel": "7.3", "pages": "4k",
        })
    }

    /// A benchmark with some speed-up, and as many late ones in 2000 quanta.
    fn bench(name: &str, workers: u64, speed_up: f64, overruns: u64) -> Bench {
        let parallel_ns = (SERIAL_NS as f64 / speed_up) as u64;
        let json = vec![
            record(name, Mode::Serial, workers, SERIAL_NS),
            record(name, Mode::Parallel, workers, parallel_ns),
        ];
        let mut marked = regions(Mode::Serial, &[0, 16_000_000], 0);
        marked.extend(regions(Mode::Parallel, &[9_000_000, 8_000_000], overruns));
        Bench::new(json, &mut &marked[..]).unwrap()
    }

    fn flaws(busy: f64, turns: f64, overruns: u64, speed_up: f64) -> Vec<String> {
        let benches = [
            bench(CONTROL_BUSY, 8, busy, 0),
            bench(CONTROL_SERIAL, 8, turns, 0),
            bench("fork", 8, speed_up, overruns),
        ];
        let rows = Row::all(&benches).unwrap();
        rows.iter().flat_map(|row| row.flaws(CORES)).collect()
    }

    #[test]
    fn good_controls_are_accepted() {
        assert!(flaws(7.8, 0.98, 20, 7.2).is_empty());
    }

    #[test]
    fn bad_controls_are_refused() {
        assert_eq!(
            flaws(6.7, 0.98, 0, 7.2),
            ["BUSY(8) is 6.70, less than 6.80"]
        );
        assert_eq!(
            flaws(7.8, 1.2, 0, 7.2),
            ["SERIAL(8) is 1.20, more than 1.1"]
        );
    }

    #[test]
    fn overruns_and_short_measurements_are_refused() {
        assert_eq!(
            flaws(7.8, 0.98, 21, 7.2),
            ["fork with 8 workers: 1.05 % of the quanta were late"]
        );
        assert_eq!(
            flaws(7.8, 0.98, 0, 16.5),
            ["fork with 8 workers: Parallel took but 96 quanta"]
        );
    }

    #[test]
    fn all_controls_must_be_there() {
        let benches = [
            bench(CONTROL_BUSY, 8, 8.0, 0),
            bench(CONTROL_SERIAL, 4, 1.0, 0),
            bench("fork", 8, 7.0, 0),
        ];
        let error = Row::all(&benches).err().unwrap().to_string();
        assert_eq!(error, "no control serial with 8 workers");
        assert!(Row::all(&benches[..2]).is_err());
    }

    #[test]
    fn all_that_was_measured_must_be_marked() {
        let json = || vec![record("fork", Mode::Serial, 2, 1)];
        let marked = regions(Mode::Parallel, &[1], 0);
        assert!(Bench::new(json(), &mut &marked[..3]).is_err());
        assert!(Bench::new(json(), &mut &marked[..]).is_err());
    }

    #[test]
    fn results_say_what_was_executed() {
        let sample = bench("fork", 8, 7.0, 3).parallel.to_json(CORES);
        assert_eq!(sample["work_instructions"], 17_000_000);
        assert_eq!(sample["span_instructions"], 9_000_000);
        assert_eq!(sample["overruns"], 3 * REPEAT_MIN);
        assert_eq!(sample["pages"], "4k");
    }
}
