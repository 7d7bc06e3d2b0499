// SPDX-License-Identifier: GPL-2.0

//! Runs a program with a setting of its own.

use anyhow::{Error, anyhow};
use common::{
    prctl::{Mode, Setting},
    tunables::{self, NO_PARCALL, NOT_LOADED, PREFIX},
};
use nix::errno::Errno;
use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

#[derive(clap::Args)]
pub struct Args {
    /// The most CPUs in one call, the caller's among them; 0: as many as the system allows.
    #[arg(long, default_value_t = 0, conflicts_with = "off")]
    workers: u32,
    /// Split none of its calls.
    #[arg(long)]
    off: bool,
    /// The program, and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Why there was nothing to run, and the exit status for it, which are those of env(1).
pub struct Failure {
    pub status: u8,
    pub error: Error,
}

/// Becomes the program. It returns only where that fails.
pub fn exec(args: &Args) -> Failure {
    let setting = Setting {
        mode: if args.off { Mode::Off } else { Mode::On },
        workers: args.workers,
    };
    if let Err(errno) = setting.set() {
        return Failure {
            status: 125,
            error: refused(setting, errno),
        };
    }

    let (program, arguments) = args.command.split_first().expect("clap requires one");
    let error = Command::new(program).args(arguments).exec();
    Failure {
        status: match error.kind() {
            io::ErrorKind::NotFound => 127,
            _ => 126,
        },
        error: Error::new(error).context(program.display().to_string()),
    }
}

/// What the kernel means by refusing a setting.
fn refused(Setting { workers, .. }: Setting, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL if Setting::get().is_err() => anyhow!(NO_PARCALL),
        Errno::EINVAL => anyhow!("{workers} workers are more than the kernel supports"),
        Errno::EOPNOTSUPP => anyhow!(NOT_LOADED),
        Errno::EPERM if tunables::get("enabled").is_ok_and(|enabled| enabled == 0) => {
            anyhow!("{PREFIX}.enabled is 0; only CAP_SYS_NICE may switch parcall on regardless")
        }
        Errno::EPERM => {
            anyhow!("{workers} workers are more than {PREFIX}.max_workers; that takes CAP_SYS_NICE")
        }
        errno => Error::new(errno).context("prctl(PR_SET_PARCALL)"),
    }
}
