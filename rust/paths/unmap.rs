// SPDX-License-Identifier: GPL-2.0

//! Unmapping: what munmap(), exit and madvise(MADV_DONTNEED) zap.
//!
//! A position is a byte of the parts of areas that have page tables, one after the other. They are
//! cut where a page table ends. Helpers zap all but areas of which more has to be undone than their
//! page tables; those the caller keeps for itself. A caller that is killed unmaps all the same.
//!
//! C side: `mm/parcall_unmap.c`.

use super::fork::PAGE_TABLE_BYTES;
use crate::policy::{
    Defaults,
    Path, //
};
use kernel::bindings;

/// The unmap path.
pub(crate) static UNMAP: Path = Path::new(
    "unmap",
    bindings::parcall_path_PARCALL_UNMAP,
    Defaults {
        min_bytes: 8 << 20,
        chunk_bytes: PAGE_TABLE_BYTES as u64..=64 << 20,
        finest_chunk: PAGE_TABLE_BYTES as u64,
        unit: 1,
    },
    false,
);
