// SPDX-License-Identifier: GPL-2.0

//! What the report says, chapter by chapter.

use crate::{
    data::{Data, Half, Pair, break_even},
    document::Document,
    overhead::Overhead,
    plot::{Axis, Line, Row, heat_map, lines},
    targets::{groups, judge},
};
use anyhow::Result;
use common::size::Size;

/// A median, the fastest and the slowest, in milliseconds.
fn times(half: &Half) -> String {
    let record = &half.record;
    let [median, min, max] =
        [record.median_ns, record.min_ns, record.max_ns].map(|time| time as f64 / 1e6);
    format!("{median:.3} [{min:.3}, {max:.3}]")
}

/// A path's benchmark and its further arguments.
fn title(pair: &Pair) -> String {
    let variant = pair.variant.as_deref().unwrap_or_default();
    format!("{} {variant}", pair.bench()).trim_end().to_string()
}

/// All that is known of where a figure is from, on a line.
fn origin(data: &Data, pair: &Pair) -> String {
    let about = &data.boots[pair.boot];
    let mut text = pair.machine().to_string();
    for (name, value) in [
        ("boot", &about.boot),
        ("memory", &about.memory),
        ("commit", &about.commit),
        ("measured on", &about.date),
        ("host", &about.host),
        ("seed", &about.seed.to_string()),
    ] {
        if !value.is_empty() && !about.boot.is_empty() {
            text += &format!(", {name} {value}");
        }
    }
    text
}

/// What the tables mean.
const LEGEND: &str = "Times are medians in milliseconds; in brackets the fastest and the slowest. \
    Serial / parallel is the ratio of the medians, with its interval of 95 % (bootstrap over rounds, in which both \
    take turns). Calls of all sizes are split for this; \"policy\" is whether they are when nothing forces them to.";

fn table(document: &mut Document, pairs: &[&Pair]) {
    let rows = pairs
        .iter()
        .map(|pair| {
            [
                pair.size().to_string(),
                pair.workers().to_string(),
                times(&pair.serial),
                times(&pair.parallel),
                pair.gain.to_string(),
                match (pair.policy_splits, pair.split) {
                    (_, Some(0)) => "none was split".into(),
                    (Some(true), _) => "splits".into(),
                    (Some(false), _) => "serial".into(),
                    (None, _) => "-".into(),
                },
            ]
        })
        .collect();
    let head = [
        "size",
        "workers",
        "serial, ms",
        "parallel, ms",
        "serial / parallel",
        "policy",
    ];
    document.table(head, rows);
}

/// Whether two groups belong in one plot: they differ in width only.
fn is_same_plot(one: &Pair, other: &Pair) -> bool {
    one.boot == other.boot && title(one) == title(other)
}

/// The figures of each path, over size and width.
fn paths(data: &Data) -> Result<Document> {
    let mut document = Document::default();
    let mut groups = groups(data);
    while !groups.is_empty() {
        let (same, others): (Vec<_>, Vec<_>) = groups
            .iter()
            .cloned()
            .partition(|group| is_same_plot(group[0], groups[0][0]));
        let pair = same[0][0];
        let boot = &data.boots[pair.boot].boot;
        document.heading(format!("{} on {boot}", title(pair)));
        let curves: Vec<_> = same
            .iter()
            .map(|group| Line {
                name: format!("{} workers", group[0].workers()),
                points: group
                    .iter()
                    .map(|pair| (pair.size().0, pair.gain))
                    .collect(),
            })
            .collect();
        document.figure(lines(Axis::Size, &curves)?, origin(data, pair));
        let rows: Vec<_> = same
            .iter()
            .map(|group| Row {
                name: format!("{} workers", group[0].workers()),
                cells: group
                    .iter()
                    .map(|pair| {
                        (
                            pair.size(),
                            pair.gain.value,
                            pair.policy_splits == Some(true),
                        )
                    })
                    .collect(),
                break_even: break_even(group.iter().copied()),
            })
            .collect();
        document.figure(
            heat_map(&rows)?,
            "Serial / parallel. The thick line is where splitting begins to pay (by 5 %, for this and all larger \
             sizes); frames are around what the policy splits.",
        );
        table(&mut document, &same.concat());
        groups = others;
    }
    Ok(document)
}

/// What splits from which size on, in one table.
fn gains(data: &Data) -> Document {
    let rows = groups(data)
        .into_iter()
        .map(|group| {
            let size = |size: Option<Size>| size.map_or("no size".into(), |size| size.to_string());
            let last = group[group.len() - 1];
            let chosen = group.iter().find(|pair| pair.policy_splits == Some(true));
            [
                title(last),
                data.boots[last.boot].boot.clone(),
                last.workers().to_string(),
                size(break_even(group.iter().copied())),
                size(chosen.map(|pair| pair.size())),
                format!("{} at {}", last.gain, last.size()),
            ]
        })
        .collect();
    let mut document = Document::default();
    let head = [
        "call",
        "boot",
        "workers",
        "gains 5 % from",
        "policy splits from",
        "serial / parallel",
    ];
    document.table(head, rows);
    document
}

/// Speed-ups by width on simulated cores, with the controls.
fn simulated(data: &Data) -> Result<Document> {
    let mut document = Document::default();
    let of = |pair: &&Pair| pair.is_simulated();
    let pairs: Vec<_> = data.pairs.iter().filter(of).collect();
    let mut boots: Vec<_> = pairs.iter().map(|pair| pair.boot).collect();
    boots.dedup();
    for boot in boots {
        let pairs: Vec<_> = pairs
            .iter()
            .copied()
            .filter(|pair| pair.boot == boot)
            .collect();
        let mut benches: Vec<_> = pairs.iter().map(|pair| pair.bench()).collect();
        benches.sort();
        benches.dedup();
        let curves: Vec<_> = benches
            .iter()
            .map(|&bench| {
                let own = pairs.iter().filter(|pair| pair.bench() == bench);
                Line {
                    name: bench.to_string(),
                    points: own.map(|pair| (pair.workers(), pair.gain)).collect(),
                }
            })
            .collect();
        let names: Vec<_> = benches
            .iter()
            .filter(|name| !name.starts_with("control"))
            .collect();
        let name = names.first().map_or("controls", |name| name);
        document.heading(format!("{name} on simulated cores"));
        document.figure(lines(Axis::Workers, &curves)?, origin(data, pairs[0]));
        let rows = pairs
            .iter()
            .map(|pair| {
                [
                    pair.bench().to_string(),
                    pair.size().to_string(),
                    pair.workers().to_string(),
                    times(&pair.serial),
                    times(&pair.parallel),
                    pair.gain.to_string(),
                    pair.work_over_span
                        .map_or("-".into(), |ratio| format!("{ratio:.2}")),
                ]
            })
            .collect();
        let head = [
            "what",
            "size",
            "workers",
            "serial, ms",
            "parallel, ms",
            "serial / parallel",
            "work / span",
        ];
        document.table(head, rows);
    }
    Ok(document)
}

/// Programs: neither paths nor simulated.
fn programs(data: &Data) -> Document {
    let mut document = Document::default();
    if let Some(first) = data.pairs.iter().find(|pair| is_program(pair)) {
        document.heading("Programs");
        document.paragraph(format!(
            "Unmodified, as Debian packages them. Measured on {}.",
            origin(data, first)
        ));
        short_table(
            &mut document,
            "program",
            data.pairs.iter().filter(|pair| is_program(pair)),
        );
    }
    document
}

fn is_program(pair: &Pair) -> bool {
    pair.variant.is_none() && !pair.is_simulated()
}

/// One row a figure, whatever it is of.
fn short_table<'a>(document: &mut Document, of: &str, pairs: impl Iterator<Item = &'a Pair>) {
    let rows: Vec<_> = pairs
        .map(|pair| {
            [
                format!("{} {}", title(pair), pair.size()),
                times(&pair.serial),
                times(&pair.parallel),
                pair.gain.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        document.table(
            [of, "serial, ms", "parallel, ms", "serial / parallel"],
            rows,
        );
    }
}

fn overhead(data: &Data) -> Document {
    let mut document = Document::default();
    if let Some(overhead) = &data.overhead {
        document.heading("Instructions of small calls");
        document.paragraph(format!(
            "Counted by QEMU (icount, 1 CPU), medians, and in percent over the unpatched kernel. Linux {} and {}, commit {}. \
             fork: until the child runs. exit: until the parent has waited. execve: of a static program that only exits, \
             until the parent has waited. read, write: 4 KiB of the page cache. mmap: 16 KiB, a write to each page, and munmap.",
            overhead.unpatched, overhead.patched, overhead.commit
        ));
        let rows = overhead.calls.iter().map(|call| call.row()).collect();
        document.table(Overhead::HEAD, rows);
    }
    document
}

fn targets(data: &Data) -> Document {
    let mut document = Document::default();
    document.heading("Targets");
    let rows = judge(data)
        .into_iter()
        .map(|line| {
            [
                line.what,
                line.target,
                line.measured,
                line.verdict.to_string(),
            ]
        })
        .collect();
    document.table(
        ["serial / parallel of", "target", "measured", "verdict"],
        rows,
    );
    document
}

/// The whole report.
pub fn all(data: &Data) -> Result<Document> {
    let mut document = Document::default();
    document.paragraph(
        "An emulated machine is not hardware: what is compared is serial and parallel on the same one, and how \
         memory bandwidth and caches would change that is not seen.",
    );
    document.append(targets(data));
    if !groups(data).is_empty() {
        document.heading("Which calls gain, and from which size on");
        document.append(gains(data));
        document.paragraph(LEGEND);
    }
    document.append(paths(data)?);
    document.append(simulated(data)?);
    document.append(programs(data));
    document.append(overhead(data));
    Ok(document)
}

/// What README shows: of each path the quick depth's sizes, the programs, and the instructions.
pub fn summary(data: &Data) -> Document {
    let mut document = Document::default();
    let is_quick = |pair: &&Pair| {
        pair.variant.as_deref() == Some("") && data.boots[pair.boot].depth == "quick"
    };
    let pairs: Vec<_> = data.pairs.iter().filter(is_quick).collect();
    if let Some(first) = pairs.first() {
        document.paragraph(format!("Measured on {}.", origin(data, first)));
        short_table(&mut document, "call", pairs.iter().copied());
    }
    short_table(
        &mut document,
        "program",
        data.pairs.iter().filter(|pair| is_program(pair)),
    );
    if let Some(overhead) = &data.overhead {
        let rows = overhead.calls.iter().map(|call| call.row()).collect();
        document.paragraph(
            "Instructions of small calls (QEMU -icount), in percent over the unpatched kernel:",
        );
        document.table(Overhead::HEAD, rows);
    }
    if document.is_empty() {
        document.paragraph("None are kept yet.");
    }
    document
}
