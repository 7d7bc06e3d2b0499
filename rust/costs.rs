// SPDX-License-Identifier: GPL-2.0

//! What help costs on this machine, and what calls cost without: from that follows which calls gain.
//!
//! What it takes to enlist a helper is measured when the module is loaded, see `engine/calibrate.rs`.
//! What calls cost is learned from those that are split, of each path and size apart: their caller's
//! own chunks tell what all of the call would have taken it. Where a call took longer than that, the
//! next ones of its size are left serial, twice as many with each loss in a row.

use crate::settings::Setting;
use kernel::{
    fmt,
    prelude::*,
    time::Delta, //
};

/// What it takes to get help, in nanoseconds.
pub(crate) struct Machine {
    /// For how long enlisting a helper keeps the one who does.
    pub(crate) enlist_ns: Setting,
    /// How long after that has begun the helper starts.
    pub(crate) wake_ns: Setting,
    /// How long after the last helper has left a caller that sleeps goes on.
    pub(crate) join_ns: Setting,
}

/// Of the machine that this is; at first, as an ordinary one.
pub(crate) static MACHINE: Machine = Machine::new(3_000, 30_000, 10_000);

impl Machine {
    const fn new(enlist_ns: u64, wake_ns: u64, join_ns: u64) -> Self {
        Self {
            enlist_ns: Setting::new(enlist_ns),
            wake_ns: Setting::new(wake_ns),
            join_ns: Setting::new(join_ns),
        }
    }

    /// Returns whether a call that takes its caller so long is going to gain from a helper, by an
    /// eighth at least: both work until the end, one from when it has enlisted the other, and that
    /// from when it has started.
    fn pays(&self, serial_ns: u64) -> bool {
        let late_ns = self.enlist_ns.get() + self.wake_ns.get();
        (serial_ns + late_ns) / 2 + self.join_ns.get() <= serial_ns - serial_ns / 8
    }

    /// For how long a helper waits for more work to be published: about as long as the next few
    /// would take to start. It has an idle CPU for itself, and to enlist another costs the caller.
    pub(crate) fn helper_spin(&self) -> Delta {
        Delta::from_nanos((8 * self.wake_ns.get()).clamp(50_000, 500_000) as i64)
    }

    /// For how long a caller spins for the last chunks: as long as it takes to wake up from sleep.
    pub(crate) fn join_spin(&self) -> Delta {
        Delta::from_nanos(self.join_ns.get().clamp(5_000, 50_000) as i64)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!(
            "enlist_ns={} wake_ns={} join_ns={}",
            self.enlist_ns.get(),
            self.wake_ns.get(),
            self.join_ns.get()
        ))
    }
}

/// What is to become of a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is going to gain.
    Split,
    /// It takes too little time to gain.
    Small,
    /// Those before it did not gain.
    Backoff,
}

/// Calls of about the same size. Those that race with each other may lose what one of them learned.
struct Class {
    /// The serial cost; 0: not known.
    ns_per_mib: Setting,
    /// How many calls in a row did not gain.
    losses: Setting,
    /// How many calls are still to be left serial for that.
    skip: Setting,
    /// How many calls were predicted not to gain.
    small: Setting,
}

impl Class {
    const fn new() -> Self {
        Self {
            ns_per_mib: Setting::new(0),
            losses: Setting::new(0),
            skip: Setting::new(0),
            small: Setting::new(0),
        }
    }

    fn learn(&self, ns_per_mib: u64) {
        let old = self.ns_per_mib.get();
        let new = match old {
            0 => ns_per_mib,
            _ => old - old / 4 + ns_per_mib / 4,
        };
        self.ns_per_mib.set(new.max(1));
    }

    fn judge(&self, lost: bool) {
        let losses = match lost {
            true => (self.losses.get() + 1).min(MAX_LOSSES),
            false => 0,
        };
        self.losses.set(losses);
        self.skip.set((1 << losses) - 1);
    }

    /// Returns whether one more call is to be left serial.
    fn skips(&self) -> bool {
        let skip = self.skip.get();
        if skip != 0 {
            self.skip.set(skip - 1);
        }
        skip != 0
    }
}

/// Size classes are powers of two, from less than 2 MiB to 32 GiB and more.
const CLASSES: usize = 16;
const MIB_SHIFT: u32 = 20;

/// After so many losses in a row, no more calls are left serial.
const MAX_LOSSES: u64 = 8;

/// One of so many calls that are predicted not to gain is split all the same: what it costs may have
/// been learned from others.
const RETRY: u64 = 32;

/// What calls of a path cost.
pub(crate) struct Costs([Class; CLASSES]);

impl Costs {
    pub(crate) const fn new() -> Self {
        Self([const { Class::new() }; CLASSES])
    }

    fn index(bytes: u64) -> usize {
        let log2 = (bytes >> MIB_SHIFT).checked_ilog2().unwrap_or(0) as usize;
        log2.min(CLASSES - 1)
    }

    /// How long a call takes its caller alone, as far as that is known: by the cost of calls of its
    /// size, or of the next larger ones.
    fn serial_ns(&self, bytes: u64) -> Option<u64> {
        let rate = self.0[Self::index(bytes)..]
            .iter()
            .map(|class| class.ns_per_mib.get())
            .find(|&rate| rate != 0)?;
        Some(scale(rate, 1 << MIB_SHIFT, bytes))
    }

    /// Judges a call of `bytes`. As long as nothing is known, those of `min_bytes` and more gain.
    pub(crate) fn judge(&self, machine: &Machine, bytes: u64, min_bytes: u64) -> Verdict {
        let class = &self.0[Self::index(bytes)];
        let large = bytes >= min_bytes;
        let pays = self
            .serial_ns(bytes)
            .map_or(large, |serial_ns| machine.pays(serial_ns));

        if !pays {
            let small = class.small.get() + 1;
            class.small.set(small);
            if !(large && small % RETRY == 0) {
                return Verdict::Small;
            }
        }
        if class.skips() {
            return Verdict::Backoff;
        }
        Verdict::Split
    }

    /// Learns from a call of `bytes` that was split: all of it would have taken its caller
    /// `serial_ns`.
    pub(crate) fn learn(&self, bytes: u64, serial_ns: u64) {
        let rate = (serial_ns << MIB_SHIFT) / bytes.max(1);
        self.0[Self::index(bytes)].learn(rate);
    }

    /// Learns whether a call of `bytes` has taken no less time than it would have otherwise.
    pub(crate) fn judged(&self, bytes: u64, lost: bool) {
        self.0[Self::index(bytes)].judge(lost);
    }

    /// Forgets all.
    pub(crate) fn reset(&self) {
        for class in &self.0 {
            class.ns_per_mib.set(0);
            class.losses.set(0);
            class.skip.set(0);
            class.small.set(0);
        }
    }

    /// Writes a line for each size of which something is known.
    pub(crate) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, class) in self.0.iter().enumerate() {
            let rate = class.ns_per_mib.get();
            if rate != 0 {
                f.write_fmt(fmt!(
                    "{name} mib={} serial_ns_per_mib={rate} losses={} skip={}\n",
                    1_u64 << index,
                    class.losses.get(),
                    class.skip.get()
                ))?;
            }
        }
        Ok(())
    }
}

/// Returns how long `to` units take where `from` have taken so many nanoseconds.
pub(crate) fn scale(ns: u64, from: u64, to: u64) -> u64 {
    // For the product to fit.
    let shift = (64 - to.leading_zeros()).saturating_sub(24);
    ns.saturating_mul(to >> shift) / (from >> shift).max(1)
}

#[cfg(CONFIG_PARCALL_KUNIT_TEST)]
#[kernel::macros::kunit_tests(parcall_costs)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << MIB_SHIFT;
    const MIN: u64 = 16 * MIB;

    /// A call has to take 80 microseconds to gain.
    fn machine() -> Machine {
        Machine::new(5_000, 35_000, 10_000)
    }

    #[test]
    fn long_calls_pay() {
        let machine = machine();
        assert!(!machine.pays(0));
        assert!(!machine.pays(79_000));
        assert!(machine.pays(81_000));
    }

    #[test]
    fn spins_are_bounded() {
        assert_eq!(machine().helper_spin().as_nanos(), 280_000);
        assert_eq!(machine().join_spin().as_nanos(), 10_000);
        let slow = Machine::new(1_000_000, 1_000_000, 1_000_000);
        assert_eq!(slow.helper_spin().as_nanos(), 500_000);
        assert_eq!(slow.join_spin().as_nanos(), 50_000);
        let fast = Machine::new(0, 0, 0);
        assert_eq!(fast.helper_spin().as_nanos(), 50_000);
        assert_eq!(fast.join_spin().as_nanos(), 5_000);
    }

    #[test]
    fn the_default_holds_until_something_is_known() {
        let (costs, machine) = (Costs::new(), machine());
        assert_eq!(costs.judge(&machine, MIN - 1, MIN), Verdict::Small);
        assert_eq!(costs.judge(&machine, MIN, MIN), Verdict::Split);
    }

    #[test]
    fn small_calls_are_judged_by_larger_ones() {
        let (costs, machine) = (Costs::new(), machine());
        // 20 microseconds for a MiB.
        costs.learn(64 * MIB, 64 * 20_000);
        assert_eq!(costs.judge(&machine, 3 * MIB, MIN), Verdict::Small);
        assert_eq!(costs.judge(&machine, 5 * MIB, MIN), Verdict::Split);
        // Nothing is known of larger ones.
        assert_eq!(costs.judge(&machine, 128 * MIB, MIN), Verdict::Split);
        // Those that are cheap do not gain, but one of many is tried.
        costs.reset();
        costs.learn(32 * MIB, 32_000);
        let splits = (0..2 * RETRY)
            .filter(|_| costs.judge(&machine, 32 * MIB, MIN) == Verdict::Split)
            .count();
        assert_eq!(splits, 2);
    }

    #[test]
    fn learns_by_and_by() {
        let costs = Costs::new();
        costs.learn(64 * MIB, 64_000_000);
        assert_eq!(costs.serial_ns(MIB), Some(1_000_000));
        costs.learn(64 * MIB, 128_000_000);
        assert_eq!(costs.serial_ns(MIB), Some(1_250_000));
        assert_eq!(costs.serial_ns(128 * MIB), None);
        // The largest that there can be.
        costs.learn(u64::MAX, u64::MAX >> MIB_SHIFT);
        assert!(costs.serial_ns(u64::MAX).is_some());
    }

    #[test]
    fn scales_small_and_large() {
        assert_eq!(scale(1_000, 10, 30), 3_000);
        assert_eq!(scale(100, 1 << 40, 1 << 41), 200);
        assert_eq!(scale(100, 0, 0), 0);
    }

    #[test]
    fn backs_off_from_losses_and_recovers() {
        let (costs, machine) = (Costs::new(), machine());
        let skipped = || {
            (0..)
                .take_while(|_| costs.judge(&machine, MIN, MIN) == Verdict::Backoff)
                .count()
        };
        assert_eq!(skipped(), 0);
        costs.judged(MIN, true);
        assert_eq!(skipped(), 1);
        costs.judged(MIN, true);
        assert_eq!(skipped(), 3);
        // Other sizes are not affected.
        assert_eq!(costs.judge(&machine, 4 * MIN, MIN), Verdict::Split);
        for _ in 0..100 {
            costs.judged(MIN, true);
        }
        assert_eq!(skipped(), 255);
        costs.judged(MIN, false);
        assert_eq!(skipped(), 0);
    }
}
