// SPDX-License-Identifier: GPL-2.0

//! The sysctl directory `kernel/parcall`, and the statistics in debugfs.

#[cfg(CONFIG_PARCALL_DEBUG)]
use crate::spawn::Spawn;
use crate::{
    costs::MACHINE,
    engine::Engine,
    hooks,
    paths::{
        self,
        exec,
        fork,
        populate,
        read,
        unmap,
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
    sync::Arc,
    sysctl::{
        Knob,
        Registration, //
    },
    uaccess::UserSliceReader, //
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

static KNOBS: [&[Knob]; 7] = [
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
    &path_knobs!("populate", populate::POPULATE),
    &path_knobs!("exec", exec::EXEC),
    &path_knobs!("unmap", unmap::UNMAP),
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

/// What is known of costs. To write anything forgets what was learned, and measures the rest anew.
struct Calibration(Arc<Engine>);

impl debugfs::Writer for Calibration {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("machine {MACHINE}\n"))?;
        paths::ALL
            .into_iter()
            .try_for_each(|path| path.costs.show(path.name, f))
    }
}

impl debugfs::Reader for Calibration {
    fn read_from_slice(&self, _reader: &mut UserSliceReader) -> Result {
        for path in paths::ALL {
            path.costs.reset();
        }
        self.0.calibrate();
        Ok(())
    }
}

/// `debug/*_delay_us`.
#[cfg(CONFIG_PARCALL_DEBUG)]
struct Delay(&'static settings::Setting);

#[cfg(CONFIG_PARCALL_DEBUG)]
impl debugfs::Writer for Delay {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}\n", self.0.get()))
    }
}

#[cfg(CONFIG_PARCALL_DEBUG)]
impl debugfs::Reader for Delay {
    fn read_from_slice(&self, reader: &mut UserSliceReader) -> Result {
        let mut delay = kernel::sync::atomic::Atomic::<u64>::new(0);
        delay.read_from_slice(reader)?;
        self.0.set((*delay.get_mut()).min(1_000_000));
        Ok(())
    }
}

/// The files for tests.
#[cfg(CONFIG_PARCALL_DEBUG)]
struct Debug {
    _caller_delay: Pin<KBox<debugfs::File<Delay>>>,
    _helper_delay: Pin<KBox<debugfs::File<Delay>>>,
    _spawn: Pin<KBox<debugfs::File<Spawn>>>,
}

#[cfg(CONFIG_PARCALL_DEBUG)]
impl Debug {
    fn new(parent: &debugfs::Dir, engine: Arc<Engine>) -> Result<Self> {
        let dir = parent.subdir(c"debug");
        let delay = |name, setting| {
            let file = dir.read_write_file::<_, Error>(name, Ok(Delay(setting)));
            KBox::pin_init(file, GFP_KERNEL)
        };
        Ok(Self {
            _caller_delay: delay(c"caller_delay_us", &settings::CALLER_DELAY_US)?,
            _helper_delay: delay(c"helper_delay_us", &settings::HELPER_DELAY_US)?,
            _spawn: KBox::pin_init(
                dir.read_write_file(c"spawn", Spawn::new(engine)),
                GFP_KERNEL,
            )?,
        })
    }
}

/// The files, for as long as it exists.
pub(crate) struct Control {
    _sysctl: KVec<Registration>,
    _stats: Pin<KBox<debugfs::File<Stats>>>,
    _calibration: Pin<KBox<debugfs::File<Calibration>>>,
    #[cfg(CONFIG_PARCALL_DEBUG)]
    _debug: Debug,
    _debugfs: debugfs::Dir,
}

impl Control {
    pub(crate) fn new(engine: Arc<Engine>) -> Result<Self> {
        let debugfs = debugfs::Dir::new(c"parcall");
        let stats = KBox::pin_init(
            debugfs.read_only_file::<_, Error>(c"stats", Ok(Stats)),
            GFP_KERNEL,
        )?;
        let calibration = KBox::pin_init(
            debugfs.read_write_file::<_, Error>(c"calibration", Ok(Calibration(engine.clone()))),
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
            _calibration: calibration,
            #[cfg(CONFIG_PARCALL_DEBUG)]
            _debug: Debug::new(&debugfs, engine.clone())?,
            _debugfs: debugfs,
        })
    }
}
