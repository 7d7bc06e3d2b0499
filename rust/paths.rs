// SPDX-License-Identifier: GPL-2.0

//! The kinds of call that are split.

use crate::policy::Path;

pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod populate;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod unmap;
pub(crate) mod write;

/// All of them.
pub(crate) static ALL: [&Path; 6] = [
    &fork::FORK,
    &read::READ,
    &write::WRITE,
    &populate::POPULATE,
    &exec::EXEC,
    &unmap::UNMAP,
];

/// Returns one of `enum parcall_path`.
pub(crate) fn path(id: kernel::bindings::parcall_path) -> Option<&'static Path> {
    ALL.into_iter().find(|path| path.stats.path == id)
}
