// SPDX-License-Identifier: GPL-2.0

//! read(): the copy out of the page cache.
//!
//! A position is a byte of the destination. Chunks end where its pages do, or its huge pages where it
//! is to have some, so that no two tasks fault in the same one. What is not in the page cache is
//! declined; the call is serial from there on.
//!
//! C side: `mm/parcall_rw.c`.

use crate::policy::{
    Defaults,
    Path, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE, //
};

/// The read path.
pub(crate) static READ: Path = Path::new(
    "read",
    bindings::parcall_path_PARCALL_READ,
    Defaults {
        min_bytes: 1 << 20,
        chunk_bytes: 128 << 10..=2 << 20,
        finest_chunk: PAGE_SIZE as u64,
        unit: 1,
    },
    true,
);
