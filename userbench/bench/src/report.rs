// SPDX-License-Identifier: GPL-2.0

//! What was measured, for people and for programs.

use crate::runner::{RunArgs, Sample};
use anyhow::{Context, Result};
use clap::ValueEnum;
use common::{
    machine::Machine,
    record::{Mode, Record, milliseconds},
    size::Size,
};
use serde::Serialize;
use std::{fs, io};

/// As on the command line.
fn name(mode: Mode) -> String {
    mode.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_string())
}

/// One line of the results.
#[derive(Serialize)]
struct Line<'a, P: Serialize> {
    #[serde(flatten)]
    record: &'a Record,
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

    if let Some(file) = args.json.as_deref().filter(|&file| file != "-") {
        fs::write(file, serde_json::to_string_pretty(&lines)? + "\n").context(file.to_string())?;
    }
    if args.json.as_deref() == Some("-") {
        serde_json::to_writer_pretty(io::stdout(), &lines)?;
        println!();
        return Ok(());
    }

    println!("{bench} {size} on {machine}");
    println!(
        "  {:<13} {:>12} {:>12} {:>12}",
        "mode", "median", "min", "max"
    );
    for record in &records {
        println!(
            "  {:<13} {:>12} {:>12} {:>12}",
            name(record.mode),
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
                name(record.mode),
                serial.median_ns as f64 / record.median_ns as f64,
                record.repeat
            );
        }
    }
    Ok(())
}
