// SPDX-License-Identifier: GPL-2.0

//! What `userbench` and `parcall` share.

pub mod machine;
pub mod mark;
pub mod prctl;
pub mod record;
pub mod region;
pub mod size;
pub mod sorted;
pub mod stats;
pub mod suite;
pub mod tunables;
