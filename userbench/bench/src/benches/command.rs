// SPDX-License-Identifier: GPL-2.0

//! Programs as they are, from start to end.

use crate::{
    report::report,
    runner::{self, RunArgs},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::size::Size;
use serde::Serialize;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Args {
    /// The program.
    #[arg(value_enum)]
    program: Program,
    /// How much memory it uses, where it can be told.
    #[arg(long, default_value = "512M")]
    size: Size,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Program {
    /// A shell script of 1,000 commands, each a process. Nothing in it is worth to be split.
    Shell,
    /// 1,000 forks of a small process. Nor is any of these.
    SmallForks,
    /// A heap of `--size` in Python, and 8 processes of `multiprocessing` that read little of it.
    Python,
    /// 64 MiB that are written, and read, by 4 KiB.
    SmallIo,
}

const PYTHON: &str = "
import multiprocessing, os
multiprocessing.set_start_method('fork')
size = int(os.environ['BYTES'])
heap = bytearray(size)
heap[::4096] = b'x' * len(range(0, size, 4096))
def work(number):
    return heap[number * 4096]
if __name__ == '__main__':
    import time
    total = 0
    for _ in range(8):
        process = multiprocessing.Process(target=work, args=(1,))
        before = time.perf_counter_ns()
        process.start()
        process.join()
        total += time.perf_counter_ns() - before
    print(total)
";

const SMALL_IO: &str = "
file=$(mktemp -p /dev/shm) && trap 'rm $file' EXIT &&
dd if=/dev/zero of=$file bs=4k count=16384 2>&1 && dd if=$file of=/dev/null bs=4k 2>&1";

impl Program {
    fn command(self, size: Size) -> Command {
        let (name, arguments): (_, &[&str]) = match self {
            Self::Shell => (
                "sh",
                &[
                    "-c",
                    "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i + 1)); done",
                ],
            ),
            Self::SmallForks => (
                "sh",
                &[
                    "-c",
                    "i=0; while [ $i -lt 1000 ]; do (:); i=$((i + 1)); done",
                ],
            ),
            Self::Python => ("/usr/bin/python3", &["-c", PYTHON]),
            Self::SmallIo => ("sh", &["-c", SMALL_IO]),
        };
        let mut command = Command::new(name);
        command.args(arguments).env("BYTES", size.0.to_string());
        command
    }

    /// What it says its own time was, if that is what counts.
    fn own_time(self, output: &str) -> Option<Result<Duration>> {
        match self {
            Self::Python => Some(
                output
                    .trim()
                    .parse()
                    .map(Duration::from_nanos)
                    .with_context(|| format!("it wrote '{output}'")),
            ),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Parameters {}

pub fn run(args: &Args) -> Result<()> {
    let name = args.program.to_possible_value().expect("none is skipped");
    let name = name.get_name();
    let samples = runner::run(&args.run, name, || {
        let mut command = args.program.command(args.size);
        let before = Instant::now();
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("{:?} is needed", command.get_program()))?;
        let time = before.elapsed();
        ensure!(
            output.status.success(),
            "{name} ended with {}",
            output.status
        );
        args.program
            .own_time(&String::from_utf8_lossy(&output.stdout))
            .unwrap_or(Ok(time))
    })?;
    report(name, args.size, &args.run, &Parameters {}, &samples)
}
