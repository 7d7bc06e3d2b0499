// SPDX-License-Identifier: GPL-2.0

//! Helpers: transient work items, one for each CPU.
//!
//! A helper is enlisted for a job by putting the job into its slot and queueing it on its CPU. It
//! takes the job out when it starts, works on it, and is gone. Nobody waits for a helper that has
//! not started: it will find the job closed, and be gone just as well. As there is one helper a CPU,
//! enlisting allocates nothing.
//!
//! The workqueue is a per-CPU one, so that each helper wakes a worker of its own: in a pool that
//! several CPUs share, work items that are queued quickly after each other are started by one
//! another, which takes as many wake-ups in a row. Being CPU intensive, helpers do not keep other
//! work items of the CPU from running. There is no need for a rescuer, since callers get along
//! without helpers.
//!
//! How workqueues compare, by `userbench spawn --helpers 1,3` with QEMU's `-icount` and 4 CPUs that
//! share a cache: thousands of instructions, medians of 100. *Enlist* is until all are queued,
//! *start* until the first of them runs, and *all* until the caller, who sleeps, has joined them, on
//! all CPUs.
//!
//! | workqueue                                    | enlist 1, 3 | start 1, 3 | all 1, 3  |
//! |----------------------------------------------|-------------|------------|-----------|
//! | per CPU, CPU intensive or not                | 0.6, 1.6    | 4.7, 5.7   | 9.2, 18.8 |
//! | per CPU, high priority                       | 0.6, 1.6    | 4.7, 5.7   | 9.2, 18.9 |
//! | unbound, affinity scope cache_shard or cpu   | 0.8, 2.0    | 4.8, 6.0   | 9.4, 19.2 |
//! | (a kthread each, made and stopped)           | 30, 102     | 33, 37     | 41, 114   |
//!
//! Thus they take about as much, and the one that has a worker for each CPU in any case is the
//! simplest. Helpers have the caller's nice value, whatever the priority of the workqueue.
//! Instructions do not show for how long CPUs wait for each other, since with `-icount` they take
//! turns; nor the work items that are started in a row.

use crate::{
    faults::Fault,
    settings, //
};
use kernel::{
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    impl_has_work,
    new_spinlock,
    new_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    task::Task,
    time::{
        Instant,
        Monotonic, //
    },
    workqueue::{
        Builder,
        OwnedQueue,
        Work,
        WorkItem, //
    }, //
};

/// What a helper can work on.
pub(super) trait Help: Send + Sync {
    /// Works for the job, which is `this` and has enlisted the helper then, until there is nothing
    /// left to claim.
    fn help(&self, this: &Arc<dyn Help>, enlisted: Instant<Monotonic>);
}

/// The job that a helper is enlisted for, and since when.
type Enlisted = (Arc<dyn Help>, Instant<Monotonic>);

#[pin_data]
struct Helper {
    cpu: CpuId,
    #[pin]
    job: SpinLock<Option<Enlisted>>,
    #[pin]
    work: Work<Helper>,
}

impl_has_work! {
    impl HasWork<Self> for Helper { self.work }
}

impl Helper {
    fn new(cpu: CpuId) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                cpu,
                job <- new_spinlock!(None),
                work <- new_work!("parcall::Helper"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether `task`, which calls on the CPU `home`, may get help from this CPU, now.
    ///
    /// What helpers allocate comes from their CPU's memory node, as the caller's comes from its own.
    fn is_fit_for(&self, task: &Task, home: CpuId) -> bool {
        self.cpu != CpuId::current()
            && self.cpu.node() == home.node()
            && self.cpu.is_online()
            && task.may_run_on(self.cpu)
            && !self.cpu.is_isolated()
            && (!settings::IDLE_ONLY.is_on() || self.cpu.is_idle())
    }

    /// Puts the job into the slot, unless there is one.
    fn take_on(&self, job: &Arc<dyn Help>) -> bool {
        let mut slot = self.job.lock();
        if slot.is_some() {
            return false;
        }
        *slot = Some((job.clone(), Instant::now()));
        true
    }
}

impl WorkItem for Helper {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let job = this.job.lock().take();
        if let Some((job, enlisted)) = job {
            job.help(&job, enlisted);
        }
    }
}

/// The helpers of all CPUs, in the order of the CPUs.
pub(super) struct Helpers {
    helpers: KVec<Arc<Helper>>,
    queue: OwnedQueue,
}

impl Helpers {
    pub(super) fn new() -> Result<Self> {
        let mut helpers = KVec::new();
        for cpu in (0..nr_cpu_ids()).filter_map(CpuId::from_u32) {
            helpers.push(Helper::new(cpu)?, GFP_KERNEL)?;
        }
        Ok(Self {
            helpers,
            queue: Builder::per_cpu().cpu_intensive().build(c"parcall")?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.helpers.len()
    }

    /// Returns whether some CPU could help `task` now, which calls on the CPU `home`.
    pub(super) fn any_fit_for(&self, task: &Task, home: CpuId) -> bool {
        self.helpers
            .iter()
            .any(|helper| helper.is_fit_for(task, home))
    }

    /// Enlists one helper for a job that `task` called on the CPU `home`.
    ///
    /// Those that share a cache with that are tried first; in turn from `cursor` on, which is moved
    /// behind the one that is taken. Returns whether there was one.
    pub(super) fn enlist(
        &self,
        job: &Arc<dyn Help>,
        task: &Task,
        home: CpuId,
        cursor: &Atomic<u32>,
    ) -> bool {
        if Fault::Enlist.is_due() {
            return false;
        }
        let from = cursor.load(Relaxed) as usize;
        let (before, after) = self
            .helpers
            .split_at_checked(from)
            .unwrap_or((&[], &self.helpers));

        // Each is looked at closely once: whether a CPU is idle is in memory that others write.
        for near in [true, false] {
            for helper in [after, before].into_iter().flatten() {
                if helper.cpu.shares_cache_with(home) == near
                    && helper.is_fit_for(task, home)
                    && helper.take_on(job)
                {
                    cursor.store(helper.cpu.as_u32() + 1, Relaxed);
                    // A helper that is queued already has not started, and finds the job all the
                    // same.
                    let _ = self.queue.enqueue_on(helper.cpu, helper.clone());
                    return true;
                }
            }
        }
        false
    }

    /// Waits for all helpers that are enlisted, and those that they enlist, to be gone.
    pub(super) fn drain(&self) {
        self.queue.drain();
    }
}
