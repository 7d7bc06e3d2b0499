// SPDX-License-Identifier: GPL-2.0

//! The fork-join engine: a call's work, done by its caller and by helpers on other CPUs.
//!
//! A [`Work`] says what is to be done; a [`Call`] is how its caller splits it. The engine knows no
//! path.

use core::ops::Range;
use kernel::{
    cpu::CpuId,
    prelude::*,
    sync::Arc, //
};

mod calibrate;
#[allow(unreachable_pub)] // On the host it is a module of the library in `model/`.
mod claims;
mod helpers;
mod job;

pub(crate) use claims::POSITION_MAX;
pub(crate) use job::{
    Call,
    Job, //
};

/// Who works on a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    /// The task in the system call. It does all that the serial call does.
    Caller,
    /// Someone else. It does nothing but what the serial call would have done with the same result,
    /// blocks on nothing but memory, and stops where it would have to.
    Helper,
}

/// A chunk was not done to its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Stopped {
    /// The first position not done.
    pub(crate) at: u64,
    /// Why the call ends here. Where there is none, or it is a helper's, the caller tries again
    /// from here.
    pub(crate) error: Option<Error>,
}

/// The work of one call.
///
/// It is a line of positions; see [`claims`].
pub(crate) trait Work: Send + Sync + 'static {
    /// Returns the first position from `at` on where the work may be cut in two. All positions up
    /// to `at` have been published.
    ///
    /// Who is about to claim a chunk asks before it has one: the call may have ended by then, and only
    /// what the job owns is left.
    fn cut(&self, at: u64) -> u64;

    /// Does the work of a chunk.
    ///
    /// It is called by several tasks at the same time, with chunks that do not overlap, and only
    /// between [`Call::begin`] and the end of the call.
    fn run(&self, chunk: Range<u64>, role: Role) -> Result<(), Stopped>;

    /// Does the work of a part as the serial call does.
    ///
    /// It is called by the caller once nobody else works for it any more, with parts that were
    /// declined or not claimed, the lowest first.
    fn replay(&self, part: Range<u64>) -> Result<(), Stopped>;
}

/// The helpers of all CPUs.
pub(crate) struct Engine {
    helpers: helpers::Helpers,
}

impl Engine {
    /// How many CPUs may work on calls.
    pub(crate) fn online_cpus(&self) -> u64 {
        (0..self.helpers.len())
            .filter_map(|cpu| CpuId::from_u32(cpu as u32))
            .filter(|cpu| cpu.is_online())
            .count() as u64
    }
}

/// The module's handle to the engine.
///
/// Dropping it waits for the helpers that have not yet left; no call may be under way, or begin.
pub(crate) struct Owner(Arc<Engine>);

impl Owner {
    pub(crate) fn new() -> Result<Self> {
        let engine = Engine {
            helpers: helpers::Helpers::new()?,
        };
        Ok(Self(Arc::new(engine, GFP_KERNEL)?))
    }

    pub(crate) fn share(&self) -> Arc<Engine> {
        self.0.clone()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Helpers hold jobs, and these hold the engine. When all have run, ours is the last
        // reference, and the workqueue is not destroyed by one of its own work items.
        self.0.helpers.drain();
    }
}
