// SPDX-License-Identifier: GPL-2.0

//! What happens, one event at a time.
//!
//! C header: `include/trace/events/parcall.h`.

use kernel::{
    prelude::*,
    tracepoint::declare_trace, //
};

mod raw {
    use super::*;

    declare_trace! {
        /// # Safety
        ///
        /// Always safe to call.
        pub(super) unsafe fn job_start(job: *const c_void, path: c_int, units: u64, width: u32);

        /// # Safety
        ///
        /// Always safe to call.
        pub(super) unsafe fn helper_start(job: *const c_void, cpu: u32, wake_ns: u64);

        /// # Safety
        ///
        /// Always safe to call.
        pub(super) unsafe fn chunk(job: *const c_void, start: u64, units: u64, helper: bool);

        /// # Safety
        ///
        /// Always safe to call.
        pub(super) unsafe fn join(job: *const c_void, wait_ns: u64, helper_ns: u64);

        /// # Safety
        ///
        /// Always safe to call.
        pub(super) unsafe fn decline(path: c_int, reason: c_int);
    }
}

/// A call is going to be split.
pub(crate) fn job_start(job: *const c_void, path: i32, units: u64, width: u32) {
    // SAFETY: Always safe to call.
    unsafe { raw::job_start(job, path, units, width) }
}

/// A helper begins to work.
pub(crate) fn helper_start(job: *const c_void, cpu: u32, wake_ns: u64) {
    // SAFETY: Always safe to call.
    unsafe { raw::helper_start(job, cpu, wake_ns) }
}

/// A chunk was worked on.
pub(crate) fn chunk(job: *const c_void, start: u64, units: u64, helper: bool) {
    // SAFETY: Always safe to call.
    unsafe { raw::chunk(job, start, units, helper) }
}

/// A caller has waited for its helpers.
pub(crate) fn join(job: *const c_void, wait_ns: u64, helper_ns: u64) {
    // SAFETY: Always safe to call.
    unsafe { raw::join(job, wait_ns, helper_ns) }
}

/// A call stays serial, or a part of one is left to the caller.
pub(crate) fn decline(path: i32, reason: i32) {
    // SAFETY: Always safe to call.
    unsafe { raw::decline(path, reason) }
}
