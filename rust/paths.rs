// SPDX-License-Identifier: GPL-2.0

//! The kinds of call that are split.

pub(crate) mod fork;
