// SPDX-License-Identifier: GPL-2.0

//! How a CPU is made slow.

use common::region::Cores;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A quantum that is over more than this many quanta late is an overrun: the host did not keep up.
const LATE_QUANTA: u64 = 4;

/// Nanoseconds on the host's clock.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is a monotonic clock");
    Duration::from(now).as_nanos() as u64
}

fn sleep_until(time: u64) {
    let time = Duration::from_nanos(time).into();
    let absolute = ClockNanosleepFlags::TIMER_ABSTIME;
    // To be woken up early by a signal is as good as an instruction that took less.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, absolute, &time);
}

/// What is known of a CPU. All but `executed` is written by the CPU's own thread only, from its
/// callbacks.
#[repr(C)]
#[derive(Default)]
pub struct Vcpu {
    /// Instructions since the last time they were counted. Translated code adds to it.
    pub executed: AtomicU64,
    counted: AtomicU64,
    /// When the instructions counted should be over.
    due: AtomicU64,
    quanta: AtomicU64,
    overruns: AtomicU64,
}

/// What a CPU has done.
#[derive(Clone, Copy)]
pub struct Figures {
    pub instructions: u64,
    pub quanta: u64,
    pub overruns: u64,
}

impl Vcpu {
    /// Counts what was executed, and returns how much that was.
    pub fn count(&self) -> u64 {
        let executed = self.executed.load(Relaxed);
        self.executed.store(0, Relaxed);
        self.counted.fetch_add(executed, Relaxed);
        executed
    }

    /// The same, and returns when that should be over on a slow core, slow since `start`.
    pub fn charge(&self, cores: Cores, start: u64) -> u64 {
        let time = self.count() * 1000 / cores.mips;
        let due = self.due.load(Relaxed).max(start) + time;
        self.due.store(due, Relaxed);
        due
    }

    /// Waits until all that was executed should be over.
    pub fn settle(&self, cores: Cores, start: u64) {
        let due = self.charge(cores, start);
        let now = now();
        self.quanta.fetch_add(1, Relaxed);
        if due > now {
            sleep_until(due);
        } else if now - due > LATE_QUANTA * cores.quantum_ns {
            self.overruns.fetch_add(1, Relaxed);
            self.due.store(now, Relaxed);
        }
    }

    /// Begins to execute after having been idle.
    pub fn resume(&self) {
        self.due.fetch_max(now(), Relaxed);
    }

    /// Correct to a quantum where it is another CPU's.
    pub fn figures(&self) -> Figures {
        Figures {
            instructions: self.counted.load(Relaxed) + self.executed.load(Relaxed),
            quanta: self.quanta.load(Relaxed),
            overruns: self.overruns.load(Relaxed),
        }
    }
}
