// SPDX-License-Identifier: GPL-2.0

//! What was measured, for people and for programs.

use crate::{
    machine::Machine,
    runner::{Mode, RunArgs, Sample},
    size::Size,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{fs, io};

/// One line of the results.
#[derive(Serialize)]
struct Record<'a, P: Serialize> {
    bench: &'a str,
    size_bytes: u64,
    mode: Mode,
    workers: u64,
    repeat: u64,
    median_ns: u64,
    p99_ns: u64,
    min_ns: u64,
    max_ns: u64,
    #[serde(flatten)]
    machine: &'a Machine,
    /// What else the benchmark was given.
    #[serde(flatten)]
    parameters: &'a P,
}

/// Prints a table, or the JSON where that goes to standard output, and writes the JSON elsewhere.
pub fn report<P: Serialize>(
    bench: &str,
    size: Size,
    args: &RunArgs,
    parameters: &P,
    samples: &[Sample],
) -> Result<()> {
    let machine = Machine::here()?;
    let records: Vec<_> = samples
        .iter()
        .map(|Sample { mode, nanoseconds }| Record {
            bench,
            size_bytes: size.0,
            mode: *mode,
            workers: args.workers,
            repeat: nanoseconds.len(),
            median_ns: nanoseconds.value_at_quantile(0.5),
            p99_ns: nanoseconds.value_at_quantile(0.99),
            min_ns: nanoseconds.min(),
            max_ns: nanoseconds.max(),
            machine: &machine,
            parameters,
        })
        .collect();

    if let Some(file) = args.json.as_deref().filter(|&file| file != "-") {
        fs::write(file, serde_json::to_string_pretty(&records)? + "\n")
            .context(file.to_string())?;
    }
    if args.json.as_deref() == Some("-") {
        serde_json::to_writer_pretty(io::stdout(), &records)?;
        println!();
        return Ok(());
    }

    println!(
        "{bench} {size} on {} with {} CPUs, Linux {}",
        machine.accel, machine.vcpus, machine.kernel
    );
    println!(
        "  {:<10} {:>12} {:>12} {:>12}",
        "mode", "median", "min", "max"
    );
    for record in &records {
        println!(
            "  {:<10} {:>12} {:>12} {:>12}",
            format!("{:?}", record.mode).to_lowercase(),
            milliseconds(record.median_ns),
            milliseconds(record.min_ns),
            milliseconds(record.max_ns),
        );
    }
    let find = |mode| records.iter().find(|record| record.mode == mode);
    if let (Some(serial), Some(parallel)) = (find(Mode::Serial), find(Mode::Parallel)) {
        println!(
            "  serial / parallel = {:.2}  (medians of {})",
            serial.median_ns as f64 / parallel.median_ns as f64,
            parallel.repeat
        );
    }
    Ok(())
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}
