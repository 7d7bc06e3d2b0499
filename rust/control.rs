// SPDX-License-Identifier: GPL-2.0

//! The sysctl directory `kernel/parcall`, and the statistics in debugfs.

use crate::{
    hooks,
    paths::{
        self,
        fork,
        read,
        write, //
    },
    policy,
    settings, //
};
use kernel::{
    c_str,
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
    for path in paths::ALL {
        let wanted = || settings::ENABLED.is_on() && path.settings.on.is_on();
        loop {
            let on = wanted();
            hooks::switch(path, on)?;
            if wanted() == on {
                break;
            }
        }
    }
    Ok(())
}

/// A tunable that is a setting, from 0 to a maximum, and what is to be done once it has changed.
macro_rules! knob {
    ($name:expr, $max:expr, $setting:expr, $then:expr) => {
        Knob {
            name: c_str!($name),
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

/// The tunables of a path.
macro_rules! path_knobs {
    ($name:literal, $path:expr) => {
        [
            knob!($name, 1, $path.settings.on, switch_paths()),
            knob!(
                concat!($name, "_min_bytes"),
                i64::MAX as u64,
                $path.settings.min_bytes,
                {
                    hooks::set_floor(&$path);
                    Ok(())
                }
            ),
            Knob {
                name: c_str!(concat!($name, "_chunk_bytes")),
                mode: 0o644,
                bounds: 0..=i64::MAX as u64,
                get: || $path.settings.chunk_bytes.get(),
                set: |bytes| {
                    // Work cannot be cut any finer.
                    if bytes != 0 && bytes < $path.defaults.finest_chunk {
                        return Err(EINVAL);
                    }
                    $path.settings.chunk_bytes.set(bytes);
                    Ok(())
                },
            },
        ]
    };
}

static KNOBS: [&[Knob]; 4] = [
    &[
        knob!("enabled", 1, settings::ENABLED, switch_paths()),
        knob!(
            "max_workers",
            policy::MAX_WORKERS,
            settings::MAX_WORKERS,
            Ok(())
        ),
        knob!("idle_only", 1, settings::IDLE_ONLY, Ok(())),
    ],
    &path_knobs!("fork", fork::FORK),
    &path_knobs!("read", read::READ),
    &path_knobs!("write", write::WRITE),
];

struct Stats;

impl debugfs::Writer for Stats {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for path in paths::ALL {
            f.write_fmt(fmt!("{}{}\n", path.name, path.stats))?;
        }
        Ok(())
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
    _sysctl: KVec<Registration>,
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

        for path in paths::ALL {
            hooks::set_floor(path);
        }
        let mut sysctl = KVec::with_capacity(KNOBS.len(), GFP_KERNEL)?;
        for knobs in KNOBS {
            sysctl.push(Registration::new(c"kernel/parcall", knobs)?, GFP_KERNEL)?;
        }

        Ok(Self {
            _sysctl: sysctl,
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
