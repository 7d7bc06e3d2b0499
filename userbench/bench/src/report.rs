// SPDX-License-Identifier: GPL-2.0

//! What was measured, for people and for programs.

use crate::runner::{RunArgs, Sample};
use anyhow::{Context, Result};
use common::{
    machine::Machine,
    record::{Mode, Record, milliseconds},
    size::Size,
};
use serde::Serialize;
use std::fs;

/// One line of the results.
#[derive(Serialize)]
struct Line<'a, P: Serialize> {
    #[serde(flatten)]
    record: &'a Record,
    /// What else the benchmark was given.
    #[serde(flatten)]
    parameters: &'a P,
}

/// Writes results as JSON to a file, if there is one. Returns whether that is standard output.
pub fn write_json(file: Option<&str>, lines: &impl Serialize) -> Result<bool> {
    let json = || Ok::<_, serde_json::Error>(serde_json::to_string_pretty(lines)? + "\n");
    match file {
        Some("-") => print!("{}", json()?),
        Some(file) => fs::write(file, json()?).context(file.to_string())?,
        None => {}
    }
    Ok(file == Some("-"))
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
            bench: bench.to_string(),
            size_bytes: size.0,
            mode: *mode,
            workers: args.workers,
            repeat: nanoseconds.len(),
            median_ns: nanoseconds.value_at_quantile(0.5),
            p99_ns: nanoseconds.value_at_quantile(0.99),
            min_ns: nanoseconds.min(),
            max_ns: nanoseconds.max(),
            machine: machine.clone(),
        })
        .collect();
    let lines: Vec<_> = records
        .iter()
        .map(|record| Line { record, parameters })
        .collect();

    if write_json(args.json.as_deref(), &lines)? {
        return Ok(());
    }

    println!("{bench} {size} on {machine}");
    println!(
        "  {:<16} {:>12} {:>12} {:>12}",
        "mode", "median", "min", "max"
    );
    for record in &records {
        println!(
            "  {:<16} {:>12} {:>12} {:>12}",
            record.mode.name(),
            milliseconds(record.median_ns),
            milliseconds(record.min_ns),
            milliseconds(record.max_ns),
        );
    }
    let serial = Record::find(&records, Mode::Serial);
    for record in records.iter().filter(|record| record.mode != Mode::Serial) {
        if let Some(serial) = serial {
            println!(
                "  serial / {} = {:.2}  (medians of {})",
                record.mode.name(),
                serial.median_ns as f64 / record.median_ns as f64,
                record.repeat
            );
        }
    }
    Ok(())
}
