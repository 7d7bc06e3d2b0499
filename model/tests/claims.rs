// SPDX-License-Identifier: GPL-2.0

//! A caller and its helpers, in all interleavings. A helper may start at any time, also after the end.
//!
//! That each access to a position is ordered after the one before is checked by loom's `UnsafeCell`;
//! that nobody sleeps forever, by its detection of deadlocks. What is not exhaustive has a bound on
//! preemptions; LOOM_MAX_PREEMPTIONS sets another for all.

use loom::{
    cell::UnsafeCell,
    sync::{Condvar, Mutex},
    thread,
};
use model::claims::{Claim, Claims, Park};
use std::sync::{
    atomic::{AtomicU32, Ordering::Relaxed},
    Arc,
};

const POSITIONS: u64 = 4;
const FOREVER: u32 = u32::MAX;

/// What has become of a position.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    New,
    Published,
    Done,
    Declined,
    Over,
}
use State::*;

/// How a test differs from others.
#[derive(Clone, Copy)]
struct Test {
    helpers: u32,
    /// How many chunks a helper claims at most.
    turns: u32,
    /// How often the caller looks again before it sleeps.
    spins: u32,
    /// How long a chunk is, and the least of it while more may follow.
    chunk: u64,
    min: u64,
    /// The position that helpers decline, and the one at which the caller fails.
    declined: Option<u64>,
    failing: Option<u64>,
    preemptions: Option<usize>,
}

const ONE: Test = Test {
    helpers: 1,
    turns: 2,
    spins: 0,
    chunk: 1,
    min: 1,
    declined: None,
    failing: None,
    preemptions: None,
};

const TWO: Test = Test {
    helpers: 2,
    turns: 1,
    preemptions: Some(3),
    ..ONE
};

const THREE: Test = Test {
    helpers: 3,
    turns: 1,
    preemptions: Some(2),
    ..ONE
};

#[derive(Debug)]
struct Failed;

struct Job {
    test: Test,
    claims: Claims,
    positions: [UnsafeCell<State>; POSITIONS as usize],
    /// Together, a completion.
    wakes: Mutex<u32>,
    woken: Condvar,
    parked: AtomicU32,
    unparked: AtomicU32,
}

// SAFETY: That the claims order all accesses to the positions is what is tested.
unsafe impl Sync for Job {}

impl Park for Job {
    fn park(&self) {
        self.parked.fetch_add(1, Relaxed);
        let mut wakes = self.wakes.lock().unwrap();
        while *wakes == 0 {
            wakes = self.woken.wait(wakes).unwrap();
        }
        *wakes -= 1;
    }

    fn unpark(&self) {
        self.unparked.fetch_add(1, Relaxed);
        *self.wakes.lock().unwrap() += 1;
        self.woken.notify_one();
    }
}

impl Job {
    fn new(test: Test) -> Self {
        Self {
            test,
            claims: Claims::new(),
            positions: [(); POSITIONS as usize].map(|()| UnsafeCell::new(New)),
            wakes: Mutex::new(0),
            woken: Condvar::new(),
            parked: AtomicU32::new(0),
            unparked: AtomicU32::new(0),
        }
    }

    /// Changes what has become of a position, and returns what had.
    fn set(&self, at: u64, state: State) -> State {
        self.positions[at as usize].with_mut(|position| {
            // SAFETY: Loom panics where there may be another access at the same time.
            unsafe { position.replace(state) }
        })
    }

    fn claim(&self) -> Claim<'_, Self> {
        let Test { min, chunk, .. } = self.test;
        self.claims.claim(self, min, |from, _left| from + chunk)
    }

    fn help(&self) {
        for _ in 0..self.test.turns {
            let Claim::Chunk(chunk) = self.claim() else {
                return;
            };
            for at in chunk.range() {
                let declined = self.test.declined == Some(at);
                let was = self.set(at, if declined { Declined } else { Done });
                assert_eq!(was, Published);
            }
        }
    }

    fn publish(&self, limit: u64, complete: bool) {
        for at in self.claims.published()..limit {
            assert_eq!(self.set(at, Published), New);
        }
        self.claims.publish(limit, complete);
    }

    fn complete(&self, limit: u64) -> Result<(), Failed> {
        self.publish(limit, true);
        let worked = self.work();
        if worked.is_err() {
            self.claims.close();
        }
        self.join();
        worked?;

        for at in 0..limit {
            assert!(matches!(self.set(at, Done), Done | Declined));
        }
        Ok(())
    }

    fn work(&self) -> Result<(), Failed> {
        while let Claim::Chunk(chunk) = self.claim() {
            for at in chunk.range() {
                if self.test.failing == Some(at) {
                    return Err(Failed);
                }
                assert_eq!(self.set(at, Done), Published);
            }
        }
        Ok(())
    }

    fn join(&self) {
        let mut spins = self.test.spins;
        self.claims.join(self, || match spins {
            FOREVER => {
                thread::yield_now();
                true
            }
            0 => false,
            _ => {
                spins -= 1;
                true
            }
        });
    }

    /// Ends the job. Whoever touches a position after that is found out.
    fn end(&self) {
        self.claims.close();
        self.join();
        for at in 0..POSITIONS {
            assert!(matches!(self.set(at, Over), Done | Published | New));
        }
    }
}

fn explore(test: Test, call: fn(&Job)) {
    let runs = Arc::new([const { AtomicU32::new(0) }; 2]);
    let [all, asleep] = &*runs.clone();

    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(test.preemptions);
    builder.check(move || {
        let job = Arc::new(Job::new(test));
        let helper = |_| {
            let job = job.clone();
            thread::spawn(move || job.help())
        };
        let helpers: Vec<_> = (0..test.helpers).map(helper).collect();
        call(&job);
        job.end();
        for helper in helpers {
            helper.join().unwrap();
        }

        let parked = job.parked.load(Relaxed);
        assert_eq!(parked, job.unparked.load(Relaxed));
        runs[0].fetch_add(1, Relaxed);
        runs[1].fetch_add(parked.min(1), Relaxed);
    });

    let [all, asleep] = [all, asleep].map(|runs| runs.load(Relaxed));
    println!("{all} interleavings, in {asleep} of which the caller sleeps");
    assert_eq!(asleep != 0, test.spins != FOREVER);
}

/// Publishes some, then all.
fn in_steps(job: &Job) {
    job.publish(1, false);
    job.complete(2).unwrap();
}

fn at_once(job: &Job) {
    job.complete(2).unwrap();
}

/// Publishes more after all was done, as fork() does where it meets memory that it must not share.
fn again(job: &Job) {
    job.complete(1).unwrap();
    job.complete(2).unwrap();
}

/// Fails, unless a helper is faster.
fn may_fail(job: &Job) {
    let _ = job.complete(2);
}

/// Ends while there is work, none of which is the caller's.
fn leaves(job: &Job) {
    job.publish(2, false);
}

macro_rules! tests {
    ($($name:ident: $call:ident, $test:expr;)*) => {
        $(#[test] fn $name() { explore($test, $call); })*
    };
}

tests! {
    one_in_steps: in_steps, ONE;
    one_at_once: at_once, ONE;
    one_and_a_look_before_sleep: at_once, Test { spins: 1, ..ONE };
    one_and_no_sleep: at_once, Test { spins: FOREVER, ..ONE };
    one_and_little_at_first: in_steps, Test { chunk: 3, min: 2, ..ONE };
    one_and_again: again, ONE;
    one_that_declines: again, Test { declined: Some(0), ..ONE };
    one_and_an_error: may_fail, Test { failing: Some(0), ..ONE };
    one_is_left: leaves, ONE;
    two_in_steps: in_steps, TWO;
    two_at_once: at_once, TWO;
    two_and_again: again, TWO;
    two_and_an_error: may_fail, Test { failing: Some(0), ..TWO };
    two_are_left: leaves, TWO;
    three_at_once: at_once, Test { chunk: 3, ..THREE };
    three_are_left: leaves, THREE;
}
