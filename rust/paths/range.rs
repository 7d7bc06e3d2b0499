// SPDX-License-Identifier: GPL-2.0

//! Calls whose work is one range of bytes, known from the start: of a file, or of addresses.
//!
//! What a chunk of it is, C knows. Nobody insists while others may be working, the caller neither:
//! what takes more than a helper may do is declined, and replayed by the caller, in order, once it is
//! alone. Thus the first error of the serial call is the one that it sees.
//!
//! C side: `parcall_run()` in `kernel/parcall/hooks.c`.

use crate::{
    engine::{
        Call,
        Engine,
        Role,
        Stopped,
        Work,
        POSITION_MAX, //
    },
    hooks,
    policy::{
        Caller,
        Path, //
    }, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The work of one such call. A position is a byte, from the start of the range on.
struct Bytes(hooks::Bytes);

impl Work for Bytes {
    fn cut(&self, at: u64) -> u64 {
        self.0.cut(at)
    }

    fn run(&self, chunk: Range<u64>, _role: Role) -> Result<(), Stopped> {
        // SAFETY: The engine runs chunks only while the call is under way, and each once.
        unsafe { self.0.run(chunk, true) }.map_err(|at| Stopped { at, error: None })
    }

    fn replay(&self, part: Range<u64>) -> Result<(), Stopped> {
        // SAFETY: As above; the caller replays.
        unsafe { self.0.run(part, false) }.map_err(|at| Stopped { at, error: None })
    }
}

/// Splits a call that is worth as much as a range of `weight` bytes.
///
/// Returns [`None`] where it had better be serial, of which nothing is done then; or how far all is
/// done, where that is not all of it.
pub(crate) fn run(
    engine: Arc<Engine>,
    path: &'static Path,
    caller: Caller,
    bytes: hooks::Bytes,
    weight: u64,
) -> Option<Result<(), u64>> {
    let len = bytes.len();
    if len > POSITION_MAX {
        return None;
    }
    let plan = path.plan(caller, weight, engine.online_cpus())?;
    let call = Call::begin(engine, path, plan, len, || Ok(Bytes(bytes)))?;

    Some(call.complete(len).map_err(|stopped| stopped.at))
}
