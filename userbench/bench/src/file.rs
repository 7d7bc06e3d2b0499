// SPDX-License-Identifier: GPL-2.0

//! A cached file to read from or write to, and the memory for its contents.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::size::Size;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use serde::Serialize;
use std::{
    ffi::c_void,
    fs::{self, File, OpenOptions},
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    ptr::NonNull,
    slice,
};

#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct FileArgs {
    /// The file system of the file, which is made for it, and needs root.
    #[arg(long, value_enum, default_value_t = FileSystem::Tmpfs)]
    pub fs: FileSystem,
    /// What the file's pages in the cache are.
    #[arg(long, value_enum, default_value_t = Folio::Small)]
    pub folio: Folio,
    /// Whether the memory is there already, or is to come with the first access.
    #[arg(long, visible_alias = "dest", value_enum, default_value_t = Memory::Warm)]
    pub memory: Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    Tmpfs,
    Ext4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Folio {
    /// 4 KiB each.
    #[value(name = "4k")]
    #[serde(rename = "4k")]
    Small,
    /// As large as they can be, up to 2 MiB.
    #[serde(rename = "large")]
    Large,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    Warm,
    Fresh,
}

/// A file system that there is only for the benchmark.
struct Mount(PathBuf);

fn command(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| program.to_string())?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

fn mount(args: &[&str], at: &Path) -> Result<Mount> {
    fs::create_dir_all(at).with_context(|| at.display().to_string())?;
    command("mount", &[args, &[text(at)?]].concat())?;
    Ok(Mount(at.to_path_buf()))
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// The file. All of it is in the cache.
pub struct CachedFile {
    // In the order in which they are to be dropped.
    pub file: File,
    _mounts: Vec<Mount>,
}

impl CachedFile {
    pub fn new(size: usize, args: &FileArgs) -> Result<Self> {
        let base = std::env::temp_dir().join(format!("userbench-{}", std::process::id()));
        let huge = match (args.fs, args.folio) {
            (FileSystem::Tmpfs, Folio::Large) => "size=95%,huge=always",
            _ => "size=95%,huge=never",
        };
        let tmpfs = mount(
            &["-t", "tmpfs", "-o", huge, "none"],
            &base.with_extension("tmpfs"),
        )?;
        let mut mounts = vec![tmpfs];

        if args.fs == FileSystem::Ext4 {
            let image = mounts[0].0.join("image");
            let bytes = size as u64 + size as u64 / 4 + (64 << 20);
            File::create(&image)?.set_len(bytes)?;
            command("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)?])?;
            let options = ["-o", "loop,noatime", text(&image)?];
            mounts.insert(0, mount(&options, &base.with_extension("ext4"))?);
        }

        let path = mounts[0].0.join("file");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        // What is written at a time is the largest that a folio is made.
        let step = match args.folio {
            Folio::Small => 4 << 10,
            Folio::Large => 2 << 20,
        };
        let pattern: Vec<u8> = (0..step).map(expected).collect();
        for at in (0..size).step_by(step) {
            file.write_all_at(&pattern[..step.min(size - at)], at as u64)?;
        }
        file.sync_all()?;
        Ok(Self {
            file,
            _mounts: mounts,
        })
    }
}

/// Memory that is mapped for as long as it exists.
pub struct Mapping {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

impl Mapping {
    /// Anonymous memory, which is not there until it is touched.
    pub fn anonymous(size: usize) -> Result<Self> {
        let length = NonZeroUsize::new(size).context("no bytes")?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: A new mapping, at an address of the kernel's choice.
        let start = unsafe { mmap_anonymous(None, length, prot, MapFlags::MAP_PRIVATE) }
            .context("mapping memory")?;
        Ok(Self { start, length })
    }

    /// A file, to be read.
    pub fn file(file: &File, size: usize, flags: MapFlags) -> Result<Self> {
        let length = NonZeroUsize::new(size).context("no bytes")?;
        let flags = MapFlags::MAP_SHARED | flags;
        // SAFETY: A new mapping, at an address of the kernel's choice.
        let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, flags, file, 0) }
            .context("mapping the file")?;
        Ok(Self { start, length })
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: It is mapped, and nothing writes to it while this is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.length.get()) }
    }

    /// Only for anonymous memory.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: It is mapped, and only this can be used to access it.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length.get()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: This is our mapping, which nobody uses any more.
        let _ = unsafe { munmap(self.start, self.length.get()) };
    }
}

/// Where in its mapping the memory for a file's contents begins.
///
/// QEMU's TLB has one entry for all addresses that are the same modulo its size. Were the memory as
/// aligned as large folios are, a copy would look each of its words up anew, which takes it more
/// than ten times as long; or not, as the size of that TLB changes.
const OFFSET: usize = 9 * 4096;

/// The memory for a file's contents, warm or fresh.
pub struct Buffer {
    /// With what is left out.
    size: usize,
    kept: Option<Mapping>,
}

impl Buffer {
    pub fn new(size: Size, memory: Memory) -> Result<Self> {
        let size = size.0 as usize + OFFSET;
        let kept = match memory {
            Memory::Warm => {
                let mut mapping = Mapping::anonymous(size)?;
                mapping.bytes_mut().fill(1);
                Some(mapping)
            }
            Memory::Fresh => None,
        };
        Ok(Self { size, kept })
    }

    /// Gives a function the memory; what is fresh is unmapped afterwards.
    pub fn with<T>(&mut self, f: impl FnOnce(&mut [u8]) -> Result<T>) -> Result<T> {
        match &mut self.kept {
            Some(mapping) => f(&mut mapping.bytes_mut()[OFFSET..]),
            None => f(&mut Mapping::anonymous(self.size)?.bytes_mut()[OFFSET..]),
        }
    }
}

/// The byte at some position of a file that nobody has written to since; it is the same every 4 KiB.
pub fn expected(at: usize) -> u8 {
    let at = at % (4 << 10);
    (at * 7 + at / 256) as u8
}

/// How much each of some threads gets, so that all are done at the same time.
pub fn share(size: usize, threads: usize) -> usize {
    size.div_ceil(threads).next_multiple_of(4096)
}
