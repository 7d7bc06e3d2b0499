// SPDX-License-Identifier: GPL-2.0

//! Memory that is populated on request: `mmap(MAP_POPULATE)`, `mlock()`, `madvise(MADV_POPULATE_*)`.
//!
//! A position is a byte of the addresses. Chunks end where a page table does, so that huge pages stay
//! possible. What is paid for is mostly that pages are cleared: a huge page takes about as long as
//! the small ones that fill a chunk of a quarter of its size.
//!
//! C side: `mm/parcall_populate.c`.

use super::fork::PAGE_TABLE_BYTES;
use crate::policy::{
    Defaults,
    Path, //
};
use kernel::bindings;

/// The populate path.
pub(crate) static POPULATE: Path = Path::new(
    "populate",
    bindings::parcall_path_PARCALL_POPULATE,
    Defaults {
        min_bytes: 4 << 20,
        chunk_bytes: PAGE_TABLE_BYTES as u64..=32 << 20,
        finest_chunk: PAGE_TABLE_BYTES as u64,
        unit: 1,
    },
    true,
);
