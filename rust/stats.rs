// SPDX-License-Identifier: GPL-2.0

//! What has happened, in numbers. The file is in [`crate::control`].

use crate::trace;
use kernel::{
    bindings,
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
            /// The path, as in `enum parcall_path`.
            pub(crate) path: bindings::parcall_path,
            $($(#[$doc])* pub(crate) $field: Counter,)*
        }

        impl PathStats {
            pub(crate) const fn new(path: bindings::parcall_path) -> Self {
                Self { path, $($field: Counter::new(),)* }
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
    /// Calls left serial: the settings, or the process, say so.
    serial_off,
    /// Calls left serial: the caller's control groups allow less than two CPUs.
    serial_quota,
    /// Calls left serial: too little work.
    serial_small,
    /// Calls left serial: others of this size have not gained lately.
    serial_backoff,
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
    /// CPU time of helpers that callers were charged for, in nanoseconds.
    helper_ns,
}

/// Why a call, or a part of one, is not split; as `enum parcall_reason`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Reason {
    Off = bindings::parcall_reason_PARCALL_REASON_OFF,
    Caller = bindings::parcall_reason_PARCALL_REASON_CALLER,
    Small = bindings::parcall_reason_PARCALL_REASON_SMALL,
    Busy = bindings::parcall_reason_PARCALL_REASON_BUSY,
    NoMemory = bindings::parcall_reason_PARCALL_REASON_NOMEM,
    Chunk = bindings::parcall_reason_PARCALL_REASON_CHUNK,
    Quota = bindings::parcall_reason_PARCALL_REASON_QUOTA,
    Backoff = bindings::parcall_reason_PARCALL_REASON_BACKOFF,
}

impl PathStats {
    /// Counts and traces that the current task's call, or a part of it, is not split.
    pub(crate) fn decline(&self, reason: Reason) {
        let counter = match reason {
            Reason::Off => &self.serial_off,
            Reason::Caller => &self.serial_caller,
            Reason::Small => &self.serial_small,
            Reason::Busy => &self.serial_busy,
            Reason::NoMemory => &self.serial_nomem,
            Reason::Chunk => &self.replayed,
            Reason::Quota => &self.serial_quota,
            Reason::Backoff => &self.serial_backoff,
        };
        counter.inc();
        trace::decline(self.path as i32, reason as i32);
    }
}
