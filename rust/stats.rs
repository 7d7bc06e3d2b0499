// SPDX-License-Identifier: GPL-2.0

//! What has happened, in numbers. The file is in [`crate::control`].

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// A number that only grows.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.add(n, Relaxed);
    }

    pub(crate) fn inc(&self) {
        self.add(1);
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.load(Relaxed), f)
    }
}

macro_rules! path_stats {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// The counters of one path.
        pub(crate) struct PathStats {
            $($(#[$doc])* pub(crate) $field: Counter,)*
        }

        impl PathStats {
            const fn new() -> Self {
                Self { $($field: Counter::new(),)* }
            }
        }

        impl fmt::Display for PathStats {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(f.write_fmt(fmt!(" {}={}", stringify!($field), self.$field))?;)*
                Ok(())
            }
        }
    };
}

path_stats! {
    /// Calls that reached the engine.
    calls,
    /// Calls for which a job was made.
    parallel,
    /// Calls left serial: too little work.
    serial_small,
    /// Calls left serial: no idle CPU that the caller may use.
    serial_busy,
    /// Calls left serial: helpers could not have worked as the caller.
    serial_caller,
    /// Calls left serial: no memory for the job.
    serial_nomem,
    /// Chunks done, by anyone.
    chunks,
    /// Chunks done by helpers.
    helper_chunks,
    /// Helpers enlisted.
    helpers_asked,
    /// Helpers that began to work.
    helpers_started,
    /// Helpers that found the job closed.
    helpers_revoked,
    /// Parts of chunks that a helper declined and the caller replayed.
    replayed,
}

/// The fork path.
pub(crate) static FORK: PathStats = PathStats::new();
