// SPDX-License-Identifier: GPL-2.0

//! Runs many benchmarks in one boot: what to measure is a table here.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::{
    record,
    size::Size,
    suite::{About, Suite},
    tunables::Tunables,
};
use serde_json::Value;
use std::{env, path::PathBuf, process::Command, thread};

/// A path's benchmark, which is called as the path is, over sizes and widths. To add one takes a line.
struct Case {
    bench: &'static str,
    /// Its further arguments: the first is measured at any depth.
    variants: &'static [&'static str],
    /// The smallest and the largest size.
    sizes: (Size, Size),
}

const CASES: &[Case] = &[
    Case {
        bench: "fork",
        variants: &["", "--untouched", "--pages thp", "--vmas 10000"],
        sizes: (Size(1 << 20), Size(1 << 30)),
    },
    Case {
        bench: "read",
        variants: &["--dest warm", "--dest fresh", "--folio large"],
        sizes: (Size(64 << 10), Size(256 << 20)),
    },
    Case {
        bench: "write",
        variants: &["", "--folio large"],
        sizes: (Size(64 << 10), Size(256 << 20)),
    },
    Case {
        bench: "populate",
        variants: &["", "--pages thp"],
        sizes: (Size(1 << 20), Size(512 << 20)),
    },
    Case {
        bench: "unmap",
        variants: &["", "--call dontneed", "--pages thp"],
        sizes: (Size(1 << 20), Size(512 << 20)),
    },
    Case {
        bench: "exit",
        variants: &["", "--pages thp", "--exec /bin/true"],
        sizes: (Size(1 << 20), Size(512 << 20)),
    },
    Case {
        bench: "exec",
        variants: &["--touch 100"],
        sizes: (Size(1 << 20), Size(256 << 20)),
    },
];

/// A program that is measured as it is.
struct App {
    name: &'static str,
    /// The least depth at which it is.
    depth: Depth,
    /// What `userbench` is to do.
    arguments: &'static str,
}

const APPS: &[App] = &[
    App {
        name: "redis",
        depth: Depth::Quick,
        arguments: "redis --size 1G",
    },
    App {
        name: "shell",
        depth: Depth::Quick,
        arguments: "command shell",
    },
    App {
        name: "python",
        depth: Depth::Quick,
        arguments: "command python",
    },
    App {
        name: "small-forks",
        depth: Depth::Full,
        arguments: "command small-forks",
    },
    App {
        name: "small-io",
        depth: Depth::Full,
        arguments: "command small-io",
    },
];

/// A configuration of the guest. `make boot` knows what these settings mean.
struct Boot {
    name: &'static str,
    depth: Depth,
    settings: &'static str,
    /// Whether programs are measured, too.
    apps: bool,
}

const BOOTS: &[Boot] = &[
    Boot {
        name: "smp2",
        depth: Depth::Quick,
        settings: "SMP=2 MEM=6G",
        apps: true,
    },
    Boot {
        name: "smp1",
        depth: Depth::Full,
        settings: "SMP=1 MEM=6G",
        apps: false,
    },
    Boot {
        name: "no-memcg",
        depth: Depth::Full,
        settings: "SMP=2 MEM=6G APPEND=cgroup_disable=memory",
        apps: false,
    },
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Depth {
    /// Each second power of two, for some seconds each.
    Quick,
    /// All sizes and variants, for a minute each, on several configurations of the guest.
    Full,
}

impl Depth {
    /// How many bits from one size to the next.
    fn step(self) -> usize {
        match self {
            Self::Quick => 2,
            Self::Full => 1,
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Quick => 10,
            Self::Full => 60,
        }
    }

    fn variants(self, case: &Case) -> &'static [&'static str] {
        match self {
            Self::Quick => &case.variants[..1],
            Self::Full => case.variants,
        }
    }
}

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum, default_value_t = Depth::Quick)]
    depth: Depth,
    /// Only list the configurations to boot, each a name and settings for 'make boot'.
    #[arg(long)]
    list_boots: bool,
    /// The configuration that was booted.
    #[arg(long, default_value = "smp2")]
    boot: String,
    /// What to measure: paths and programs [default: all].
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where to write the results.
    #[arg(long, required_unless_present = "list_boots")]
    out: Option<PathBuf>,
    /// Of the order in which sizes are measured.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the results say of where they are from.
    #[arg(long, default_value = "")]
    commit: String,
    #[arg(long, default_value = "")]
    date: String,
    #[arg(long, default_value = "")]
    host: String,
    #[arg(long, default_value = "")]
    memory: String,
}

/// One call of `userbench`.
#[derive(Clone, Debug, PartialEq)]
struct Cell {
    bench: &'static str,
    variant: &'static str,
    size: Size,
    workers: u64,
}

/// Sizes from the first to the last, which is there in any case.
fn sizes((first, last): (Size, Size), step: usize) -> Vec<Size> {
    let mut sizes: Vec<_> = (first.0.ilog2()..last.0.ilog2())
        .step_by(step)
        .map(|bits| Size(1 << bits))
        .collect();
    sizes.push(last);
    sizes
}

/// Numbers of workers up to the CPUs there are; one CPU is for showing that nothing is lost.
fn widths(cpus: u64) -> Vec<u64> {
    let mut widths: Vec<_> = [2, 4, 8, 16, 32]
        .into_iter()
        .filter(|&w| w < cpus)
        .collect();
    widths.push(cpus.max(2));
    widths
}

/// All to be measured of the paths, in an order by chance: else what changes in the course of time
/// would be taken for an effect of the size.
fn cells(cases: &[Case], depth: Depth, cpus: u64, seed: u64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for case in cases {
        for &variant in depth.variants(case) {
            for size in sizes(case.sizes, depth.step()) {
                cells.extend(widths(cpus).into_iter().map(|workers| Cell {
                    bench: case.bench,
                    variant,
                    size,
                    workers,
                }));
            }
        }
    }
    let mut state = seed;
    for end in (1..cells.len()).rev() {
        cells.swap(end, (random(&mut state) % (end as u64 + 1)) as usize);
    }
    cells
}

/// Splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *state;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Runs this program with other arguments, and returns its results.
fn userbench(arguments: &str) -> Result<Vec<Value>> {
    let output = Command::new(env::current_exe()?)
        .args(arguments.split_whitespace())
        .args(["--json", "-"])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{arguments}: {}", output.status);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("'{arguments}' wrote no results"))
}

/// Measures one size and width, with all calls split, and then sees whether they would be anyway.
fn measure(cell: &Cell, depth: Depth) -> Result<Vec<Value>> {
    let Cell {
        bench,
        variant,
        size,
        workers,
    } = cell;
    let what = format!("{bench} --size {size} --workers {workers} {variant}");
    let mut results = {
        let mut tunables = Tunables::open()?;
        tunables.set(&format!("{}_min_bytes", record::path(bench)), 1)?;
        let seconds = depth.seconds();
        userbench(&format!("{what} --repeat 31 --seconds {seconds}"))?
    };
    let one = userbench(&format!("{what} --modes parallel --repeat 1"))?;
    let splits = one.first().and_then(|result| result["split"].as_u64());
    for result in &mut results {
        result["variant"] = (*variant).into();
        result["policy_splits"] = splits.map(|count| count != 0).into();
    }
    Ok(results)
}

pub fn run(args: &Args) -> Result<()> {
    let boot = BOOTS
        .iter()
        .find(|boot| boot.name == args.boot)
        .with_context(|| format!("there is no configuration '{}'", args.boot))?;
    let known = |name: &str| {
        CASES.iter().any(|case| case.bench == name) || APPS.iter().any(|app| app.name == name)
    };
    if let Some(unknown) = args.only.iter().find(|name| !known(name)) {
        anyhow::bail!("there is nothing to measure by the name of '{unknown}'");
    }
    if args.list_boots {
        for boot in BOOTS.iter().filter(|boot| boot.depth <= args.depth) {
            println!("{} {}", boot.name, boot.settings);
        }
        return Ok(());
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let cpus = thread::available_parallelism()?.get() as u64;
    let mut cells = cells(CASES, args.depth, cpus, args.seed);
    cells.retain(|cell| wanted(cell.bench));
    let apps: Vec<_> = APPS
        .iter()
        .filter(|app| boot.apps && app.depth <= args.depth && wanted(app.name))
        .collect();

    let mut suite = Suite {
        about: About {
            boot: args.boot.clone(),
            depth: args
                .depth
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().into()),
            commit: args.commit.clone(),
            date: args.date.clone(),
            host: args.host.clone(),
            memory: args.memory.clone(),
            seed: args.seed,
        },
        results: Vec::new(),
    };
    let count = cells.len() + apps.len();
    for (index, cell) in cells.iter().enumerate() {
        let Cell {
            bench,
            variant,
            size,
            workers,
        } = cell;
        println!(
            "  {}/{count} {bench} {size} {variant}, {workers} workers",
            index + 1
        );
        suite.results.extend(measure(cell, args.depth)?);
    }
    for (index, app) in apps.iter().enumerate() {
        println!("  {}/{count} {}", cells.len() + index + 1, app.name);
        let seconds = 6 * args.depth.seconds();
        match userbench(&format!("{} --seconds {seconds}", app.arguments)) {
            Ok(results) => suite.results.extend(results),
            // A program may not be installed. The report says what is missing.
            Err(error) => eprintln!("  {} was left out: {error:#}", app.name),
        }
    }
    let out = args.out.as_deref().expect("clap requires it");
    suite.write(out).with_context(|| out.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn all_that_is_in_the_tables_is_known() {
        let parse = |arguments: &str| {
            let words = ["userbench"]
                .into_iter()
                .chain(arguments.split_whitespace());
            crate::Cli::try_parse_from(words).expect(arguments);
        };
        for case in CASES {
            for variant in case.variants {
                parse(&format!("{} --size 1M --workers 2 {variant}", case.bench));
            }
        }
        for app in APPS {
            parse(&format!("{} --seconds 1", app.arguments));
        }
    }

    #[test]
    fn sizes_end_with_the_last() {
        let list = |step| {
            let sizes = sizes((Size(4 << 10), Size(128 << 10)), step);
            sizes.iter().map(Size::to_string).collect::<Vec<_>>()
        };
        assert_eq!(list(2), ["4K", "16K", "64K", "128K"]);
        assert_eq!(list(1), ["4K", "8K", "16K", "32K", "64K", "128K"]);
    }

    #[test]
    fn widths_are_up_to_the_cpus() {
        assert_eq!(widths(1), [2]);
        assert_eq!(widths(2), [2]);
        assert_eq!(widths(6), [2, 4, 6]);
        assert_eq!(widths(16), [2, 4, 8, 16]);
    }

    #[test]
    fn the_order_depends_on_the_seed_only() {
        let [first, again, other] = [1, 1, 2].map(|seed| cells(CASES, Depth::Full, 4, seed));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(other.iter().all(|cell| first.contains(cell)));
        assert_eq!(other.len(), first.len());
    }
}
