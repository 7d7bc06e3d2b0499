// SPDX-License-Identifier: GPL-2.0

//! What it takes to get work to other CPUs and back: by a job, and by other means to compare with.
//!
//! For `parcall/debug/spawn`; it has nothing to do with calls.

use crate::{
    engine::{
        Call,
        Engine,
        Role,
        Stopped,
        Work, //
    },
    policy::{
        Caller,
        Defaults,
        Mode,
        Path,
        Request, //
    },
};
use core::ops::Range;
use kernel::{
    bindings,
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    debugfs,
    error::from_err_ptr,
    fmt, impl_has_work, new_mutex, new_work,
    prelude::*,
    processor::cpu_relax,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Completion,
        Mutex, //
    },
    task::Task,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
    uaccess::UserSliceReader,
    workqueue::{
        Builder,
        OwnedQueue,
        Work as WorkStruct,
        WorkItem, //
    },
};

const ROUNDS_MAX: usize = 100_000;
const HELPERS_MAX: u64 = 63;

/// Between two rounds, for the CPUs to become idle.
const PAUSE: Delta = Delta::from_micros(200);

/// For how long a round waits for all to arrive.
const PATIENCE: Delta = Delta::from_millis(20);

/// What was measured in a round, in nanoseconds.
#[derive(Clone, Copy)]
struct Times {
    /// Until all were called for.
    spawn: u64,
    /// Until the first has started.
    first: u64,
    /// From when the last was done.
    join: u64,
    /// All of it.
    total: u64,
}

/// What those who are called for have in common.
#[pin_data]
struct Round {
    since: Instant<Monotonic>,
    missing: Atomic<u64>,
    first_ns: Atomic<u64>,
    last_ns: Atomic<u64>,
    #[pin]
    done: Completion,
}

impl Round {
    fn new(helpers: u64) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                since: Instant::now(),
                missing: Atomic::new(helpers),
                first_ns: Atomic::new(0),
                last_ns: Atomic::new(0),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_nanos() as u64
    }

    /// One has started, and is done: there is nothing to do.
    fn arrive(&self) {
        let _ = self.first_ns.cmpxchg(0, self.now(), Relaxed);
        self.last_ns.store(self.now(), Relaxed);
        if self.missing.fetch_sub(1, Full) == 1 {
            self.done.complete();
        }
    }

    /// Returns the times, of which these were those of who called.
    fn times(&self, begun: u64, spawned: u64) -> Times {
        let end = self.now();
        Times {
            spawn: spawned - begun,
            first: self.first_ns.load(Relaxed).saturating_sub(begun),
            join: end.saturating_sub(self.last_ns.load(Relaxed)),
            total: end - begun,
        }
    }
}

/// As many positions as there are workers, each of whom is to take one.
struct Meeting {
    round: Arc<Round>,
    waits: bool,
}

impl Work for Meeting {
    fn cut(&self, at: u64) -> u64 {
        at
    }

    fn run(&self, _chunk: Range<u64>, role: Role) -> Result<(), Stopped> {
        let since = Instant::<Monotonic>::now();
        if role == Role::Helper {
            self.round.arrive();
        }
        while self.waits && self.round.missing.load(Relaxed) != 0 && since.elapsed() < PATIENCE {
            cpu_relax();
        }
        Ok(())
    }

    fn replay(&self, _part: Range<u64>) -> Result<(), Stopped> {
        Ok(())
    }
}

/// The kind of call that such a job is of.
static PATH: Path = Path::new(
    "spawn",
    bindings::parcall_path_PARCALL_NR_PATHS,
    Defaults {
        min_bytes: 1,
        chunk_bytes: 1..=1,
        finest_chunk: 1,
        unit: 1,
    },
    false,
);

fn job(engine: &Arc<Engine>, round: &Arc<Round>, helpers: u64, waits: bool) -> Option<Times> {
    let caller = Caller {
        request: Request {
            mode: Mode::Forced,
            workers: helpers + 1,
        },
        may_split: true,
        cpu_limit: u32::MAX,
    };
    let begun = round.now();
    let plan = PATH.plan(caller, helpers + 1, helpers + 1)?;
    let meeting = Meeting {
        round: round.clone(),
        waits,
    };
    let call = Call::begin(engine.clone(), &PATH, plan, helpers + 1, || Ok(meeting))?;
    let spawned = round.now();
    call.complete(helpers + 1).ok()?;
    drop(call);
    let times = round.times(begun, spawned);
    (!waits || round.missing.load(Relaxed) == 0).then_some(times)
}

#[pin_data]
struct Item {
    round: Arc<Round>,
    #[pin]
    work: WorkStruct<Item>,
}

impl_has_work! {
    impl HasWork<Self> for Item { self.work }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.round.arrive();
    }
}

/// The CPUs after this one, in turn.
fn other_cpus() -> impl Iterator<Item = CpuId> {
    let here = CpuId::current().as_u32();
    [here + 1..nr_cpu_ids(), 0..here]
        .into_iter()
        .flatten()
        .filter_map(CpuId::from_u32)
        .filter(|cpu| cpu.is_online())
}

fn work_items(queue: &OwnedQueue, round: &Arc<Round>, helpers: u64) -> Result<Times> {
    let mut items = KVec::new();
    for cpu in other_cpus().take(helpers as usize) {
        let item = Arc::pin_init(
            pin_init!(Item {
                round: round.clone(),
                work <- new_work!("parcall::Item"),
            }),
            GFP_KERNEL,
        )?;
        items.push((cpu, item), GFP_KERNEL)?;
    }
    if items.len() as u64 != helpers {
        return Err(EBUSY);
    }

    let begun = round.now();
    for (cpu, item) in items {
        let _ = queue.enqueue_on(cpu, item);
    }
    let spawned = round.now();
    round.done.wait_for_completion();
    Ok(round.times(begun, spawned))
}

/// The function of a thread.
///
/// # Safety
///
/// `round` must be from [`Arc::into_raw`], and the reference the thread's.
unsafe extern "C" fn thread(round: *mut c_void) -> c_int {
    // SAFETY: By the safety requirements.
    let round = unsafe { Arc::from_raw(round.cast::<Round>()) };
    round.arrive();
    0
}

fn threads(round: &Arc<Round>, helpers: u64) -> Result<Times> {
    let mut threads = KVec::with_capacity(helpers as usize, GFP_KERNEL)?;
    let begun = round.now();
    let made = (0..helpers).try_for_each(|_| {
        let data = Arc::into_raw(round.clone()).cast_mut().cast();
        // SAFETY: The function may be called with this, and the format takes nothing.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(Some(thread), data, -1, c"parcall_spawn".as_char_ptr())
        })
        .inspect_err(|_| {
            // SAFETY: There is no thread that has it.
            drop(unsafe { Arc::<Round>::from_raw(data.cast()) })
        })?;
        // SAFETY: The thread has not run yet, hence is valid.
        let task = unsafe { ARef::<Task>::from(&*task.cast::<Task>()) };
        task.wake_up();
        threads.push(task, GFP_KERNEL).map_err(Error::from)
    });
    let spawned = round.now();
    // If there are fewer, they have to have run all the same, since they are code of this module.
    while round.missing.load(Relaxed) > helpers - threads.len() as u64 {
        match &made {
            Ok(()) => round.done.wait_for_completion(),
            Err(_) => fsleep(PAUSE),
        }
    }
    for task in threads {
        // SAFETY: It is a thread made above, of which there is a reference. It has run.
        unsafe { bindings::kthread_stop(task.as_ptr()) };
    }
    made.map(|()| round.times(begun, spawned))
}

/// The results of the last time that it was asked.
#[pin_data]
pub(crate) struct Spawn {
    engine: Arc<Engine>,
    #[pin]
    times: Mutex<KVec<Times>>,
}

impl Spawn {
    pub(crate) fn new(engine: Arc<Engine>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            engine,
            times <- new_mutex!(KVec::new()),
        })
    }

    fn measure(&self, mode: &str, helpers: u64, rounds: usize) -> Result<KVec<Times>> {
        let queue = match mode {
            "per_cpu" => Some(Builder::per_cpu().build(c"parcall_spawn")?),
            "per_cpu_intensive" => {
                Some(Builder::per_cpu().cpu_intensive().build(c"parcall_spawn")?)
            }
            "per_cpu_highpri" => Some(Builder::per_cpu().highpri().build(c"parcall_spawn")?),
            "unbound" => Some(Builder::unbound().build(c"parcall_spawn")?),
            "unbound_highpri" => Some(Builder::unbound().highpri().build(c"parcall_spawn")?),
            _ => None,
        };
        let mut times = KVec::with_capacity(rounds, GFP_KERNEL)?;
        for _ in 0..rounds {
            fsleep(PAUSE);
            if kernel::current!().signal_pending() {
                return Err(EINTR);
            }
            let round = Round::new(helpers)?;
            let took = match (mode, &queue) {
                ("job", _) => job(&self.engine, &round, helpers, true),
                ("unhelped", _) => job(&self.engine, &round, helpers, false),
                ("kthread", _) => Some(threads(&round, helpers)?),
                (_, Some(queue)) => Some(work_items(queue, &round, helpers)?),
                _ => return Err(EINVAL),
            };
            if let Some(took) = took {
                times.push(took, GFP_KERNEL)?;
            }
        }
        Ok(times)
    }
}

impl debugfs::Writer for Spawn {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for times in self.times.lock().iter() {
            let Times {
                spawn,
                first,
                join,
                total,
            } = times;
            f.write_fmt(fmt!("{spawn} {first} {join} {total}\n"))?;
        }
        Ok(())
    }
}

impl debugfs::Reader for Spawn {
    fn read_from_slice(&self, reader: &mut UserSliceReader) -> Result {
        let mut buf = [0; 64];
        let buf = buf.get_mut(..reader.len()).ok_or(EINVAL)?;
        reader.read_slice(buf)?;
        let mut words = core::str::from_utf8(buf)
            .map_err(|_| EINVAL)?
            .split_whitespace();
        let mode = words.next().ok_or(EINVAL)?;
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (helpers, rounds) = number().zip(number()).ok_or(EINVAL)?;
        if helpers == 0 || helpers > HELPERS_MAX || rounds > ROUNDS_MAX as u64 {
            return Err(EINVAL);
        }

        let times = self.measure(mode, helpers, rounds as usize)?;
        *self.times.lock() = times;
        Ok(())
    }
}
