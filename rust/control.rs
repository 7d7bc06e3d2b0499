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

/// A tunable that is a setting, from 0 to a maximum, and what is to be done once it has changed.
macro_rules! knob {
    ($name:literal, $max:expr, $setting:expr, $then:expr) => {
        Knob {
            name: $name,
            mode: 0o644,
            bounds: 0..=$max,
            get: || $setting.get(),
            set: |value| {
                $setting.set(value);
                $then
            },
        }
    };
}

static KNOBS: [Knob; 6] = [
    knob!(c"enabled", 1, settings::ENABLED, switch_paths()),
    knob!(c"fork", 1, settings::FORK.on, switch_paths()),
    knob!(
        c"max_workers",
        policy::MAX_WORKERS,
        settings::MAX_WORKERS,
        Ok(())
    ),
    knob!(c"idle_only", 1, settings::IDLE_ONLY, Ok(())),
    knob!(
        c"fork_min_bytes",
        i64::MAX as u64,
        settings::FORK.min_bytes,
        Ok(())
    ),
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
