// SPDX-License-Identifier: GPL-2.0

//! The module's own `claims.rs`, on the atomics of loom instead of the kernel's.

extern crate self as kernel;

#[path = "../../rust/engine/claims.rs"]
pub mod claims;

/// What `claims.rs` uses of the kernel crate.
pub mod sync {
    /// Atomics of which loom tries all interleavings, and all values that a load may return.
    pub mod atomic {
        use loom::sync::atomic::{AtomicU64, Ordering};
        use std::marker::PhantomData;

        /// The kernel's fully ordered operations are stronger. This is all that is relied on.
        pub use Ordering::AcqRel as Full;
        pub use Ordering::{Acquire, Relaxed, Release};

        pub struct Atomic<T>(AtomicU64, PhantomData<T>);

        impl Atomic<u64> {
            pub fn new(value: u64) -> Self {
                Self(AtomicU64::new(value), PhantomData)
            }

            pub fn load(&self, order: Ordering) -> u64 {
                self.0.load(order)
            }

            pub fn store(&self, value: u64, order: Ordering) {
                self.0.store(value, order);
            }

            /// As in the kernel, it orders nothing where it fails.
            pub fn cmpxchg(&self, old: u64, new: u64, order: Ordering) -> Result<u64, u64> {
                self.0.compare_exchange(old, new, order, Relaxed)
            }
        }
    }
}
