// SPDX-License-Identifier: GPL-2.0

//! All that passes between the C hooks and this module.
//!
//! C header: `include/linux/parcall.h`.

use crate::{
    engine::{
        Call,
        Engine,
        Job, //
    },
    paths::{
        self,
        fork, //
    },
    policy::{
        self,
        Caller,
        Mode,
        Path,
        Request, //
    }, //
};
use core::{
    mem::ManuallyDrop,
    ops::Range,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

/// Returns what the current task asks for.
fn current_request() -> Request {
    // SAFETY: There are no preconditions for this function.
    let request = unsafe { bindings::parcall_current_request() };

    Request {
        mode: match request.mode {
            bindings::parcall_mode_PARCALL_OFF => Mode::Off,
            bindings::parcall_mode_PARCALL_ON => Mode::On,
            bindings::parcall_mode_PARCALL_FORCED => Mode::Forced,
            _ => Mode::Default,
        },
        workers: request.workers.into(),
    }
}

/// Returns what policy asks of the current task.
fn current_caller() -> Caller {
    Caller {
        request: current_request(),
        // SAFETY: There are no preconditions for this function.
        may_split: unsafe { bindings::parcall_current_may_split() },
        cpu_limit: kernel::current!().cpu_limit(),
    }
}

/// Switches a path on or off.
pub(crate) fn switch(path: &Path, on: bool) -> Result {
    // SAFETY: The path is one of `enum parcall_path`.
    to_result(unsafe { bindings::parcall_switch(path.stats.path, on) })
}

/// Has calls that are too small left serial, without asking.
pub(crate) fn set_floor(path: &Path) {
    // SAFETY: The path is one of `enum parcall_path`.
    unsafe { bindings::parcall_set_floor(path.stats.path, path.min_bytes()) };
}

/// An area that a fork copies: the parent's, and the child's that it is copied to.
///
/// # Invariants
///
/// Both are valid, locked for writing and do not change, until the fork's job has ended.
pub(crate) struct Areas {
    dst: *mut bindings::vm_area_struct,
    src: *mut bindings::vm_area_struct,
}

// SAFETY: By the type invariant the areas do not change, and `copy_page_tables` can be called by any
// task.
unsafe impl Send for Areas {}
// SAFETY: As above.
unsafe impl Sync for Areas {}

impl Areas {
    /// Copies the page tables for some addresses.
    ///
    /// Where it is `optimistic`, it does not insist on memory, and leaves alone what only the
    /// forking task may do. It returns the address that it could not go beyond.
    ///
    /// # Safety
    ///
    /// The fork's job must not have ended; the addresses must be within the area, and not be copied
    /// by anyone else. Only the forking task may be other than `optimistic`.
    pub(crate) unsafe fn copy_page_tables(
        &self,
        addrs: Range<usize>,
        optimistic: bool,
    ) -> Result<(), usize> {
        let mut addr = addrs.start;

        // SAFETY: By the type invariant and the safety requirements, the areas are valid; the forking
        // task holds the locks.
        let ret = unsafe {
            bindings::parcall_fork_chunk(self.dst, self.src, &mut addr, addrs.end, optimistic)
        };
        if ret == 0 {
            Ok(())
        } else {
            Err(addr)
        }
    }
}

/// A range of bytes that a call works on.
///
/// # Invariants
///
/// The pointer is valid, and what it points to does not change but by the caller's own chunks, until
/// the call's job has ended. The others are what they are there.
pub(crate) struct Bytes {
    range: NonNull<bindings::parcall_range>,
    start: u64,
    end: u64,
    align: u64,
}

// SAFETY: By the type invariant the range does not change, and its chunk function can be called by
// any task.
unsafe impl Send for Bytes {}
// SAFETY: As above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// # Safety
    ///
    /// `range` must be valid, and not change but by its chunk function, until the call's job has ended.
    unsafe fn new(range: NonNull<bindings::parcall_range>) -> Self {
        // SAFETY: By the safety requirements.
        let &bindings::parcall_range {
            start, end, align, ..
        } = unsafe { range.as_ref() };

        // INVARIANT: By the safety requirements.
        Self {
            range,
            start,
            end,
            align,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Returns the first position from `at` on where the range may be cut. May be called after the
    /// job has ended.
    pub(crate) fn cut(&self, at: u64) -> u64 {
        let pos = self.start + at;
        // To the next multiple.
        let cut = pos + (pos.wrapping_neg() & (self.align - 1));
        cut.min(self.end) - self.start
    }

    /// Does the work of a chunk. Returns the position that it could not go beyond.
    ///
    /// # Safety
    ///
    /// The call's job must not have ended; no one else may work on these positions. Only the caller
    /// may be other than `optimistic`, when nobody else works for it any more.
    pub(crate) unsafe fn run(&self, chunk: Range<u64>, optimistic: bool) -> Result<(), u64> {
        let start = self.start;
        let mut pos = start + chunk.start;
        // SAFETY: By the type invariant and the safety requirements, the range is valid.
        let run = unsafe { self.range.as_ref().chunk };
        // The hooks do not leave it out.
        let Some(run) = run else {
            return Err(chunk.start);
        };

        // SAFETY: As above, and the positions are within the range.
        let ret = unsafe { run(self.range.as_ptr(), &mut pos, start + chunk.end, optimistic) };
        if ret == 0 {
            Ok(())
        } else {
            Err(pos - start)
        }
    }
}

/// Splits a call whose work is a range; see `struct parcall_ops`.
///
/// # Safety
///
/// `engine` must be that of the operations, which are registered. `range` must be valid, and not
/// change but by its chunk function.
unsafe extern "C" fn run(engine: *mut c_void, range: *mut bindings::parcall_range) -> bool {
    // SAFETY: As in `fork_begin`.
    let engine = unsafe { ArcBorrow::from_raw(engine.cast::<Engine>()) };
    let Some(range) = NonNull::new(range) else {
        return false;
    };
    // SAFETY: By the safety requirements.
    let (id, weight) = unsafe { (range.as_ref().path, range.as_ref().weight) };
    // SAFETY: By the safety requirements; the caller keeps the range until this function has returned.
    let bytes = unsafe { Bytes::new(range) };
    let split = paths::path(id)
        .and_then(|path| paths::range::run(engine.into(), path, current_caller(), bytes, weight));

    if let Some(Err(at)) = split {
        // SAFETY: The job has ended, and nobody else uses the range.
        unsafe { (*range.as_ptr()).end = range.as_ref().start + at };
    }
    split.is_some()
}

/// Returns whether a process asks for more than the settings; see `struct parcall_ops`.
extern "C" fn exceeds(on: bool, workers: c_uint) -> bool {
    policy::exceeds(on, workers.into())
}

/// What C keeps of a fork's job: a reference that counts, the caller's.
type ForkJob = Job<fork::Fork>;

/// Returns the call whose job C keeps.
///
/// # Safety
///
/// `job` must be from [`fork_begin`]. The call must be dropped once, in [`fork_end`], after which
/// `job` must not be used any more.
unsafe fn fork_call(job: *mut c_void) -> ManuallyDrop<Call<fork::Fork>> {
    // SAFETY: By the safety requirements, the pointer has the reference that `fork_begin` has left.
    let job = unsafe { Arc::from_raw(job.cast::<ForkJob>()) };

    ManuallyDrop::new(Call::of(job))
}

/// Begins a job; see `struct parcall_ops`.
///
/// # Safety
///
/// `engine` must be that of the operations, which are registered.
unsafe extern "C" fn fork_begin(
    engine: *mut c_void,
    nr_pages: c_ulong,
    nr_vmas: c_uint,
) -> *mut c_void {
    // SAFETY: The pointer is from `Registration::new`, which keeps a reference for as long as it is
    // registered, and hence until after this call.
    let engine = unsafe { ArcBorrow::from_raw(engine.cast::<Engine>()) };

    fork::begin(
        engine.into(),
        current_caller(),
        nr_pages as u64,
        nr_vmas as usize,
    )
    .map_or(core::ptr::null_mut(), |call| {
        let call = ManuallyDrop::new(call);
        Arc::as_ptr(call.job()).cast_mut().cast()
    })
}

/// Hands addresses of an area over; see `struct parcall_ops`.
///
/// # Safety
///
/// `job` must be from [`fork_begin`], and not have ended. The areas must be valid and locked for
/// writing until it has.
unsafe extern "C" fn fork_add(
    job: *mut c_void,
    dst: *mut bindings::vm_area_struct,
    src: *mut bindings::vm_area_struct,
    start: c_ulong,
    end: c_ulong,
) -> bool {
    // SAFETY: The hooks pass what `fork_begin` returned, and have not called `fork_end`.
    let call = unsafe { fork_call(job) };

    // INVARIANT: The forking task holds the locks, and both areas, until `fork_end` has returned.
    call.add(Areas { dst, src }, start..end)
}

/// Works until all is done that was handed over; see `struct parcall_ops`.
///
/// # Safety
///
/// `job` must be from [`fork_begin`], and not have ended.
unsafe extern "C" fn fork_drain(job: *mut c_void) -> c_int {
    // SAFETY: As in `fork_add`.
    let call = unsafe { fork_call(job) };

    from_result(|| call.drain().map(|()| 0))
}

/// Ends a job; see `struct parcall_ops`.
///
/// # Safety
///
/// `job` must be from [`fork_begin`], and not have ended.
unsafe extern "C" fn fork_end(job: *mut c_void) {
    // SAFETY: As in `fork_add`; the hooks do not use it any more.
    drop(ManuallyDrop::into_inner(unsafe { fork_call(job) }));
}

/// While it exists, the C hooks use the engine.
///
/// Dropping it waits for the calls that are being split.
///
/// # Invariants
///
/// `ops` is registered, and its `engine` is `_engine`.
pub(crate) struct Registration {
    ops: KBox<bindings::parcall_ops>,
    _engine: Arc<Engine>,
}

// SAFETY: Any task can unregister.
unsafe impl Send for Registration {}
// SAFETY: There is nothing that can be done with a shared reference.
unsafe impl Sync for Registration {}

impl Registration {
    pub(crate) fn new(engine: Arc<Engine>) -> Result<Self> {
        let ops = KBox::new(
            bindings::parcall_ops {
                engine: Arc::as_ptr(&engine).cast_mut().cast(),
                exceeds: Some(exceeds),
                run: Some(run),
                fork_begin: Some(fork_begin),
                fork_add: Some(fork_add),
                fork_drain: Some(fork_drain),
                fork_end: Some(fork_end),
            },
            GFP_KERNEL,
        )?;

        // SAFETY: The operations live on the heap, until after they were unregistered.
        to_result(unsafe { bindings::parcall_register(&*ops) })?;
        // INVARIANT: They have just been registered.
        Ok(Self {
            ops,
            _engine: engine,
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, these are registered.
        unsafe { bindings::parcall_unregister(&*self.ops) };
    }
}
