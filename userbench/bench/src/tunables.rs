// SPDX-License-Identifier: GPL-2.0

//! parcall's sysctl directory.

use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

const DIR: &str = "/proc/sys/kernel/parcall";

/// Writes tunables, and puts back what they were when dropped.
pub struct Tunables {
    saved: Vec<(PathBuf, String)>,
}

impl Tunables {
    pub fn open() -> Result<Self> {
        ensure!(
            Path::new(DIR).is_dir(),
            "this kernel has no parcall: {DIR} is missing (is the module loaded?)"
        );
        Ok(Self { saved: Vec::new() })
    }

    /// Sets a tunable until `self` is dropped.
    pub fn set(&mut self, name: &str, value: u64) -> Result<()> {
        let path = Path::new(DIR).join(name);
        let context = || format!("setting {} to {value}", path.display());

        if self.saved.iter().all(|(saved, _)| *saved != path) {
            let old = fs::read_to_string(&path).with_context(context)?;
            self.saved.push((path.clone(), old));
        }
        fs::write(&path, value.to_string()).with_context(context)
    }
}

impl Drop for Tunables {
    fn drop(&mut self) {
        for (path, value) in self.saved.drain(..).rev() {
            if let Err(error) = fs::write(&path, value) {
                eprintln!("userbench: could not restore {}: {error}", path.display());
            }
        }
    }
}
