// SPDX-License-Identifier: GPL-2.0

//! write(): the copy into the page cache.
//!
//! A position is a byte of the file. Chunks end where pages do. All of the source is held in memory
//! while it is copied, so that there is nothing that a chunk could decline for.
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

/// The write path.
pub(crate) static WRITE: Path = Path::new(
    "write",
    bindings::parcall_path_PARCALL_WRITE,
    Defaults {
        min_bytes: 1 << 20,
        chunk_bytes: 128 << 10..=2 << 20,
        finest_chunk: PAGE_SIZE as u64,
        unit: 1,
    },
    true,
);
