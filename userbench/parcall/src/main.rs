// SPDX-License-Identifier: GPL-2.0

//! Run programs with parcall, see what it does, and fit it to this machine.

use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::process::ExitCode;

mod run;
mod status;
mod tune;

/// Split the inside of system calls over idle CPUs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program with parcall on, or off, for it and all that it starts.
    Run(run::Args),
    /// Show the settings, what was split, and why the rest was not.
    Status(status::Args),
    /// Measure from which size on splitting pays on this machine.
    Tune(tune::Args),
}

fn main() -> ExitCode {
    // Rust ignores it; a reader that leaves, such as head(1), would then be an error.
    // SAFETY: This installs no function.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };

    let (result, failure) = match Cli::parse().command {
        Command::Run(args) => {
            let failure = run::exec(&args);
            (Err(failure.error), failure.status)
        }
        Command::Status(args) => (status::show(&args), 1),
        Command::Tune(args) => (tune::tune(&args), 1),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parcall: {error:#}");
            ExitCode::from(failure)
        }
    }
}
