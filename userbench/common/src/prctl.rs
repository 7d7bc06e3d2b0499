// SPDX-License-Identifier: GPL-2.0

//! parcall's setting of a process: see `PR_SET_PARCALL` in `include/uapi/linux/prctl.h`.

use nix::{
    errno::Errno,
    libc::{self, c_int, c_uint, c_ulong},
};
use serde::Serialize;
use std::fmt;

const PR_SET_PARCALL: c_int = 82;
const PR_GET_PARCALL: c_int = 83;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum Mode {
    /// As the system is set.
    Default = 0,
    Off = 1,
    On = 2,
}

/// What a process, and those that it starts, may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub mode: Mode,
    /// The most CPUs in one call, the caller's among them; 0: as many as the system allows.
    pub workers: u32,
}

impl Setting {
    pub const DEFAULT: Self = Self {
        mode: Mode::Default,
        workers: 0,
    };

    /// This process's. `EINVAL` means that the kernel has no parcall.
    pub fn get() -> nix::Result<Self> {
        let mut workers: c_uint = 0;
        // SAFETY: The kernel writes to `workers` only, which it may.
        let mode = Errno::result(unsafe {
            libc::prctl(PR_GET_PARCALL, &raw mut workers, UNUSED, UNUSED, UNUSED)
        })?;
        let mode = [Mode::Default, Mode::Off, Mode::On]
            .into_iter()
            .find(|&known| known as c_int == mode)
            .ok_or(Errno::ENOTSUP)?;
        Ok(Self { mode, workers })
    }

    /// Makes it this process's.
    pub fn set(self) -> nix::Result<()> {
        let (mode, workers) = (self.mode as c_ulong, c_ulong::from(self.workers));
        // SAFETY: This takes numbers only, and changes no memory.
        Errno::result(unsafe { libc::prctl(PR_SET_PARCALL, mode, workers, UNUSED, UNUSED) })
            .map(drop)
    }
}

const UNUSED: c_ulong = 0;

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Default => write!(f, "as the system is set")?,
            Mode::Off => write!(f, "off")?,
            Mode::On => write!(f, "on")?,
        }
        match self.workers {
            0 => Ok(()),
            workers => write!(f, ", at most {workers} workers"),
        }
    }
}
