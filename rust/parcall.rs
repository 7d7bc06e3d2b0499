// SPDX-License-Identifier: GPL-2.0

//! parcall: several CPUs inside one system call.
//!
//! The C hooks in the kernel hand the work of one call to this module, which splits it over idle
//! CPUs and joins them before the call returns. From top to bottom, each module knows only the ones
//! below it, but for hooks and paths, which know each other:
//!
//! - [`control`]: the sysctl directory and the statistics.
//! - [`hooks`]: all that passes between the C hooks and this module.
//! - [`paths`]: for each kind of call, what a chunk of it is, and how it is run.
//! - [`engine`]: jobs, how they are claimed, and the helpers that work on them.
//! - [`policy`]: which calls are split, over how many CPUs, into how large chunks; [`costs`]: what it
//!   knows of the machine, and has learned of calls.
//! - [`settings`], [`stats`] and [`trace`]: numbers that are set, counted and traced; [`faults`]: what
//!   is made to go wrong, for tests.
//! - `spawn`: measures how work gets to other CPUs and back; for tests, too.

use kernel::prelude::*;

mod control;
mod costs;
mod engine;
mod faults;
mod hooks;
mod paths;
mod policy;
mod settings;
#[cfg(CONFIG_PARCALL_DEBUG)]
mod spawn;
mod stats;
mod trace;

module! {
    type: Parcall,
    name: "parcall",
    authors: ["The parcall developers"],
    description: "Fork-join engine for split system calls",
    license: "GPL",
}

/// All that lives as long as the module; dropped in this order.
struct Parcall {
    _control: control::Control,
    _hooks: hooks::Registration,
    _engine: engine::Owner,
}

impl kernel::Module for Parcall {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let engine = engine::Owner::new()?;
        engine.share().calibrate();
        let hooks = hooks::Registration::new(engine.share())?;
        let control = control::Control::new(engine.share())?;

        Ok(Self {
            _control: control,
            _hooks: hooks,
            _engine: engine,
        })
    }
}
