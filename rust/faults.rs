// SPDX-License-Identifier: GPL-2.0

//! What is made to go wrong, or slowly, for tests: nothing unless `CONFIG_PARCALL_DEBUG` is set.
//!
//! C header: `include/linux/parcall.h`.

use kernel::bindings;

/// What can be made to fail; as `enum parcall_fault`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Fault {
    /// To find a helper.
    Enlist = bindings::parcall_fault_PARCALL_FAULT_ENLIST,
    /// A helper's chunk: it declines all of it.
    Chunk = bindings::parcall_fault_PARCALL_FAULT_CHUNK,
    /// To spin for the last chunk: the caller sleeps.
    Join = bindings::parcall_fault_PARCALL_FAULT_JOIN,
}

impl Fault {
    /// Returns whether it is to fail now.
    #[inline]
    pub(crate) fn is_due(self) -> bool {
        #[cfg(CONFIG_PARCALL_DEBUG)]
        // SAFETY: There are no preconditions for this function.
        return unsafe { bindings::parcall_should_fail(self as bindings::parcall_fault) };
        #[cfg(not(CONFIG_PARCALL_DEBUG))]
        return false;
    }
}

/// Lets a helper that has claimed a chunk wait, before it works on it.
#[inline]
pub(crate) fn delay_helper() {
    #[cfg(CONFIG_PARCALL_DEBUG)]
    {
        let delay = crate::settings::HELPER_DELAY_US.get();
        if delay != 0 {
            kernel::time::delay::fsleep(kernel::time::Delta::from_micros(delay as i64));
        }
    }
}
