// SPDX-License-Identifier: GPL-2.0

//! Tables and plots of what `userbench` has measured.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use std::{fs, path::PathBuf};

mod chapters;
mod data;
mod document;
mod interval;
mod overhead;
mod plot;
mod targets;

/// Make tables and plots of what userbench has measured.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write report.html and report.md beside the results, and their summary into a README.
    Write(Args),
    /// See whether report.md and the README agree with the results.
    Check(Args),
    /// Compare the instructions of small calls with those of an unpatched kernel; exit with 1 where
    /// parcall, switched off, costs too much.
    Overhead(overhead::Args),
    /// See whether two runs agree; exit with 1 where the intervals of fewer than nine of ten figures
    /// overlap.
    Agree { one: PathBuf, other: PathBuf },
}

#[derive(clap::Args)]
struct Args {
    /// The file whose results, between two markers, are to be these.
    #[arg(long)]
    readme: Option<PathBuf>,
    /// Where the results are.
    results: PathBuf,
}

const BEGIN: &str = "<!-- results: begin (make report writes this) -->\n";
const END: &str = "<!-- results: end -->\n";

/// A text with what is between the markers replaced.
fn replace(text: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{new}\n\n{END}{after}"))
}

/// The files there should be, and what should be in them.
fn files(args: &Args) -> Result<Vec<(PathBuf, String)>> {
    let data = data::Data::load(&args.results)?;
    let document = chapters::all(&data)?;
    let mut files = vec![
        (args.results.join("report.md"), document.markdown()),
        (args.results.join("report.html"), document.html()),
    ];
    if let Some(readme) = &args.readme {
        let text = fs::read_to_string(readme).with_context(|| readme.display().to_string())?;
        let summary = chapters::summary(&data).markdown();
        let text = replace(&text, summary.trim_end())
            .with_context(|| format!("{} has no markers", readme.display()))?;
        files.push((readme.clone(), text));
    }
    Ok(files)
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Write(args) => {
            for (path, text) in files(&args)? {
                fs::write(&path, text).with_context(|| path.display().to_string())?;
                println!("{}", path.display());
            }
        }
        Command::Check(args) => {
            for (path, text) in files(&args)? {
                ensure!(
                    fs::read_to_string(&path).is_ok_and(|now| now == text),
                    "{} does not agree with the results; run 'make report'",
                    path.display()
                );
            }
        }
        Command::Overhead(args) => overhead::run(&args)?,
        Command::Agree { one, other } => {
            let [one, other] = [one, other].map(|path| data::Data::load(&path));
            let (agree, all) = one?.agreement(&other?);
            println!("{agree} of {all} figures agree");
            ensure!(all != 0 && 10 * agree >= 9 * all, "these are too few");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_between_the_markers() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replace(&text, "new").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}b\n"));
        assert_eq!(replace(&new, "new").unwrap(), new);
        assert!(replace("a\n", "new").is_none());
    }
}
