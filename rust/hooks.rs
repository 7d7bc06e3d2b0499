// SPDX-License-Identifier: GPL-2.0

//! All that passes between the C hooks and this module.
//!
//! C header: `include/linux/parcall.h`.

use crate::{
    engine::{
        Call,
        Engine, //
    },
    paths::fork,
    policy::{
        self,
        Mode,
        Request, //
    }, //
};
use core::ops::Range;
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
    },
    types::ForeignOwnable, //
};

/// Returns whether others can work for the current task with the same results.
pub(crate) fn current_may_split() -> bool {
    // SAFETY: There are no preconditions for this function.
    unsafe { bindings::parcall_current_may_split() }
}

/// Returns what the current task asks for.
pub(crate) fn current_request() -> Request {
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

/// Switches the fork path on or off.
pub(crate) fn switch_fork(on: bool) -> Result {
    // SAFETY: There are no preconditions for this function.
    to_result(unsafe { bindings::parcall_switch(bindings::parcall_path_PARCALL_FORK, on) })
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

/// Returns whether a process asks for more than the settings; see `struct parcall_ops`.
extern "C" fn exceeds(on: bool, workers: c_uint) -> bool {
    policy::exceeds(on, workers.into())
}

/// What C keeps of a fork's job.
type ForkCall = KBox<Call<fork::Fork>>;

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

    fork::begin(engine.into(), nr_pages as u64, nr_vmas as usize)
        .and_then(|call| KBox::new(call, GFP_KERNEL).ok())
        .map_or(core::ptr::null_mut(), ForkCall::into_foreign)
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
    let call = unsafe { ForkCall::borrow(job) };

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
    let call = unsafe { ForkCall::borrow(job) };

    from_result(|| call.drain().map(|()| 0))
}

/// Ends a job; see `struct parcall_ops`.
///
/// # Safety
///
/// `job` must be from [`fork_begin`], and not have ended.
unsafe extern "C" fn fork_end(job: *mut c_void) {
    // SAFETY: As in `fork_add`; the hooks do not use it any more.
    drop(unsafe { ForkCall::from_foreign(job) });
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
