// SPDX-License-Identifier: GPL-2.0

//! Small calls, which are never worth to be split. On a guest of which a nanosecond is an instruction
//! (`ACCEL=icount SMP=1 make boot`), what they take is the same each time.

use crate::{
    report::report,
    runner::{self, RunArgs},
};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use common::{size::Size, sorted::Sorted};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        mman::{MapFlags, ProtFlags, mmap_anonymous, munmap},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};
use serde::Serialize;
use std::{
    env,
    ffi::CString,
    fs::{self, File},
    num::NonZeroUsize,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Args {
    /// The call.
    #[arg(value_enum)]
    call: Call,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Call {
    /// From fork() of a small process until the child runs.
    Fork,
    /// From _exit() of that child until its parent has waited for it.
    Exit,
    /// From execve() of a program that does nothing until its parent has waited for it.
    Execve,
    /// pread() of 4 KiB that are cached.
    Read,
    /// pwrite() to 4 KiB that are cached.
    Write,
    /// mmap() of 16 KiB, a write to each page, and munmap().
    Mmap,
}

const PAGE: usize = 4096;

/// How many calls are a measurement.
const CALLS: usize = 100;

/// A static program for x86-64 that exits at once: `mov $60, %eax; xor %edi, %edi; syscall`.
const PROGRAM: &[u8] = &{
    const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    const SIZE: usize = 64 + 56 + CODE.len();
    const BASE: u32 = 0x40_0000;
    let mut elf = [0; SIZE];
    let mut at = 0;
    // Words of 4 bytes, little endian: the header of the file, and of its only segment.
    let words = [
        0x464c_457f,
        0x0001_0102,
        0,
        0, // ELF, 64 bits
        0x003e_0002,
        1,
        BASE + 120,
        0, // a program, where it starts
        64,
        0,
        0,
        0, // where the segment's header is
        0,
        0x0038_0040,
        1,
        0, // their sizes, and how many
        1,
        5,
        0,
        0, // to be loaded, to be read and executed
        BASE,
        0,
        BASE,
        0, // where to
        SIZE as u32,
        0,
        SIZE as u32,
        0, // how much
        PAGE as u32,
        0,
    ];
    while at < 120 {
        elf[at] = words[at / 4].to_le_bytes()[at % 4];
        at += 1;
    }
    while at < SIZE {
        elf[at] = CODE[at - 120];
        at += 1;
    }
    elf
};

#[derive(Serialize)]
struct Parameters {
    call: Call,
}

/// A word that is shared with children.
struct Shared(std::ptr::NonNull<AtomicU64>);

impl Shared {
    fn new() -> Result<Self> {
        let size = NonZeroUsize::new(PAGE).expect("not 0");
        // SAFETY: A new mapping, at an address of the kernel's choice, which is never unmapped.
        let page = unsafe {
            mmap_anonymous(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
            )
        }?;
        Ok(Self(page.cast()))
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: It is aligned, as a page is, and there for good; any bits are a number.
        unsafe { self.0.as_ref() }
    }
}

/// A file of one page on ramfs, where reads and writes are those of the page cache alone.
struct Files {
    data: File,
    program: CString,
}

impl Files {
    fn new() -> Result<Self> {
        let none = None::<&Path>;
        let directory: PathBuf = env::temp_dir();
        // Nobody else sees it, and it goes away with this process.
        unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(none, &directory, Some("ramfs"), MsFlags::empty(), none).context("ramfs")?;

        let path = directory.join("data");
        fs::write(&path, [1; PAGE])?;
        let data = File::options().read(true).write(true).open(&path)?;
        let path = directory.join("program");
        fs::write(&path, PROGRAM)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let program = CString::new(path.as_os_str().as_bytes())?;
        Ok(Self { data, program })
    }
}

/// Forks a child, which does something and exits, and returns the times of `fork()`, of when the
/// child set the word that they share, and of when it was waited for.
fn child(start: Instant, shared: &Shared, act: impl FnOnce()) -> Result<[u64; 3]> {
    let now = || start.elapsed().as_nanos() as u64;
    let before = now();
    // SAFETY: There is one thread; the child does as little as a child of many could.
    let child = match unsafe { fork() }.context("fork")? {
        ForkResult::Child => {
            shared.word().store(now(), SeqCst);
            act();
            // SAFETY: This ends the child at once, which is fine for a single thread.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => child,
    };
    let status = waitpid(child, None).context("waitpid")?;
    let after = now();
    ensure!(
        status == WaitStatus::Exited(child, 0),
        "the child ended with {status:?}"
    );
    Ok([before, shared.word().load(SeqCst), after])
}

/// The median of many calls: interrupts, and what the kernel puts off, fall upon few of them.
fn measure(call: Call, files: &Files, shared: &Shared) -> Result<Duration> {
    let start = Instant::now();
    let mut page = [2; PAGE];
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let before = start.elapsed().as_nanos() as u64;
        times.push(match call {
            Call::Fork => {
                let [before, ran, _] = child(start, shared, || ())?;
                ran - before
            }
            Call::Exit => {
                let [_, ran, after] = child(start, shared, || ())?;
                after - ran
            }
            Call::Execve => {
                let nothing = [std::ptr::null()];
                let [_, ran, after] = child(start, shared, || {
                    let program = files.program.as_ptr();
                    // SAFETY: A path that ends with 0, and lists that end with a null pointer.
                    unsafe { nix::libc::execve(program, nothing.as_ptr(), nothing.as_ptr()) };
                    // SAFETY: This ends the child at once, so that its parent notices.
                    unsafe { nix::libc::_exit(127) }
                })?;
                after - ran
            }
            Call::Read => {
                files.data.read_exact_at(&mut page, 0)?;
                start.elapsed().as_nanos() as u64 - before
            }
            Call::Write => {
                files.data.write_all_at(&page, 0)?;
                start.elapsed().as_nanos() as u64 - before
            }
            Call::Mmap => {
                map_and_unmap()?;
                start.elapsed().as_nanos() as u64 - before
            }
        });
    }
    Ok(Duration::from_nanos(Sorted::new(&times).median()))
}

fn map_and_unmap() -> Result<()> {
    let size = NonZeroUsize::new(4 * PAGE).expect("not 0");
    // SAFETY: A new mapping, at an address of the kernel's choice.
    let memory = unsafe {
        mmap_anonymous(
            None,
            size,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    }?;
    for page in 0..4 {
        // SAFETY: These are our pages.
        unsafe { memory.cast::<u8>().add(page * PAGE).write_volatile(1) };
    }
    // SAFETY: Nobody uses it any more.
    Ok(unsafe { munmap(memory, size.get()) }?)
}

pub fn run(args: &Args) -> Result<()> {
    let (files, shared) = (Files::new()?, Shared::new()?);
    let samples = runner::run(&args.run, "overhead", || {
        measure(args.call, &files, &shared)
    })?;
    let parameters = Parameters { call: args.call };
    let size = Size(PAGE as u64);
    report("overhead", size, &args.run, &parameters, &samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, id};

    #[test]
    fn the_program_exits() {
        let path = env::temp_dir().join(format!("userbench-program-{}", id()));
        fs::write(&path, PROGRAM).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let status = Command::new(&path).status();
        fs::remove_file(&path).unwrap();
        assert!(status.unwrap().success());
    }
}
