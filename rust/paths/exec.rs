// SPDX-License-Identifier: GPL-2.0

//! exec(): the new image, of which the pages that are cached are mapped ahead.
//!
//! A position is a byte of the addresses, from the program's first area to its last. Chunks end where
//! a page table does. Helpers map what is in the page cache, for reading; all else is left to be
//! mapped on demand, and nothing is replayed. It pays where much of a large program is going to be
//! used.
//!
//! C side: `__parcall_map_image()` in `mm/parcall_populate.c`.

use super::fork::PAGE_TABLE_BYTES;
use crate::policy::{
    Defaults,
    Path, //
};
use kernel::bindings;

/// The exec path.
pub(crate) static EXEC: Path = Path::new(
    "exec",
    bindings::parcall_path_PARCALL_EXEC,
    Defaults {
        min_bytes: 16 << 20,
        chunk_bytes: PAGE_TABLE_BYTES as u64..=32 << 20,
        finest_chunk: PAGE_TABLE_BYTES as u64,
        unit: 1,
    },
    true,
);
