// SPDX-License-Identifier: GPL-2.0

//! Measures from which size on, and over how many CPUs, splitting pays.

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use common::{
    machine::Machine,
    record::{Mode, Record, milliseconds},
    size::Size,
    stats::{Counters, Stats},
    tunables::{PREFIX, Tunables},
};
use nix::{
    libc::c_int,
    sys::signal::{SigHandler, Signal, signal},
};
use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// How many times as fast is faster, and not noise.
const MARGIN: f64 = 1.05;

#[derive(clap::Args)]
pub struct Args {
    /// The kind of call.
    #[arg(long, value_enum, default_value_t = Bench::Fork)]
    bench: Bench,
    /// The sizes to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "4M,8M,16M,32M,64M,128M,256M,512M"
    )]
    sizes: Vec<Size>,
    /// Over how many CPUs, the caller's among them [default: 2,4,8,16, as far as there are CPUs].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(2..))]
    workers: Vec<u64>,
    /// How many times to measure each.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Write the settings that were found to this file, for sysctl(8).
    #[arg(long, value_name = "FILE")]
    sysctl: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    Fork,
}

impl fmt::Display for Bench {
    /// As the path, and userbench's benchmark, are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fork => write!(f, "fork"),
        }
    }
}

/// The medians of one size and width, taken in turns.
struct Cell {
    serial_ns: u64,
    parallel_ns: u64,
}

impl Cell {
    fn gain(&self) -> f64 {
        self.serial_ns as f64 / self.parallel_ns as f64
    }
}

/// What was measured: the smallest size first, and in each row the smallest width first.
struct Sweep {
    widths: Vec<u64>,
    rows: Vec<(Size, Vec<Cell>)>,
}

/// What to set.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    min: Size,
    workers: u64,
}

impl Sweep {
    /// The smallest size from which on a width always wins.
    fn break_even(&self, width: usize) -> Option<Size> {
        self.rows
            .iter()
            .rev()
            .take_while(|(_, cells)| cells[width].gain() >= MARGIN)
            .last()
            .map(|&(size, _)| size)
    }

    /// The width that gains most at the largest size; a wider one has to be worth its CPUs.
    fn choose(&self) -> Option<Choice> {
        let (_, largest) = self.rows.last()?;
        let mut best = None;
        let mut least = 0.0;
        for (index, &workers) in self.widths.iter().enumerate() {
            let gain = largest[index].gain();
            if let Some(min) = self.break_even(index).filter(|_| gain >= least) {
                best = Some(Choice { min, workers });
                least = gain * MARGIN;
            }
        }
        best
    }

    fn print(&self) {
        print!("{:>8} {:>12}", "size", "serial");
        for width in &self.widths {
            print!(" {:>17}", format!("{width} workers"));
        }
        println!();
        for (size, cells) in &self.rows {
            let mut serial: Vec<_> = cells.iter().map(|cell| cell.serial_ns).collect();
            serial.sort();
            let middle = serial[(serial.len() - 1) / 2];
            print!("{:>8} {:>12}", size.to_string(), milliseconds(middle));
            for cell in cells {
                print!(" {:>12} {:.2}", milliseconds(cell.parallel_ns), cell.gain());
            }
            println!();
        }
        for (index, width) in self.widths.iter().enumerate() {
            match self.break_even(index) {
                Some(size) => println!("{width} workers win from {size} on"),
                None => println!("{width} workers do not win"),
            }
        }
    }
}

pub fn tune(args: &Args) -> Result<()> {
    let machine = Machine::here()?;
    let mut sizes = args.sizes.clone();
    sizes.sort();
    sizes.dedup();
    let mut widths = args.workers.clone();
    if widths.is_empty() {
        widths = vec![2, 4, 8, 16];
        widths.retain(|&width| width <= machine.vcpus as u64);
    }
    widths.sort();
    widths.dedup();
    ensure!(
        !widths.is_empty(),
        "one CPU has nobody to share its work with"
    );

    let before = Stats::read();
    let sweep = measure(args, &sizes, widths)?;
    let what = format!("{} on {machine}", args.bench);
    println!("{what}: medians of {}, and serial / parallel", args.repeat);
    sweep.print();
    if let (Ok(before), Ok(now)) = (before, Stats::read()) {
        let path = args.bench.to_string();
        let new = now.since(&before);
        was_split(
            new.get(&path)
                .with_context(|| format!("no counters of {path}"))?,
        )?;
    }

    let Some(choice) = sweep.choose() else {
        println!("\nno settings make it faster");
        ensure!(
            args.sysctl.is_none(),
            "there is nothing to write to the file"
        );
        return Ok(());
    };
    let text = settings(args.bench, &what, choice);
    print!("\n{text}");
    match &args.sysctl {
        Some(file) => fs::write(file, text).with_context(|| file.display().to_string()),
        None => Ok(()),
    }
}

/// Says how many calls were split. Where none was, the figures mean nothing.
fn was_split(counters: &Counters) -> Result<()> {
    let [calls, parallel] = ["calls", "parallel"].map(|key| counters.count(key));
    let reasons: String = counters
        .reasons()
        .into_iter()
        .map(|(reason, count)| format!(", {reason} {count}"))
        .collect();
    ensure!(parallel != 0, "none of {calls} calls was split{reasons}");
    println!("{parallel} of {calls} calls were split{reasons}");
    Ok(())
}

/// The text of a sysctl.d file.
fn settings(bench: Bench, what: &str, Choice { min, workers }: Choice) -> String {
    format!(
        "# {what}: {workers} workers win from {min} on.\n\
         {PREFIX}.{bench}_min_bytes = {}\n\
         {PREFIX}.max_workers = {workers}\n",
        min.0
    )
}

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: c_int) {
    STOPPED.store(true, Relaxed);
}

/// Measures all sizes and widths, with calls of all sizes split, and leaves the system as it was.
fn measure(args: &Args, sizes: &[Size], widths: Vec<u64>) -> Result<Sweep> {
    let mut tunables = Tunables::open()?;
    for signal_number in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: All that the handler does is to set a flag.
        unsafe { signal(signal_number, SigHandler::Handler(stop)) }?;
    }
    // userbench puts them back too, unless it is killed.
    tunables.save("enabled")?;
    tunables.save("max_workers")?;
    tunables.set(&args.bench.to_string(), 1)?;
    tunables.set(&format!("{}_min_bytes", args.bench), 1)?;

    let program = userbench();
    let row = |&size: &Size| {
        let cells = widths
            .iter()
            .map(|&width| cell(&program, args, size, width))
            .collect::<Result<_>>()?;
        Ok((size, cells))
    };
    let rows = sizes.iter().map(row).collect::<Result<_>>()?;
    Ok(Sweep { widths, rows })
}

/// Measures one size and width.
fn cell(program: &Path, args: &Args, size: Size, width: u64) -> Result<Cell> {
    let output = Command::new(program)
        .arg(args.bench.to_string())
        .args(["--size", &size.to_string()])
        .args(["--workers", &width.to_string()])
        .args(["--repeat", &args.repeat.to_string()])
        .args(["--json", "-"])
        .stderr(Stdio::inherit())
        .output()
        .context("userbench, beside parcall or in PATH")?;
    if STOPPED.load(Relaxed) {
        bail!("stopped; the settings are as before");
    }
    ensure!(output.status.success(), "userbench: {}", output.status);

    let records: Vec<Record> = serde_json::from_slice(&output.stdout).context("userbench")?;
    let median = |mode| {
        Record::find(&records, mode)
            .map(|record| record.median_ns)
            .with_context(|| format!("userbench reports nothing {mode:?}"))
    };
    Ok(Cell {
        serial_ns: median(Mode::Serial)?,
        parallel_ns: median(Mode::Parallel)?,
    })
}

/// The one beside this program, or else the one in PATH.
fn userbench() -> PathBuf {
    env::current_exe()
        .map(|program| program.with_file_name("userbench"))
        .ok()
        .filter(|beside| beside.exists())
        .unwrap_or_else(|| "userbench".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of 1M, 2M, ..., each with the gains of 2, 4, ... workers in percent.
    fn sweep(gains: &[&[u64]]) -> Sweep {
        let cells = |row: &[u64]| {
            row.iter()
                .map(|&percent| Cell {
                    serial_ns: percent,
                    parallel_ns: 100,
                })
                .collect()
        };
        Sweep {
            widths: (1..=gains[0].len()).map(|index| 2 * index as u64).collect(),
            rows: (1..)
                .map(|megabytes| Size(megabytes << 20))
                .zip(gains.iter().map(|&row| cells(row)))
                .collect(),
        }
    }

    fn megabytes(count: u64) -> Option<Size> {
        Some(Size(count << 20))
    }

    #[test]
    fn breaks_even_where_all_larger_sizes_win() {
        let break_even = |gains: &[u64]| {
            let rows: Vec<_> = gains.iter().map(std::slice::from_ref).collect();
            sweep(&rows).break_even(0)
        };
        assert_eq!(break_even(&[90, 104, 105, 180]), megabytes(3));
        assert_eq!(break_even(&[120, 104, 130, 180]), megabytes(3));
        assert_eq!(break_even(&[105, 110]), megabytes(1));
        assert_eq!(break_even(&[90, 150, 104]), None);
    }

    #[test]
    fn a_wider_call_has_to_be_worth_it() {
        let choose = |gains: &[&[u64]]| {
            let choice = sweep(gains).choose()?;
            Some((choice.workers, choice.min.0 >> 20))
        };
        assert_eq!(choose(&[&[106, 90, 90], &[180, 188, 188]]), Some((2, 1)));
        assert_eq!(choose(&[&[106, 90, 90], &[180, 190, 195]]), Some((4, 2)));
        assert_eq!(choose(&[&[106, 90, 90], &[180, 190, 300]]), Some((6, 2)));
        assert_eq!(choose(&[&[106, 90], &[104, 110]]), Some((4, 2)));
        assert_eq!(choose(&[&[200, 200], &[100, 104]]), None);
    }

    #[test]
    fn calls_must_have_been_split() {
        let check = |line: &str| was_split(line.parse::<Stats>().unwrap().get("fork").unwrap());
        assert!(check("fork calls=9 parallel=1 serial_small=8").is_ok());
        let error = check("fork calls=9 parallel=0 serial_busy=2 serial_caller=7").unwrap_err();
        assert_eq!(
            error.to_string(),
            "none of 9 calls was split, caller 7, busy 2"
        );
    }

    #[test]
    fn settings_are_what_sysctl_reads() {
        let choice = Choice {
            min: Size(16 << 20),
            workers: 4,
        };
        assert_eq!(
            settings(Bench::Fork, "fork here", choice),
            "# fork here: 4 workers win from 16M on.\n\
             kernel.parcall.fork_min_bytes = 16777216\n\
             kernel.parcall.max_workers = 4\n"
        );
    }

    #[test]
    fn reads_what_userbench_writes() {
        let json = r#"[{"bench":"fork","size_bytes":4096,"mode":"parallel","workers":2,"repeat":1,
            "median_ns":5,"p99_ns":6,"min_ns":4,"max_ns":6,"accel":"tcg","vcpus":2,
            "kernel":"7.3.4","pages":"4k","untouched":false,"vmas":1}]"#;
        let records: Vec<Record> = serde_json::from_str(json).unwrap();
        assert_eq!(Record::find(&records, Mode::Parallel).unwrap().median_ns, 5);
        assert!(Record::find(&records, Mode::Serial).is_none());
    }
}
