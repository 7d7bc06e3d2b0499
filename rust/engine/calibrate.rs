// SPDX-License-Identifier: GPL-2.0

//! Measures what it takes to get help on this machine.

use super::{
    helpers::Help,
    Engine, //
};
use crate::costs::MACHINE;
use kernel::{
    cpu::CpuId,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How often to measure, and how often no less for it to count.
const ROUNDS: usize = 16;
const ROUNDS_MIN: usize = 4;

/// For how long to measure, on a machine that is busy.
const BUDGET: Delta = Delta::from_millis(50);

/// Between two rounds, for the CPUs to become idle.
const PAUSE: Delta = Delta::from_millis(1);

/// A job of no work.
#[pin_data]
struct Probe {
    since: Instant<Monotonic>,
    /// When a helper has started, and when it is done, in nanoseconds.
    started_ns: Atomic<u64>,
    done_ns: Atomic<u64>,
    #[pin]
    done: Completion,
}

impl Probe {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                since: Instant::now(),
                started_ns: Atomic::new(0),
                done_ns: Atomic::new(0),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn elapsed_ns(&self) -> u64 {
        self.since.elapsed().as_nanos() as u64
    }
}

impl Help for Probe {
    fn help(&self, _this: &Arc<dyn Help>, _enlisted: Instant<Monotonic>) {
        self.started_ns.store(self.elapsed_ns(), Relaxed);
        // The caller sleeps by now.
        kernel::time::delay::udelay(Delta::from_micros(50));
        self.done_ns.store(self.elapsed_ns(), Relaxed);
        self.done.complete();
    }
}

/// Returns the lower quartile: calls are split where nothing else is going on.
fn typical(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 4).copied().unwrap_or(0)
}

impl Engine {
    /// Measures the costs of the machine, and keeps what they are where CPUs are hardly ever idle.
    ///
    /// It takes some tens of milliseconds, most of which the caller sleeps.
    pub(crate) fn calibrate(&self) {
        let (mut enlist, mut wake, mut join) = ([0; ROUNDS], [0; ROUNDS], [0; ROUNDS]);
        let task = kernel::current!();
        let since = Instant::<Monotonic>::now();
        let mut rounds = 0;

        while rounds < ROUNDS && since.elapsed() < BUDGET {
            fsleep(PAUSE);
            let home = CpuId::current();
            let cursor = Atomic::new(home.as_u32() + 1);
            let Ok(probe) = Probe::new() else {
                return;
            };
            let this: Arc<dyn Help> = probe.clone();
            let begun = probe.elapsed_ns();
            if !self.helpers.enlist(&this, task, home, &cursor) {
                continue;
            }
            let enlisted = probe.elapsed_ns();
            probe.done.wait_for_completion();
            let joined = probe.elapsed_ns();

            enlist[rounds] = enlisted - begun;
            wake[rounds] = probe.started_ns.load(Relaxed) - begun;
            join[rounds] = joined.saturating_sub(probe.done_ns.load(Relaxed));
            rounds += 1;
        }
        if rounds >= ROUNDS_MIN {
            MACHINE.enlist_ns.set(typical(&mut enlist[..rounds]));
            MACHINE.wake_ns.set(typical(&mut wake[..rounds]));
            MACHINE.join_ns.set(typical(&mut join[..rounds]));
        }
    }
}
