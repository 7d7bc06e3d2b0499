// SPDX-License-Identifier: GPL-2.0

//! Who works on what: the positions of a job, and the chunks claimed of them.
//!
//! A job's work is a line of positions, from 0 on. Its caller publishes how far there is work; the
//! caller and the helpers claim chunks of it in order, each chunk once. After the caller has closed
//! the claims, or found all claimed, it waits for the chunks that are being worked on, and for
//! nothing else: a helper that has not claimed anything has no part in the job any more.
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
//! - What was done on a chunk before [`done`] is seen by the caller after [`wait`]: release and
//!   acquire of the word. Other read-modify-writes may come in between; they are part of the release
//!   sequence, as each of them is fully ordered.
//!
//! [`publish`]: Claims::publish
//! [`done`]: Claims::done
//! [`wait`]: Claims::wait

use core::ops::Range;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed,
    Release, //
};

const NEXT: u64 = (1 << 48) - 1;
const WORKING_ONE: u64 = 1 << 48;
const WORKING: u64 = ((1 << 14) - 1) << 48;
const WAITING: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

/// In the limit: no more will be published for now.
const COMPLETE: u64 = 1 << 63;

/// The outcome of [`Claims::claim`].
#[derive(Debug, PartialEq)]
pub(super) enum Claim {
    /// These positions are for the one who asked, until [`Claims::done`].
    Chunk(Range<u64>),
    /// There is too little to claim for now.
    Later,
    /// There is nothing to claim.
    Nothing,
}

pub(super) struct Claims {
    word: Atomic<u64>,
    limit: CacheLine<Atomic<u64>>,
}

/// Keeps what the caller writes and helpers wait for apart from what all of them write.
#[repr(align(64))]
struct CacheLine<T>(T);

impl Claims {
    pub(super) const fn new() -> Self {
        Self {
            word: Atomic::new(0),
            limit: CacheLine(Atomic::new(0)),
        }
    }

    /// Lets positions up to `limit` be claimed, which must not shrink.
    ///
    /// Only the caller may publish. With `complete`, it says that this is all for now.
    pub(super) fn publish(&self, limit: u64, complete: bool) {
        let complete = if complete { COMPLETE } else { 0 };
        self.limit.0.store(limit | complete, Release);
    }

    /// How many positions can be claimed, at this moment.
    pub(super) fn left(&self) -> u64 {
        let word = self.word.load(Relaxed);
        if word & CLOSED != 0 {
            return 0;
        }
        let limit = self.limit.0.load(Relaxed) & !COMPLETE;
        limit.saturating_sub(word & NEXT)
    }

    /// How far work is published. For the caller, who publishes.
    pub(super) fn published(&self) -> u64 {
        self.limit.0.load(Relaxed) & !COMPLETE
    }

    /// Returns whether no more can be claimed, ever.
    pub(super) fn is_closed(&self) -> bool {
        self.word.load(Relaxed) & CLOSED != 0
    }

    /// Claims positions.
    ///
    /// Where a chunk from some position on, out of a number of positions left, should end is up to
    /// `end`. Less than `min` positions are claimed only where no more are to come.
    pub(super) fn claim(&self, min: u64, end: impl Fn(u64, u64) -> u64) -> Claim {
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
                Ok(_) => return Claim::Chunk(next..end),
                Err(now) => word = now,
            }
        }
    }

    /// Gives a chunk back that was claimed, and has been worked on.
    ///
    /// Returns whether the caller sleeps and has to be woken up; from then on, the job is the
    /// caller's alone.
    #[must_use]
    pub(super) fn done(&self) -> bool {
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
    pub(super) fn close(&self) {
        let mut word = self.word.load(Relaxed);
        while let Err(now) = self.word.cmpxchg(word, word | CLOSED, Full) {
            word = now;
        }
    }

    /// Returns whether no chunk is being worked on. Only the caller may ask, and only while nothing
    /// can be claimed.
    pub(super) fn is_idle(&self) -> bool {
        self.word.load(Acquire) & WORKING == 0
    }

    /// Announces that the caller is going to sleep until no chunk is being worked on.
    ///
    /// Returns whether it must: then exactly one [`Claims::done`] is going to return true. As for
    /// [`Claims::is_idle`].
    #[must_use]
    pub(super) fn wait(&self) -> bool {
        let mut word = self.word.load(Acquire);
        loop {
            if word & WORKING == 0 {
                return false;
            }
            match self.word.cmpxchg(word, word | WAITING, Full) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(CONFIG_PARCALL_KUNIT_TEST)]
#[kernel::macros::kunit_tests(parcall_claims)]
mod tests {
    use super::*;

    fn by(size: u64) -> impl Fn(u64, u64) -> u64 {
        move |from, _left| from + size
    }

    #[test]
    fn all_is_claimed_once_and_in_order() {
        let claims = Claims::new();
        claims.publish(10, true);
        assert_eq!(claims.left(), 10);
        assert_eq!(claims.claim(1, by(4)), Claim::Chunk(0..4));
        assert_eq!(claims.claim(1, by(4)), Claim::Chunk(4..8));
        assert_eq!(claims.claim(1, by(4)), Claim::Chunk(8..10));
        assert_eq!(claims.claim(1, by(4)), Claim::Nothing);
        assert_eq!(claims.left(), 0);
    }

    #[test]
    fn an_end_that_is_no_progress_is_made_one() {
        let claims = Claims::new();
        claims.publish(2, true);
        assert_eq!(claims.claim(1, by(0)), Claim::Chunk(0..1));
        assert_eq!(claims.claim(1, by(u64::MAX / 2)), Claim::Chunk(1..2));
    }

    #[test]
    fn little_is_claimed_only_at_the_end() {
        let claims = Claims::new();
        claims.publish(3, false);
        assert_eq!(claims.claim(4, by(4)), Claim::Later);
        claims.publish(5, false);
        assert_eq!(claims.claim(4, by(4)), Claim::Chunk(0..4));
        assert_eq!(claims.claim(4, by(4)), Claim::Later);
        claims.publish(5, true);
        assert_eq!(claims.claim(4, by(4)), Claim::Chunk(4..5));
        // More may follow after all.
        claims.publish(9, true);
        assert_eq!(claims.claim(4, by(4)), Claim::Chunk(5..9));
    }

    #[test]
    fn nothing_is_claimed_once_closed() {
        let claims = Claims::new();
        claims.publish(10, true);
        assert!(!claims.is_closed());
        claims.close();
        assert!(claims.is_closed());
        assert_eq!(claims.left(), 0);
        assert_eq!(claims.claim(1, by(4)), Claim::Nothing);
        assert!(claims.is_idle());
    }

    #[test]
    fn only_the_last_one_wakes_a_caller_who_waits() {
        let claims = Claims::new();
        claims.publish(10, true);
        assert!(!claims.wait());
        let _ = claims.claim(1, by(4));
        let _ = claims.claim(1, by(4));
        claims.close();
        assert!(!claims.is_idle());
        assert!(claims.wait());
        assert!(!claims.done());
        assert!(claims.done());
        assert!(claims.is_idle());
        assert!(!claims.wait());
    }

    #[test]
    fn nobody_is_woken_who_does_not_wait() {
        let claims = Claims::new();
        claims.publish(1, true);
        let _ = claims.claim(1, by(1));
        assert!(!claims.done());
    }
}
