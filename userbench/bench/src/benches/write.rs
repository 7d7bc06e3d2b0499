// SPDX-License-Identifier: GPL-2.0

//! write() to a cached file, and what programs do instead.

use crate::{
    file::{Buffer, CachedFile, FileArgs, share},
    report::report,
    runner::{self, RunArgs, Stopwatch},
    uring,
};
use anyhow::{Result, bail, ensure};
use common::{record::Mode, size::Size};
use serde::Serialize;
use std::{fs::File, os::unix::fs::FileExt, thread, time::Duration};

#[derive(clap::Args)]
pub struct Args {
    /// How much is written, in one call.
    #[arg(long, default_value = "256M")]
    size: Size,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Serialize)]
struct WriteArgs {
    #[command(flatten)]
    #[serde(flatten)]
    file: FileArgs,
    /// Write to a file that is empty, instead of over what there is.
    #[arg(long)]
    append: bool,
}

fn write_on_threads(file: &File, from: &[u8], threads: usize) -> Result<()> {
    let share = share(from.len(), threads);
    thread::scope(|scope| {
        let writers: Vec<_> = from
            .chunks(share)
            .enumerate()
            .map(|(i, part)| scope.spawn(move || file.write_all_at(part, (i * share) as u64)))
            .collect();
        for writer in writers {
            writer.join().expect("a thread has panicked")?;
        }
        Ok(())
    })
}

fn measure(file: &File, from: &mut [u8], mode: Mode, threads: usize) -> Result<Duration> {
    let last = from.len() - 1;
    from[last] = from[last].wrapping_add(1);

    let watch = Stopwatch::start();
    match mode {
        Mode::Serial | Mode::Parallel => file.write_all_at(from, 0)?,
        Mode::Threads => write_on_threads(file, from, threads)?,
        Mode::Uring => uring::write(file, from, threads)?,
        _ => bail!("writes have no mode '{}'", mode.name()),
    }
    let time = watch.stop();

    let mut byte = [0];
    file.read_exact_at(&mut byte, last as u64)?;
    ensure!(byte[0] == from[last], "what was written is not in the file");
    Ok(time)
}

pub fn run(args: &Args) -> Result<()> {
    let size = args.size.0 as usize;
    let file = CachedFile::new(size, &args.write.file)?;
    let mut buffer = Buffer::new(args.size, args.write.file.memory)?;
    let threads = args.run.threads()?;
    let what = format!("write {}", args.size);
    let samples = runner::run_modes(&args.run, &what, |mode| {
        if args.write.append {
            file.file.set_len(0)?;
        }
        // What was written before is not to be written back meanwhile.
        file.file.sync_all()?;
        buffer.with(|from| measure(&file.file, from, mode, threads))
    })?;
    report("write", args.size, &args.run, &args.write, &samples)
}
