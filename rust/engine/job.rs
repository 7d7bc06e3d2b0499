// SPDX-License-Identifier: GPL-2.0

//! Jobs: one call each, shared by its caller and its helpers.

use super::{
    claims::{
        Claim,
        Claims,
        Park, //
    },
    helpers::Help,
    Engine,
    Role,
    Stopped,
    Work, //
};
use crate::{
    costs::{
        self,
        MACHINE, //
    },
    faults::{
        self,
        Fault, //
    },
    policy::{
        Path,
        Plan,
        MAX_WIDTH, //
    },
    stats::Reason,
    trace, //
};
use core::ops::Range;
use kernel::{
    cpu::CpuId,
    memcg::MemCgroup,
    new_spinlock,
    prelude::*,
    processor::cpu_relax,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion,
        SpinLock, //
    },
    task::Task,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How many helpers a caller, or a helper, enlists at a time; these enlist the next.
const FANOUT: u32 = 2;

/// How many chunks are to be published before the caller looks for helpers again.
const ENLIST_PAUSE: u64 = 16;

/// How many parts of chunks helpers may decline, each of which has a place to do so while it works;
/// from then on the caller is alone.
const DECLINED_MAX: usize = 2 * MAX_WIDTH as usize;

/// Parts of chunks that helpers have declined.
///
/// A helper reserves a place before it claims a chunk, so that there always is one to decline into.
struct Declined {
    /// Those that are not empty, `len` in number.
    parts: [Range<u64>; DECLINED_MAX],
    len: usize,
    reserved: usize,
}

impl Declined {
    fn new() -> Self {
        Self {
            parts: [const { 0..0 }; DECLINED_MAX],
            len: 0,
            reserved: 0,
        }
    }

    fn reserve(&mut self) -> bool {
        let free = self.len + self.reserved < DECLINED_MAX;
        if free {
            self.reserved += 1;
        }
        free
    }

    fn unreserve(&mut self) {
        self.reserved -= 1;
    }

    /// Uses up a reservation.
    fn push(&mut self, part: Range<u64>) {
        debug_assert!(!part.is_empty());
        self.reserved -= 1;
        if let Some(free) = self.parts.iter_mut().find(|part| part.is_empty()) {
            *free = part;
            self.len += 1;
        }
    }

    /// Takes one out, the lowest first.
    fn take(&mut self) -> Option<Range<u64>> {
        let lowest = self
            .parts
            .iter_mut()
            .filter(|part| !part.is_empty())
            .min_by_key(|part| part.start)?;
        self.len -= 1;
        Some(core::mem::take(lowest))
    }
}

/// What a call's caller and its helpers share: one allocation, with those of the work.
#[pin_data]
pub(crate) struct Job<W> {
    engine: Arc<Engine>,
    path: &'static Path,
    plan: Plan,
    work: W,
    claims: Claims,
    /// The caller: helpers are enlisted where it may run, and charge memory to its group.
    task: ARef<Task>,
    memcg: MemCgroup,
    /// How many helpers are enlisted, and have not left.
    helpers: Atomic<u32>,
    /// The CPU time that helpers have spent on chunks, in nanoseconds, and of that what the caller
    /// was charged for.
    helper_ns: Atomic<u64>,
    charged_ns: Atomic<u64>,
    /// How long the caller has waited for chunks, in nanoseconds.
    waited_ns: Atomic<u64>,
    /// For how long the caller has worked on chunks, in nanoseconds, and how much that was.
    worked_ns: Atomic<u64>,
    worked_units: Atomic<u64>,
    /// How long all of that has taken it, and what it takes to share the work.
    taken_ns: Atomic<u64>,
    /// The CPU that the call came from, on whose memory node helpers are.
    home: CpuId,
    /// The CPU from which on to look for the next helper.
    cursor: Atomic<u32>,
    /// The position from which on the caller looks for helpers while it publishes.
    enlist_from: Atomic<u64>,
    #[pin]
    declined: SpinLock<Declined>,
    #[pin]
    idle: Completion,
}

impl Park for Completion {
    fn park(&self) {
        self.wait_for_completion();
    }

    fn unpark(&self) {
        self.complete();
    }
}

impl<W: Work> Job<W> {
    /// Tells the job from others, in traces.
    fn id(&self) -> *const c_void {
        core::ptr::from_ref(self).cast()
    }

    /// Counts time that the caller has spent on the job, since it began to.
    fn takes_since(&self, begun: Instant<Monotonic>) {
        self.taken_ns
            .add(begun.elapsed().as_nanos() as u64, Relaxed);
    }

    /// Counts and traces a chunk that was worked on.
    fn worked_on(&self, chunk: Range<u64>, role: Role) {
        self.path.stats.chunks.inc();
        let helper = role == Role::Helper;
        if helper {
            self.path.stats.helper_chunks.inc();
        }
        trace::chunk(self.id(), chunk.start, chunk.end - chunk.start, helper);
    }

    /// Returns whether there is work for more helpers than are enlisted.
    fn wants_helpers(&self) -> bool {
        self.helpers.load(Relaxed) < self.plan.helpers(self.claims.left())
    }

    /// Enlists helpers as long as there is work for them, but a few at a time.
    ///
    /// Returns whether all that were needed were found.
    fn enlist(&self, this: &Arc<dyn Help>) -> bool {
        (0..FANOUT).all(|_| !self.wants_helpers() || self.enlist_one(this))
    }

    /// Enlists one helper, unless there are as many as may be. Returns false where none was found.
    fn enlist_one(&self, this: &Arc<dyn Help>) -> bool {
        // Several tasks may enlist at the same time.
        if self.helpers.fetch_add(1, Relaxed) >= self.plan.max_helpers() {
            self.helpers.fetch_sub(1, Relaxed);
            return true;
        }
        let helpers = &self.engine.helpers;
        let enlisted = helpers.enlist(this, &self.task, self.home, &self.cursor);
        if enlisted {
            self.path.stats.helpers_asked.inc();
        } else {
            self.helpers.fetch_sub(1, Relaxed);
        }
        enlisted
    }

    /// Claims a chunk, or nothing any more when the caller was killed.
    fn claim(&self) -> Claim<'_, Completion> {
        if self.path.killable && self.task.fatal_signal_pending() {
            self.claims.close();
        }
        self.claims
            .claim(&self.idle, self.plan.min_chunk(), |from, left| {
                self.work.cut(from + self.plan.chunk(left).min(left))
            })
    }

    /// Works on a chunk, and declines what cannot be done. A reservation to decline goes with it;
    /// returns whether there still is one.
    fn run_chunk(&self, chunk: Range<u64>, role: Role) -> Result<bool, Stopped> {
        let mut from = chunk.start;
        let mut reserved = true;

        while reserved && from < chunk.end {
            let Err(stopped) = self.work.run(from..chunk.end, role) else {
                break;
            };
            if role == Role::Caller && stopped.error.is_some() {
                return Err(stopped);
            }
            // What cannot be done is left out up to the next cut; the rest need not be unusual too.
            let mut declined = self.declined.lock();
            let next = self.work.cut(stopped.at + 1).min(chunk.end);
            reserved = next < chunk.end && declined.reserve();
            from = if reserved { next } else { chunk.end };
            declined.push(stopped.at..from);
        }
        self.worked_on(chunk, role);
        Ok(reserved)
    }

    /// Works on a chunk as a helper. A reservation to decline goes with it; returns whether there
    /// still is one.
    fn help_with(&self, chunk: Range<u64>) -> bool {
        faults::delay_helper();
        if Fault::Chunk.is_due() {
            self.declined.lock().push(chunk.clone());
            self.worked_on(chunk, Role::Helper);
            return false;
        }
        // Under the locks that the caller holds until it has joined.
        let _held = self.path.lock.acquire();
        self.run_chunk(chunk, Role::Helper) == Ok(true)
    }

    /// Works on chunks until there is nothing left to claim, or others want the CPU. A reservation to
    /// decline goes with it.
    ///
    /// The CPU time since `charged` is reported with each chunk, before the caller may return.
    fn work_as_helper(&self, mut charged: Delta) {
        let patience = MACHINE.helper_spin();
        let mut waiting: Option<Instant<Monotonic>> = None;

        loop {
            match self.claim() {
                Claim::Chunk(chunk) => {
                    waiting = None;
                    let reserved = self.help_with(chunk.range());
                    let now = kernel::current!().cpu_time();
                    self.helper_ns
                        .add((now - charged).as_nanos() as u64, Relaxed);
                    charged = now;
                    drop(chunk);
                    if !reserved && !self.declined.lock().reserve() {
                        return;
                    }
                    if kernel::current!().need_resched() {
                        break;
                    }
                }
                Claim::Later => {
                    let since = *waiting.get_or_insert_with(Instant::now);
                    if since.elapsed() > patience || kernel::current!().need_resched() {
                        break;
                    }
                    cpu_relax();
                }
                Claim::Nothing => break,
            }
        }
        self.declined.lock().unreserve();
    }
}

/// Runs a function with the nice value of another task.
fn as_nice_as(task: &Task, f: impl FnOnce()) {
    let this = kernel::current!();
    let (own, nice) = (this.nice(), task.nice());

    if nice != own {
        this.set_nice(nice);
    }
    f();
    if nice != own {
        this.set_nice(own);
    }
}

impl<W: Work> Help for Job<W> {
    fn help(&self, this: &Arc<dyn Help>, enlisted: Instant<Monotonic>) {
        if self.claims.is_closed() || !self.declined.lock().reserve() {
            self.path.stats.helpers_revoked.inc();
        } else {
            self.path.stats.helpers_started.inc();
            let cpu = CpuId::current().as_u32();
            trace::helper_start(self.id(), cpu, enlisted.elapsed().as_nanos() as u64);
            let since = kernel::current!().cpu_time();
            as_nice_as(&self.task, || {
                self.enlist(this);
                self.memcg.charge_in(|| self.work_as_helper(since));
            });
        }
        self.helpers.fetch_sub(1, Relaxed);
    }
}

/// A caller's side of a job.
///
/// Dropping it ends the job: what nobody has claimed is not done any more, and no one works on it
/// after.
pub(crate) struct Call<W: Work> {
    job: Arc<Job<W>>,
}

impl<W: Work> Call<W> {
    /// Returns the call of a job that has been made and not ended.
    pub(crate) fn of(job: Arc<Job<W>>) -> Self {
        Self { job }
    }

    pub(crate) fn job(&self) -> &Arc<Job<W>> {
        &self.job
    }

    /// Makes a job of the current task's call, of about `units`; [`None`] if no CPU is there to help,
    /// or no memory.
    pub(crate) fn begin(
        engine: Arc<Engine>,
        path: &'static Path,
        plan: Plan,
        units: u64,
        work: impl FnOnce() -> Result<W>,
    ) -> Option<Self> {
        let begun = Instant::<Monotonic>::now();
        let task = ARef::from(&**kernel::current!());
        let home = CpuId::current();
        if !engine.helpers.any_fit_for(&task, home) {
            path.stats.decline(Reason::Busy);
            return None;
        }
        let job = work().and_then(|work| {
            Arc::pin_init(
                pin_init!(Job {
                    engine,
                    path,
                    plan,
                    work,
                    claims: Claims::new(),
                    task,
                    memcg: MemCgroup::current(),
                    helpers: Atomic::new(0),
                    helper_ns: Atomic::new(0),
                    charged_ns: Atomic::new(0),
                    waited_ns: Atomic::new(0),
                    worked_ns: Atomic::new(0),
                    worked_units: Atomic::new(0),
                    taken_ns: Atomic::new(0),
                    home,
                    cursor: Atomic::new(home.as_u32() + 1),
                    enlist_from: Atomic::new(0),
                    declined <- new_spinlock!(Declined::new()),
                    idle <- Completion::new(),
                }),
                // The caller may hold any lock, and may be about to free memory.
                GFP_NOWAIT | __GFP_NOWARN,
            )
        });
        match job {
            Ok(job) => {
                path.stats.parallel.inc();
                let width = job.plan.max_helpers() + 1;
                trace::job_start(job.id(), path.stats.path as i32, units, width);
                // There is no work yet, but until the first helper has woken up there will be.
                let this: Arc<dyn Help> = job.clone();
                job.enlist_one(&this);
                job.takes_since(begun);
                Some(Self { job })
            }
            Err(_) => {
                path.stats.decline(Reason::NoMemory);
                None
            }
        }
    }

    /// The work.
    pub(crate) fn work(&self) -> &W {
        &self.job.work
    }

    /// Publishes work up to a position, for helpers to start on; more may follow.
    ///
    /// Work is published by the chunk: helpers do not start on less, unless it is the last.
    pub(crate) fn publish(&self, limit: u64) {
        if limit < self.job.claims.published() + self.job.plan.min_chunk() {
            return;
        }
        self.job.claims.publish(limit, false);
        // Looking for idle CPUs takes a while. Where there was none, do not look again until there
        // is a lot more work.
        if limit >= self.job.enlist_from.load(Relaxed) && self.job.wants_helpers() {
            let begun = Instant::now();
            if !self.enlist() {
                let from = limit + ENLIST_PAUSE * self.job.plan.min_chunk();
                self.job.enlist_from.store(from, Relaxed);
            }
            self.job.takes_since(begun);
        }
    }

    /// Publishes work up to a position, and works until all is done.
    ///
    /// Where it stops before that, all is done up to there, and some may be behind; nothing more can
    /// be published. What nobody has claimed when the caller is killed is replayed, too.
    pub(crate) fn complete(&self, limit: u64) -> Result<(), Stopped> {
        let begun = Instant::now();
        self.job.claims.publish(limit, true);
        self.enlist();
        self.job.takes_since(begun);
        #[cfg(CONFIG_PARCALL_DEBUG)]
        self.leave_to_helpers();
        let begun = Instant::now();
        let rest = self.claim_all();
        // Until then parts are declined, in no order.
        self.join();
        rest.and_then(|rest| self.replay_all(rest))
            .inspect_err(|_| self.job.claims.close())
            .inspect(|()| self.job.takes_since(begun))
    }

    /// Works on chunks until there is nothing left to claim. Returns what else there is to do, which
    /// is behind all that was claimed.
    fn claim_all(&self) -> Result<Range<u64>, Stopped> {
        let mut reserved = self.job.declined.lock().reserve();

        while reserved {
            let Claim::Chunk(chunk) = self.job.claim() else {
                self.job.declined.lock().unreserve();
                return Ok(self.job.claims.unclaimed());
            };
            let begun = Instant::<Monotonic>::now();
            reserved = self
                .job
                .run_chunk(chunk.range(), Role::Caller)
                .inspect_err(|_| self.job.claims.close())?;
            let worked = begun.elapsed().as_nanos() as u64;
            self.job.worked_ns.add(worked, Relaxed);
            let range = chunk.range();
            self.job.worked_units.add(range.end - range.start, Relaxed);
        }
        // There is no place to decline into.
        match self
            .job
            .claims
            .claim(&self.job.idle, 1, |from, left| from + left)
        {
            Claim::Chunk(rest) => Ok(rest.range()),
            _ => Ok(self.job.claims.unclaimed()),
        }
    }

    /// Does what was declined, and then the rest.
    fn replay_all(&self, rest: Range<u64>) -> Result<(), Stopped> {
        loop {
            // The lock must not be held while working.
            let part = self.job.declined.lock().take();
            let Some(part) = part else {
                break;
            };
            self.job.path.stats.decline(Reason::Chunk);
            self.job.work.replay(part)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.job.work.replay(rest)
    }

    /// Lets policy know what the call has cost, unless it ended early.
    fn learn(&self) {
        let job = &self.job;
        let units = job.claims.published();
        let worked_units = job.worked_units.load(Relaxed);

        if job.claims.is_closed() || worked_units < job.plan.min_chunk() {
            return;
        }
        // What the helpers have done, at the rate at which the caller has worked.
        let serial_ns = costs::scale(job.worked_ns.load(Relaxed), worked_units, units);
        let taken_ns = job.taken_ns.load(Relaxed);
        job.path.learn(&job.plan, units, serial_ns, taken_ns);
    }

    fn enlist(&self) -> bool {
        if !self.job.wants_helpers() {
            return true;
        }
        let this: Arc<dyn Help> = self.job.clone();
        self.job.enlist(&this)
    }

    #[cfg(CONFIG_PARCALL_DEBUG)]
    fn leave_to_helpers(&self) {
        let delay = Delta::from_micros(crate::settings::CALLER_DELAY_US.get() as i64);
        let since = Instant::<Monotonic>::now();

        while self.job.claims.left() != 0 && since.elapsed() < delay {
            kernel::time::delay::fsleep(Delta::from_micros(10));
        }
    }

    /// Waits for the chunks that helpers work on, and takes over what time they have spent; there
    /// must be nothing left to claim.
    fn join(&self) {
        let since = Instant::<Monotonic>::now();
        let patience = MACHINE.join_spin();

        drop(self.job.path.lock.acquire());
        self.job.claims.join(&self.job.idle, || {
            cpu_relax();
            since.elapsed() < patience
                && !kernel::current!().need_resched()
                && !Fault::Join.is_due()
        });

        let waited = since.elapsed().as_nanos() as u64;
        self.job.waited_ns.add(waited, Relaxed);
        let worked = self.job.helper_ns.load(Relaxed);
        let charged = self.job.charged_ns.xchg(worked, Relaxed);
        if worked != charged {
            let spent = worked - charged;
            kernel::current!().charge_cpu_time(Delta::from_nanos(spent as i64));
            self.job.path.stats.helper_ns.add(spent);
        }
    }
}

impl<W: Work> Drop for Call<W> {
    fn drop(&mut self) {
        let job = &self.job;

        self.learn();
        job.claims.close();
        self.join();
        trace::join(
            job.id(),
            job.waited_ns.load(Relaxed),
            job.helper_ns.load(Relaxed),
        );
    }
}
