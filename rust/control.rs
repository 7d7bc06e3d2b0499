// SPDX-License-Identifier: GPL-2.0

//! The sysctl directory `kernel/parcall`, and the statistics in debugfs.

use crate::{
    hooks,
    paths::fork,
    policy,
    settings,
    stats, //
};
use kernel::{
    debugfs,
    fmt,
    prelude::*,
    sysctl::{
        Knob,
        Registration, //
    }, //
};

/// Brings the switches of the paths in line with the settings, which others may change meanwhile.
fn switch_paths() -> Result {
    let wanted = || settings::ENABLED.is_on() && settings::FORK.on.is_on();
    loop {
        let on = wanted();
        hooks::switch_fork(on)?;
        if wanted() == on {
            return Ok(());
        }
    }
}

static KNOBS: [Knob; 6] = [
    Knob {
        name: c"enabled",
        mode: 0o644,
        bounds: 0..=1,
        get: || settings::ENABLED.get(),
        set: |on| {
            settings::ENABLED.set(on);
            switch_paths()
        },
    },
    Knob {
        name: c"fork",
        mode: 0o644,
        bounds: 0..=1,
        get: || settings::FORK.on.get(),
        set: |on| {
            settings::FORK.on.set(on);
            switch_paths()
        },
    },
    Knob {
        name: c"max_workers",
        mode: 0o644,
        bounds: 0..=policy::MAX_WORKERS,
        get: || settings::MAX_WORKERS.get(),
        set: |workers| {
            settings::MAX_WORKERS.set(workers);
            Ok(())
        },
    },
    Knob {
        name: c"idle_only",
        mode: 0o644,
        bounds: 0..=1,
        get: || settings::IDLE_ONLY.get(),
        set: |on| {
            settings::IDLE_ONLY.set(on);
            Ok(())
        },
    },
    Knob {
        name: c"fork_min_bytes",
        mode: 0o644,
        bounds: 0..=i64::MAX as u64,
        get: || settings::FORK.min_bytes.get(),
        set: |bytes| {
            settings::FORK.min_bytes.set(bytes);
            Ok(())
        },
    },
    Knob {
        name: c"fork_chunk_bytes",
        mode: 0o644,
        bounds: 0..=i64::MAX as u64,
        get: || settings::FORK.chunk_bytes.get(),
        set: |bytes| {
            // Work is cut where page tables end.
            if bytes != 0 && bytes < fork::PAGE_TABLE_BYTES as u64 {
                return Err(EINVAL);
            }
            settings::FORK.chunk_bytes.set(bytes);
            Ok(())
        },
    },
];

struct Stats;

impl debugfs::Writer for Stats {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("fork{}\n", stats::FORK))
    }
}

/// `debug/caller_delay_us`: see [`settings::CALLER_DELAY_US`].
#[cfg(CONFIG_PARCALL_DEBUG)]
struct CallerDelay;

#[cfg(CONFIG_PARCALL_DEBUG)]
impl debugfs::Writer for CallerDelay {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}\n", settings::CALLER_DELAY_US.get()))
    }
}

#[cfg(CONFIG_PARCALL_DEBUG)]
impl debugfs::Reader for CallerDelay {
    fn read_from_slice(&self, reader: &mut kernel::uaccess::UserSliceReader) -> Result {
        let mut delay = kernel::sync::atomic::Atomic::<u64>::new(0);
        delay.read_from_slice(reader)?;
        settings::CALLER_DELAY_US.set((*delay.get_mut()).min(1_000_000));
        Ok(())
    }
}

/// The files, for as long as it exists.
pub(crate) struct Control {
    _sysctl: Registration,
    _stats: Pin<KBox<debugfs::File<Stats>>>,
    #[cfg(CONFIG_PARCALL_DEBUG)]
    _caller_delay: Pin<KBox<debugfs::File<CallerDelay>>>,
    _debugfs: debugfs::Dir,
}

impl Control {
    pub(crate) fn new() -> Result<Self> {
        let debugfs = debugfs::Dir::new(c"parcall");
        let stats = KBox::pin_init(
            debugfs.read_only_file::<_, Error>(c"stats", Ok(Stats)),
            GFP_KERNEL,
        )?;

        Ok(Self {
            _sysctl: Registration::new(c"kernel/parcall", &KNOBS)?,
            _stats: stats,
            #[cfg(CONFIG_PARCALL_DEBUG)]
            _caller_delay: KBox::pin_init(
                debugfs
                    .subdir(c"debug")
                    .read_write_file::<_, Error>(c"caller_delay_us", Ok(CallerDelay)),
                GFP_KERNEL,
            )?,
            _debugfs: debugfs,
        })
    }
}
