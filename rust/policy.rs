// SPDX-License-Identifier: GPL-2.0

//! Which calls are split, over how many CPUs, into how large chunks.

use crate::{
    costs::{
        Costs,
        Verdict,
        MACHINE, //
    },
    settings::{
        self,
        PathSettings, //
    },
    stats::{
        PathStats,
        Reason, //
    }, //
};
use core::ops::RangeInclusive;
use kernel::sync::LockMap;

/// The most CPUs in one call, unless an administrator asks for more.
const AUTO_WORKERS: u64 = 16;

/// The most CPUs in one call, however many were asked for.
pub(crate) const MAX_WIDTH: u64 = 32;

/// The most CPUs in one call that an administrator can ask for.
pub(crate) const MAX_WORKERS: u64 = kernel::bindings::PARCALL_MAX_WORKERS as u64;

/// Who decides whether a call is split.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// The system's settings.
    Default,
    /// The process: its calls are not.
    Off,
    /// The process: those that are worth it are.
    On,
    /// The call itself: it is, whether it is worth it or not.
    Forced,
}

/// A kind of call: what is set, counted and assumed of it.
pub(crate) struct Path {
    /// As in the names of its settings.
    pub(crate) name: &'static str,
    pub(crate) settings: PathSettings,
    pub(crate) stats: PathStats,
    pub(crate) defaults: Defaults,
    /// Whether a caller that is killed leaves the rest of its work undone.
    pub(crate) killable: bool,
    /// What was learned of its calls.
    pub(crate) costs: Costs,
    /// Held by helpers while they work, for lockdep.
    pub(crate) lock: LockMap,
}

/// The number that was set, unless it is 0.
fn or(set: u64, default: u64) -> u64 {
    if set != 0 {
        set
    } else {
        default
    }
}

impl Path {
    pub(crate) const fn new(
        name: &'static str,
        id: kernel::bindings::parcall_path,
        defaults: Defaults,
        killable: bool,
    ) -> Self {
        Self {
            name,
            settings: PathSettings::new(),
            stats: PathStats::new(id),
            defaults,
            killable,
            costs: Costs::new(),
            lock: LockMap::new(c"parcall"),
        }
    }

    /// From how many bytes on a call is split, unless it is forced.
    pub(crate) fn min_bytes(&self) -> u64 {
        or(self.settings.min_bytes.get(), self.defaults.min_bytes)
    }

    /// Plans a call of `bytes` on up to `cpus` CPUs, or counts why it is to be serial.
    pub(crate) fn plan(&self, caller: Caller, bytes: u64, cpus: u64) -> Option<Plan> {
        self.stats.calls.inc();
        let plan = self.try_plan(caller, bytes, cpus);
        plan.inspect_err(|&reason| self.stats.decline(reason)).ok()
    }

    fn try_plan(&self, caller: Caller, bytes: u64, cpus: u64) -> Result<Plan, Reason> {
        if !caller.request.allows(&self.settings) {
            return Err(Reason::Off);
        }
        if !caller.may_split {
            return Err(Reason::Caller);
        }
        if caller.cpu_limit < 2 {
            return Err(Reason::Quota);
        }
        let request = caller.request.within(caller.cpu_limit);
        let mut plan = Plan::new(&request, &self.settings, &self.defaults, bytes, cpus)
            .ok_or(Reason::Small)?;
        if request.mode != Mode::Forced {
            plan.automatic = self.is_worth(bytes)?;
        }
        Ok(plan)
    }

    /// Returns whether it is by what was learned, and not set, that a call is worth to be split.
    fn is_worth(&self, bytes: u64) -> Result<bool, Reason> {
        let (min_bytes, chunk_bytes) = (
            self.settings.min_bytes.get(),
            self.settings.chunk_bytes.get(),
        );
        if min_bytes != 0 || chunk_bytes != 0 {
            let large = bytes >= or(min_bytes, self.defaults.min_bytes);
            return large.then_some(false).ok_or(Reason::Small);
        }
        match self.costs.judge(&MACHINE, bytes, self.defaults.min_bytes) {
            Verdict::Split => Ok(true),
            Verdict::Small => Err(Reason::Small),
            Verdict::Backoff => Err(Reason::Backoff),
        }
    }

    /// Learns from `units` of a call, which were split by a plan, and that would have taken its caller
    /// alone `serial_ns`, but have taken it `taken_ns`.
    pub(crate) fn learn(&self, plan: &Plan, units: u64, serial_ns: u64, taken_ns: u64) {
        let bytes = plan.bytes.min(units.saturating_mul(self.defaults.unit));
        self.costs.learn(bytes, serial_ns);
        if plan.automatic {
            self.costs.judged(plan.bytes, taken_ns >= serial_ns);
        }
    }
}

/// A task that calls.
pub(crate) struct Caller {
    pub(crate) request: Request,
    /// Whether others can work for it with the same results.
    pub(crate) may_split: bool,
    /// How many CPUs its control groups allow, or [`u32::MAX`].
    pub(crate) cpu_limit: u32,
}

/// What a caller asks for.
pub(crate) struct Request {
    pub(crate) mode: Mode,
    /// The most CPUs in its call, its own among them; 0: it does not say.
    pub(crate) workers: u64,
}

impl Request {
    /// The same for a caller whose control groups allow some number of CPUs, or [`u32::MAX`].
    fn within(mut self, cpus: u32) -> Self {
        let cpus = u64::from(cpus);
        if self.workers > cpus || self.workers == 0 && cpus != u64::from(u32::MAX) {
            self.workers = cpus;
        }
        self
    }

    /// Whether a call of a path may be split.
    fn allows(&self, path: &PathSettings) -> bool {
        match self.mode {
            Mode::Default => settings::ENABLED.is_on() && path.on.is_on(),
            Mode::Off => false,
            Mode::On => path.on.is_on(),
            Mode::Forced => true,
        }
    }
}

/// Whether splitting calls (`on`), or the number of workers, goes beyond the settings.
pub(crate) fn exceeds(on: bool, workers: u64) -> bool {
    let max = settings::MAX_WORKERS.get();

    on && !settings::ENABLED.is_on() || max != 0 && workers > max
}

/// What a path asks for where nothing else is set.
pub(crate) struct Defaults {
    /// From how many bytes on a call is worth to be split, as long as nothing was learned.
    pub(crate) min_bytes: u64,
    /// How many bytes a chunk may have.
    pub(crate) chunk_bytes: RangeInclusive<u64>,
    /// The least that can be set.
    pub(crate) finest_chunk: u64,
    /// How many bytes are a unit of the path's positions.
    pub(crate) unit: u64,
}

/// How a call is split.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// How many helpers may work on the call, beside the caller.
    helpers: u32,
    /// The least to be claimed at a time, in units, as long as that much is left.
    min_chunk: u64,
    /// The most to be claimed at a time, in units.
    max_chunk: u64,
    /// What the call is worth.
    bytes: u64,
    /// Whether it is split by what was learned of others, and not since that was set.
    automatic: bool,
}

impl Plan {
    /// Plans a call of `bytes`; [`None`] if the caller is to be alone.
    fn new(
        request: &Request,
        path: &PathSettings,
        defaults: &Defaults,
        bytes: u64,
        online_cpus: u64,
    ) -> Option<Self> {
        let width = [request.workers, settings::MAX_WORKERS.get()]
            .into_iter()
            .filter(|&workers| workers != 0)
            .min()
            .unwrap_or(online_cpus.min(AUTO_WORKERS));
        if width < 2 {
            return None;
        }

        let units = |bytes: u64| (bytes / defaults.unit).max(1);
        let chunk = path.chunk_bytes.get();
        let min_chunk = units(or(chunk, *defaults.chunk_bytes.start()));
        let max_chunk = units(or(chunk, *defaults.chunk_bytes.end()));
        Some(Self {
            helpers: (width.min(MAX_WIDTH) - 1) as u32,
            min_chunk,
            max_chunk: max_chunk.max(min_chunk),
            bytes,
            automatic: false,
        })
    }

    /// How much to claim where `left` units are: much at first, for few claims, and little in the
    /// end, for all to end at the same time. This is guided self-scheduling.
    pub(crate) fn chunk(&self, left: u64) -> u64 {
        let width = u64::from(self.helpers) + 1;
        (left / (2 * width)).max(self.min_chunk).min(self.max_chunk)
    }

    /// How many helpers may work on the call at a time.
    pub(crate) fn max_helpers(&self) -> u32 {
        self.helpers
    }

    /// How many helpers `left` units are worth.
    pub(crate) fn helpers(&self, left: u64) -> u32 {
        (left / self.min_chunk.max(1)).min(u64::from(self.helpers)) as u32
    }

    /// The least to be claimed at a time while more may come.
    pub(crate) fn min_chunk(&self) -> u64 {
        self.min_chunk
    }
}

#[cfg(CONFIG_PARCALL_KUNIT_TEST)]
#[kernel::macros::kunit_tests(parcall_policy)]
mod tests {
    use super::*;

    static PATH: PathSettings = PathSettings::new();
    const DEFAULTS: Defaults = Defaults {
        min_bytes: 1000,
        chunk_bytes: 20..=640,
        finest_chunk: 10,
        unit: 10,
    };

    fn plan_as(mode: Mode, workers: u64, bytes: u64, cpus: u64) -> Option<Plan> {
        let request = Request { mode, workers };
        Plan::new(&request, &PATH, &DEFAULTS, bytes, cpus)
    }

    fn plan(bytes: u64, cpus: u64) -> Option<Plan> {
        plan_as(Mode::Default, 0, bytes, cpus)
    }

    #[test]
    fn single_cpus_stay_serial() {
        assert!(plan(1_000_000, 1).is_none());
        assert_eq!(plan(1000, 8).unwrap().helpers, 7);
        assert_eq!(plan(1000, 4096).unwrap().helpers, AUTO_WORKERS as u32 - 1);
    }

    #[test]
    fn settings_override_defaults() {
        PATH.chunk_bytes.set(50);
        settings::MAX_WORKERS.set(3);
        let plan = plan(1, 8).unwrap();
        PATH.chunk_bytes.set(0);
        settings::MAX_WORKERS.set(0);

        assert_eq!(plan.helpers, 2);
        assert_eq!(plan.chunk(1), 5);
        assert_eq!(plan.chunk(1_000_000), 5);
    }

    #[test]
    fn settings_override_what_was_learned() {
        static PATH: Path = Path::new("test", 0, DEFAULTS, false);
        let worth = |bytes| PATH.is_worth(bytes).ok();

        assert_eq!(worth(999), None);
        assert_eq!(worth(1000), Some(true));
        PATH.costs.judged(1000, true);
        assert!(matches!(PATH.is_worth(1000), Err(Reason::Backoff)));
        PATH.settings.min_bytes.set(10);
        PATH.costs.judged(10, true);
        assert_eq!(worth(9), None);
        assert_eq!(worth(10), Some(false));
        PATH.settings.min_bytes.set(0);
        PATH.settings.chunk_bytes.set(50);
        assert_eq!(worth(999), None);
        assert_eq!(worth(1000), Some(false));
    }

    #[test]
    fn what_was_split_by_a_setting_is_not_judged() {
        static PATH: Path = Path::new("test", 0, DEFAULTS, false);
        let mut plan = plan(1000, 8).unwrap();
        let (long, longer) = (1_000_000_000, 2_000_000_000);

        PATH.learn(&plan, 100, long, longer);
        assert_eq!(PATH.is_worth(1000).ok(), Some(true));
        plan.automatic = true;
        PATH.learn(&plan, 100, long, longer);
        assert!(matches!(PATH.is_worth(1000), Err(Reason::Backoff)));
        PATH.learn(&plan, 100, longer, long);
        assert_eq!(PATH.is_worth(1000).ok(), Some(true));
    }

    #[test]
    fn callers_cap_the_workers() {
        assert_eq!(plan_as(Mode::Default, 3, 1000, 8).unwrap().helpers, 2);
        assert!(plan_as(Mode::On, 1, 1000, 8).is_none());
        assert_eq!(plan_as(Mode::Forced, 3, 1, 8).unwrap().helpers, 2);
        assert!(plan_as(Mode::Forced, 1, 1, 8).is_none());
    }

    #[test]
    fn control_groups_cap_the_workers() {
        let workers = |workers, cpus| {
            let mode = Mode::Default;
            Request { mode, workers }.within(cpus).workers
        };
        assert_eq!(workers(0, 2), 2);
        assert_eq!(workers(8, 2), 2);
        assert_eq!(workers(2, 8), 2);
        assert_eq!(workers(0, u32::MAX), 0);
    }

    #[test]
    fn callers_say_whether_calls_are_split() {
        static PATH: PathSettings = PathSettings::new();
        let allows = |mode| Request { mode, workers: 0 }.allows(&PATH);

        assert!(!allows(Mode::Default));
        assert!(!allows(Mode::Off));
        assert!(allows(Mode::On));
        PATH.on.set(0);
        assert!(!allows(Mode::On));
        assert!(allows(Mode::Forced));
    }

    #[test]
    fn chunks_shrink_towards_the_end() {
        let plan = plan(1_000_000, 4).unwrap();
        let mut left = 1000;
        let mut last = u64::MAX;

        while left != 0 {
            let chunk = plan.chunk(left);
            assert!((2..=64).contains(&chunk));
            assert!(chunk <= last);
            last = chunk;
            left -= chunk.min(left);
        }
        assert_eq!(last, 2);
    }

    #[test]
    fn helpers_are_worth_a_chunk_each() {
        let plan = plan(1_000_000, 4).unwrap();
        assert_eq!(plan.helpers(1), 0);
        assert_eq!(plan.helpers(2), 1);
        assert_eq!(plan.helpers(5), 2);
        assert_eq!(plan.helpers(1000), 3);
    }
}
