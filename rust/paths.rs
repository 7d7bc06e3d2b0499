// SPDX-License-Identifier: GPL-2.0

//! The kinds of call that are split.

use crate::policy::Path;

pub(crate) mod fork;
pub(crate) mod populate;
pub(crate) mod range;

/// All of them.
pub(crate) static ALL: [&Path; 2] = [&fork::FORK, &populate::POPULATE];

/// Returns one of `enum parcall_path`.
pub(crate) fn path(id: kernel::bindings::parcall_path) -> Option<&'static Path> {
    ALL.into_iter().find(|path| path.stats.path == id)
}
