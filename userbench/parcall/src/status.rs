// SPDX-License-Identifier: GPL-2.0

//! Shows the settings and the counters.

use anyhow::Result;
use common::{
    prctl::Setting,
    stats::{Counters, Stats, Table},
    tunables::{self, PREFIX},
};
use serde::Serialize;
use serde_json::json;
use std::{thread, time::Duration};

#[derive(clap::Args)]
pub struct Args {
    /// Write JSON: an object, and with --watch a line for it and for each interval.
    #[arg(long)]
    json: bool,
    /// Go on, with what was counted in each interval.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    watch: Option<u64>,
}

#[derive(Serialize)]
struct Status {
    settings: Table<u64>,
    /// That of this process, and hence of the shell that started it.
    process: Option<Setting>,
    paths: Option<Stats>,
}

pub fn show(args: &Args) -> Result<()> {
    let settings = Table(tunables::all()?);
    let stats = Stats::read();
    let status = Status {
        settings,
        process: Setting::get().ok(),
        paths: stats.as_ref().ok().cloned(),
    };
    match (args.json, args.watch) {
        (true, None) => println!("{}", serde_json::to_string_pretty(&status)?),
        (true, Some(_)) => println!("{}", serde_json::to_string(&status)?),
        (false, _) => print(&status),
    }

    // What there is was shown.
    let mut last = stats?;
    while let Some(seconds) = args.watch {
        thread::sleep(Duration::from_secs(seconds));
        let now = Stats::read()?;
        let change = now.since(&last);
        if args.json {
            println!("{}", json!({ "seconds": seconds, "paths": change }));
        } else {
            println!();
            change
                .iter()
                .for_each(|(path, counters)| println!("{path}{}", line(counters)));
        }
        last = now;
    }
    Ok(())
}

fn print(status: &Status) {
    println!("settings ({PREFIX}.)");
    for (name, value) in status.settings.iter() {
        println!("  {name:<18} {value:>14}");
    }
    if let Some(setting) = status.process {
        println!("this process: {setting}");
    }
    for (path, counters) in status.paths.iter().flat_map(Table::iter) {
        println!("\n{path}");
        for (key, count) in counters.others() {
            println!("  {key:<18} {count:>14}");
        }
        let reasons = counters.reasons();
        if !reasons.is_empty() {
            println!("  left serial, for:");
        }
        for (reason, count) in reasons {
            println!("    {reason:<16} {count:>14}");
        }
    }
}

/// What is not 0, on a line.
fn line(counters: &Counters) -> String {
    let changed: String = counters
        .iter()
        .filter(|&(_, &count)| count != 0)
        .map(|(key, count)| format!(" {key}={count}"))
        .collect();
    if changed.is_empty() {
        " -".into()
    } else {
        changed
    }
}
