// SPDX-License-Identifier: GPL-2.0

//! parcall's sysctl directory.

use crate::prctl::Setting;
use anyhow::{Context, Result, anyhow};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub const DIR: &str = "/proc/sys/kernel/parcall";
/// The same, as sysctl(8) names it.
pub const PREFIX: &str = "kernel.parcall";

pub const NO_PARCALL: &str = "this kernel has no parcall (CONFIG_PARCALL)";
pub const NOT_LOADED: &str = "the parcall module is not loaded (modprobe parcall)";

/// All tunables and their values, by name.
pub fn all() -> Result<Vec<(String, u64)>> {
    let mut names = fs::read_dir(DIR)
        .map_err(|_| missing())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    names
        .into_iter()
        .map(|name| get(&name).map(|value| (name, value)))
        .collect()
}

/// The value of a tunable.
pub fn get(name: &str) -> Result<u64> {
    let path = path(name);
    let context = || path.display().to_string();
    let value = fs::read_to_string(&path).with_context(context)?;
    value.trim().parse().with_context(context)
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Why there is no directory.
fn missing() -> anyhow::Error {
    let why = match Setting::get() {
        Ok(_) => NOT_LOADED,
        Err(_) => NO_PARCALL,
    };
    anyhow!("{why}: {DIR} is missing")
}

/// Writes tunables, and puts back what they were when dropped.
pub struct Tunables {
    saved: Vec<(PathBuf, String)>,
}

impl Tunables {
    pub fn open() -> Result<Self> {
        if Path::new(DIR).is_dir() {
            Ok(Self { saved: Vec::new() })
        } else {
            Err(missing())
        }
    }

    /// Sets a tunable until `self` is dropped.
    pub fn set(&mut self, name: &str, value: u64) -> Result<()> {
        self.save(name)?;
        let path = path(name);
        fs::write(&path, value.to_string())
            .with_context(|| format!("setting {} to {value}", path.display()))
    }

    /// Puts back what a tunable is now when `self` is dropped, whoever sets it meanwhile.
    pub fn save(&mut self, name: &str) -> Result<()> {
        let path = path(name);
        if self.saved.iter().all(|(saved, _)| *saved != path) {
            let old = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            self.saved.push((path, old));
        }
        Ok(())
    }
}

impl Drop for Tunables {
    fn drop(&mut self) {
        for (path, value) in self.saved.drain(..).rev() {
            if let Err(error) = fs::write(&path, value) {
                eprintln!("could not restore {}: {error}", path.display());
            }
        }
    }
}
