// SPDX-License-Identifier: GPL-2.0

//! What an administrator can set. The files are in [`crate::control`].

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A number that can be set while others read it.
pub(crate) struct Setting(Atomic<u64>);

impl Setting {
    pub(crate) const fn new(value: u64) -> Self {
        Self(Atomic::new(value))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.get() != 0
    }
}

/// The settings of one path.
pub(crate) struct PathSettings {
    /// Whether its calls may be split, while [`ENABLED`].
    pub(crate) on: Setting,
    /// From how many bytes on a call is split; 0: automatic.
    pub(crate) min_bytes: Setting,
    /// How many bytes make a chunk; 0: automatic.
    pub(crate) chunk_bytes: Setting,
}

impl PathSettings {
    pub(crate) const fn new() -> Self {
        Self {
            on: Setting::new(1),
            min_bytes: Setting::new(0),
            chunk_bytes: Setting::new(0),
        }
    }
}

/// Whether any call is split.
pub(crate) static ENABLED: Setting = Setting::new(0);
/// The most CPUs in one call, the caller's among them; 0: automatic.
pub(crate) static MAX_WORKERS: Setting = Setting::new(0);
/// Whether helpers are enlisted on idle CPUs only.
pub(crate) static IDLE_ONLY: Setting = Setting::new(1);
/// For how many microseconds a caller leaves the work to its helpers, before it joins in.
#[cfg(CONFIG_PARCALL_DEBUG)]
pub(crate) static CALLER_DELAY_US: Setting = Setting::new(0);
/// For how many microseconds a helper that has claimed a chunk waits, before it works on it.
#[cfg(CONFIG_PARCALL_DEBUG)]
pub(crate) static HELPER_DELAY_US: Setting = Setting::new(0);
