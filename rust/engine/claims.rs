// SPDX-License-Identifier: GPL-2.0

//! Who works on what: the positions of a job, and the chunks claimed of them.
//!
//! A job's work is a line of positions, from 0 on. Its caller publishes how far there is work; the
//! caller and the helpers claim chunks of it in order, each chunk once. After the caller has closed
//! the claims, or found all claimed, it waits for the chunks that are being worked on, and for
//! nothing else: a helper that has not claimed anything may still look at the job, but at nothing that is
//! the caller's.
//!
//! The state is one word, so that each step is one atomic operation:
//!
//! | bits   | meaning                                               |
//! |--------|-------------------------------------------------------|
//! | 0..48  | the first position not claimed                        |
//! | 48..62 | how many chunks are being worked on                   |
//! | 62     | the caller sleeps until that is none                  |
//! | 63     | closed: nothing can be claimed any more               |
//!
//! # Memory ordering
//!
//! - What a caller did before [`publish`] is seen by whoever claims what was published: release and
//!   acquire of the limit.
//! - What was done on a chunk before it is dropped is seen by the caller after [`join`]: release and
//!   acquire of the word. Other read-modify-writes may come in between; they are part of the release
//!   sequence, as each of them is fully ordered.
//!
//! All interleavings of a caller and two or three helpers are explored on the host, with this very
//! source: see `model/`.
//!
//! [`publish`]: Claims::publish
//! [`join`]: Claims::join

use core::ops::Range;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed,
    Release, //
};

const NEXT: u64 = (1 << 48) - 1;

/// The last position there can be.
pub const POSITION_MAX: u64 = NEXT;

const WORKING_ONE: u64 = 1 << 48;
const WORKING: u64 = ((1 << 14) - 1) << 48;
const WAITING: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

/// In the limit: no more will be published for now.
const COMPLETE: u64 = 1 << 63;

/// How a caller sleeps until the last chunk that others work on is done.
pub trait Park {
    /// Sleeps until [`Park::unpark`] is called, unless it was already.
    fn park(&self);

    /// Wakes the caller up.
    fn unpark(&self);
}

/// Positions that were claimed, for as long as it exists.
///
/// It borrows the claims, and the caller does not return from [`Claims::join`] before it is dropped.
///
/// ```compile_fail,E0515
/// # use model::claims::{Chunk, Claim, Claims, Park};
/// fn keep<'a, P: Park>(claims: Claims, caller: &'a P) -> Claim<'a, P> {
///     claims.claim(caller, 1, |from, _left| from + 1)
/// }
/// ```
pub struct Chunk<'a, P: Park> {
    claims: &'a Claims,
    caller: &'a P,
    range: Range<u64>,
}

impl<P: Park> Chunk<'_, P> {
    /// The positions.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

impl<P: Park> Drop for Chunk<'_, P> {
    fn drop(&mut self) {
        if self.claims.done() {
            self.caller.unpark();
        }
    }
}

/// The outcome of [`Claims::claim`].
pub enum Claim<'a, P: Park> {
    /// These positions are for the one who asked.
    Chunk(Chunk<'a, P>),
    /// There is too little to claim for now.
    Later,
    /// There is nothing to claim.
    Nothing,
}

/// What is claimed of a job, and what is left.
pub struct Claims {
    word: Atomic<u64>,
    limit: CacheLine<Atomic<u64>>,
}

/// Keeps what the caller writes and helpers wait for apart from what all of them write.
#[repr(align(64))]
struct CacheLine<T>(T);

impl Claims {
    /// Nothing is published, and nothing claimed.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            word: Atomic::new(0),
            limit: CacheLine(Atomic::new(0)),
        }
    }

    /// Lets positions up to `limit` be claimed, which must not shrink.
    ///
    /// Only the caller may publish. With `complete`, it says that this is all for now.
    pub fn publish(&self, limit: u64, complete: bool) {
        let complete = if complete { COMPLETE } else { 0 };
        self.limit.0.store(limit | complete, Release);
    }

    /// How many positions can be claimed, at this moment.
    pub fn left(&self) -> u64 {
        let word = self.word.load(Relaxed);
        if word & CLOSED != 0 {
            return 0;
        }
        let limit = self.limit.0.load(Relaxed) & !COMPLETE;
        limit.saturating_sub(word & NEXT)
    }

    /// How far work is published. For the caller, who publishes.
    pub fn published(&self) -> u64 {
        self.limit.0.load(Relaxed) & !COMPLETE
    }

    /// The positions that were published, and have not been claimed. For the caller: where nothing
    /// can be claimed, there are some only if the claims are closed.
    pub fn unclaimed(&self) -> Range<u64> {
        self.word.load(Relaxed) & NEXT..self.published()
    }

    /// Returns whether no more can be claimed, ever.
    pub fn is_closed(&self) -> bool {
        self.word.load(Relaxed) & CLOSED != 0
    }

    /// Claims positions.
    ///
    /// Where a chunk from some position on, out of a number of positions left, should end is up to
    /// `end`. Less than `min` positions are claimed only where no more are to come.
    pub fn claim<'a, P: Park>(
        &'a self,
        caller: &'a P,
        min: u64,
        end: impl Fn(u64, u64) -> u64,
    ) -> Claim<'a, P> {
        let mut word = self.word.load(Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Claim::Nothing;
            }
            let limit = self.limit.0.load(Acquire);
            let complete = limit & COMPLETE != 0;
            let limit = limit & !COMPLETE;
            let next = word & NEXT;
            let left = limit.saturating_sub(next);
            if complete && left == 0 {
                return Claim::Nothing;
            }
            if !complete && left < min {
                return Claim::Later;
            }

            let end = end(next, left).max(next + 1).min(limit);
            let new = (word & !NEXT | end) + WORKING_ONE;
            match self.word.cmpxchg(word, new, Full) {
                Ok(_) => {
                    return Claim::Chunk(Chunk {
                        claims: self,
                        caller,
                        range: next..end,
                    })
                }
                Err(now) => word = now,
            }
        }
    }

    /// Gives a chunk back that was claimed, and has been worked on.
    ///
    /// Returns whether the caller sleeps and has to be woken up.
    #[must_use]
    fn done(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        loop {
            let mut new = word - WORKING_ONE;
            let wake = new & WORKING == 0 && new & WAITING != 0;
            if wake {
                new &= !WAITING;
            }
            match self.word.cmpxchg(word, new, Full) {
                Ok(_) => return wake,
                Err(now) => word = now,
            }
        }
    }

    /// Closes the claims: what is not claimed by now never will be.
    pub fn close(&self) {
        let mut word = self.word.load(Relaxed);
        while let Err(now) = self.word.cmpxchg(word, word | CLOSED, Full) {
            word = now;
        }
    }

    /// Waits until no chunk is being worked on. Only the caller may, and only while nothing can be
    /// claimed.
    ///
    /// It looks again for as long as `spin` returns true, and then sleeps.
    pub fn join(&self, caller: &impl Park, mut spin: impl FnMut() -> bool) {
        while self.word.load(Acquire) & WORKING != 0 {
            if !spin() {
                if self.wait() {
                    caller.park();
                }
                return;
            }
        }
    }

    /// Announces that the caller is going to sleep until no chunk is being worked on.
    ///
    /// Returns whether it must: then exactly one [`Claims::done`] is going to return true.
    #[must_use]
    fn wait(&self) -> bool {
        loop {
            // What a cmpxchg that fails returns is not an acquire.
            let word = self.word.load(Acquire);
            if word & WORKING == 0 {
                return false;
            }
            if self.word.cmpxchg(word, word | WAITING, Full).is_ok() {
                return true;
            }
        }
    }
}

#[cfg(CONFIG_PARCALL_KUNIT_TEST)]
#[kernel::macros::kunit_tests(parcall_claims)]
mod tests {
    use super::*;

    /// Counts how often the caller is woken up, and does not let it sleep.
    struct Wakes(Atomic<u32>);

    impl Wakes {
        fn none() -> Self {
            Self(Atomic::new(0))
        }

        fn count(&self) -> u32 {
            self.0.load(Relaxed)
        }
    }

    impl Park for Wakes {
        fn park(&self) {}

        fn unpark(&self) {
            self.0.add(1, Relaxed);
        }
    }

    /// The positions that are claimed, and nothing where there are none.
    fn claim(claims: &Claims, min: u64, size: u64) -> Option<Range<u64>> {
        match claims.claim(&Wakes::none(), min, |from, _left| from + size) {
            Claim::Chunk(chunk) => Some(chunk.range()),
            _ => None,
        }
    }

    #[test]
    fn all_is_claimed_once_and_in_order() {
        let claims = Claims::new();
        claims.publish(10, true);
        assert_eq!(claims.left(), 10);
        assert_eq!(claim(&claims, 1, 4), Some(0..4));
        assert_eq!(claim(&claims, 1, 4), Some(4..8));
        assert_eq!(claim(&claims, 1, 4), Some(8..10));
        assert_eq!(claim(&claims, 1, 4), None);
        assert_eq!(claims.left(), 0);
    }

    #[test]
    fn an_end_that_is_no_progress_is_made_one() {
        let claims = Claims::new();
        claims.publish(2, true);
        assert_eq!(claim(&claims, 1, 0), Some(0..1));
        assert_eq!(claim(&claims, 1, u64::MAX / 2), Some(1..2));
    }

    #[test]
    fn little_is_claimed_only_at_the_end() {
        let claims = Claims::new();
        let caller = Wakes::none();
        let later =
            |claims: &Claims| matches!(claims.claim(&caller, 4, |from, _| from + 4), Claim::Later);
        claims.publish(3, false);
        assert!(later(&claims));
        claims.publish(5, false);
        assert_eq!(claim(&claims, 4, 4), Some(0..4));
        assert!(later(&claims));
        claims.publish(5, true);
        assert_eq!(claim(&claims, 4, 4), Some(4..5));
        // More may follow after all.
        claims.publish(9, true);
        assert_eq!(claim(&claims, 4, 4), Some(5..9));
    }

    #[test]
    fn nothing_is_claimed_once_closed() {
        let claims = Claims::new();
        claims.publish(10, true);
        assert!(!claims.is_closed());
        claims.close();
        assert!(claims.is_closed());
        assert_eq!(claims.left(), 0);
        assert_eq!(claim(&claims, 1, 4), None);
    }

    #[test]
    fn only_the_last_one_wakes_a_caller_who_waits() {
        let claims = Claims::new();
        let caller = Wakes::none();
        claims.publish(10, true);
        assert!(!claims.wait());
        let one = claims.claim(&caller, 1, |from, _left| from + 4);
        let other = claims.claim(&caller, 1, |from, _left| from + 4);
        claims.close();
        assert!(claims.wait());
        drop(other);
        assert_eq!(caller.count(), 0);
        drop(one);
        assert_eq!(caller.count(), 1);
        assert!(!claims.wait());
    }

    #[test]
    fn nobody_is_woken_who_does_not_wait() {
        let claims = Claims::new();
        let caller = Wakes::none();
        claims.publish(1, true);
        drop(claims.claim(&caller, 1, |from, _left| from + 1));
        claims.join(&caller, || panic!("there is nothing to wait for"));
        assert_eq!(caller.count(), 0);
    }
}
