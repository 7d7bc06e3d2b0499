// SPDX-License-Identifier: GPL-2.0

//! exec() of a large static program, which is made here, by a process with much memory.

use crate::{
    report::report,
    runner::{self, RunArgs, Stopwatch},
};
use anyhow::{Context, Result, ensure};
use common::size::Size;
use serde::Serialize;
use std::{
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{self, Command},
};

const PAGE: u64 = 4096;
const BASE: u64 = 0x1000_0000;
const EHDR: u64 = 64;
const PHDR: u64 = 56;

/// The mode `serial` maps the program on demand, `parallel` ahead. What is measured is all from the
/// exec() to the end of the program, as its parent sees it.
#[derive(clap::Args)]
pub struct Args {
    /// How large the program is; all of it is in the page cache.
    #[arg(long, default_value = "64M")]
    size: Size,
    #[command(flatten)]
    program: ProgramArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Serialize)]
struct ProgramArgs {
    /// How many of its pages the program reads before it ends, in percent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    touch: u64,
    /// How much memory the parent has.
    #[arg(long, default_value = "1G")]
    #[serde(skip)]
    parent: Size,
}

/// The program's file, which is deleted in the end.
struct Program(PathBuf);

impl Program {
    fn new(bytes: u64, touch: u64) -> Result<Self> {
        let bytes = bytes.next_multiple_of(PAGE);
        let path = env::temp_dir().join(format!("userbench-exec-{}", process::id()));
        let mut image = header(bytes);
        image.extend(code(bytes / PAGE, touch));
        image.resize(bytes as usize, 0x90);

        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o700)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        let program = Self(path);
        file.write_all(&image).context("writing the program")?;
        Ok(program)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The headers of an x86-64 program that is one segment, to be read and executed.
fn header(bytes: u64) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| header.extend(bytes);

    put(&2u16.to_le_bytes()); // ET_EXEC
    put(&62u16.to_le_bytes()); // EM_X86_64
    put(&1u32.to_le_bytes());
    put(&(BASE + EHDR + PHDR).to_le_bytes()); // The entry point.
    put(&EHDR.to_le_bytes());
    put(&0u64.to_le_bytes());
    put(&0u32.to_le_bytes());
    for half in [EHDR as u16, PHDR as u16, 1, 0, 0, 0] {
        put(&half.to_le_bytes());
    }
    put(&1u32.to_le_bytes()); // PT_LOAD
    put(&5u32.to_le_bytes()); // PF_R | PF_X
    for word in [0, BASE, BASE, bytes, bytes, PAGE] {
        put(&word.to_le_bytes());
    }
    header
}

/// Reads some of the pages, and exits.
fn code(pages: u64, touch: u64) -> Vec<u8> {
    let mut code = Vec::new();

    if let Some(step) = 100u64.checked_div(touch) {
        code.extend(b"\x48\xbe"); // movabs $BASE, %rsi
        code.extend(BASE.to_le_bytes());
        code.extend(b"\x48\xb9"); // movabs $count, %rcx
        code.extend(pages.div_ceil(step).to_le_bytes());
        code.extend(b"\x48\xbf"); // movabs $step, %rdi
        code.extend((step * PAGE).to_le_bytes());
        code.extend(b"\x8a\x06"); // 1: mov (%rsi), %al
        code.extend(b"\x48\x01\xfe"); // add %rdi, %rsi
        code.extend(b"\x48\xff\xc9"); // dec %rcx
        code.extend(b"\x75\xf6"); // jnz 1b
    }
    code.extend(b"\x31\xff"); // xor %edi, %edi
    code.extend(b"\xb8\x3c\0\0\0"); // mov $SYS_exit, %eax
    code.extend(b"\x0f\x05"); // syscall
    code
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the program is one for x86-64"
    );
    let program = Program::new(args.size.0, args.program.touch)?;
    let parent = vec![1u8; args.program.parent.0 as usize];
    let what = format!("exec {}", args.size);
    let samples = runner::run(&args.run, &what, || {
        let watch = Stopwatch::start();
        // The standard library does not copy page tables for it.
        let status = Command::new(program.path())
            .status()
            .context("starting the program")?;
        let time = watch.stop();
        ensure!(status.success(), "the program ended with {status}");
        Ok(time)
    })?;
    drop(parent);
    report("exec", args.size, &args.run, &args.program, &samples)
}
