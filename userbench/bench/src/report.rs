// SPDX-License-Identifier: GPL-2.0

//! What was measured, for people and for programs.

use crate::runner::{RunArgs, Sample};
use anyhow::{Context, Result};
use common::{
    machine::Machine,
    record::{self, Mode, Record, milliseconds},
    size::Size,
    sorted::Sorted,
};
use serde::Serialize;
use std::fs;

/// One line of the results.
#[derive(Serialize)]
struct Line<'a, P: Serialize> {
    #[serde(flatten)]
    record: &'a Record,
    /// In how many measurements a call was split.
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<u64>,
    /// In the order in which they were taken.
    times_ns: &'a [u64],
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

/// What a benchmark has measured, by the name under which it is reported.
pub struct Figure<'a> {
    pub bench: &'a str,
    pub samples: &'a [Sample],
}

impl Figure<'_> {
    fn records(&self, size: Size, workers: u64, machine: &Machine) -> Vec<Record> {
        let record = |Sample { mode, times_ns, .. }: &Sample| {
            let sorted = Sorted::new(times_ns);
            Record {
                bench: self.bench.to_string(),
                size_bytes: size.0,
                mode: *mode,
                workers,
                repeat: times_ns.len() as u64,
                median_ns: sorted.median(),
                p99_ns: sorted.quantile(0.99),
                min_ns: sorted.quantile(0.0),
                max_ns: sorted.quantile(1.0),
                machine: machine.clone(),
            }
        };
        self.samples.iter().map(record).collect()
    }
}

/// Prints a table, or the JSON where that goes to standard output, and writes the JSON elsewhere.
pub fn report<P: Serialize>(
    bench: &str,
    size: Size,
    args: &RunArgs,
    parameters: &P,
    samples: &[Sample],
) -> Result<()> {
    report_all(size, args, parameters, &[Figure { bench, samples }])
}

/// The same for benchmarks that measure several things at a time.
pub fn report_all<P: Serialize>(
    size: Size,
    args: &RunArgs,
    parameters: &P,
    figures: &[Figure],
) -> Result<()> {
    let machine = Machine::here()?;
    let records: Vec<_> = figures
        .iter()
        .map(|figure| figure.records(size, args.workers, &machine))
        .collect();
    let lines: Vec<_> = figures
        .iter()
        .zip(&records)
        .flat_map(|(figure, records)| {
            figure
                .samples
                .iter()
                .zip(records)
                .map(|(sample, record)| Line {
                    record,
                    split: sample.split(record::path(figure.bench)),
                    times_ns: &sample.times_ns,
                    parameters,
                })
        })
        .collect();

    if write_json(args.json.as_deref(), &lines)? {
        return Ok(());
    }
    for (figure, records) in figures.iter().zip(&records) {
        println!("{} {size} on {machine}", figure.bench);
        print(records);
    }
    Ok(())
}

fn print(records: &[Record]) {
    println!(
        "  {:<16} {:>12} {:>12} {:>12}",
        "mode", "median", "min", "max"
    );
    for record in records {
        println!(
            "  {:<16} {:>12} {:>12} {:>12}",
            record.mode.name(),
            milliseconds(record.median_ns),
            milliseconds(record.min_ns),
            milliseconds(record.max_ns),
        );
    }
    let serial = Record::find(records, Mode::Serial);
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
}
