// SPDX-License-Identifier: GPL-2.0

//! The same with io_uring: some threads with a ring each, as such programs do it.

use crate::file::share;
use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, squeue::Entry, types};
use std::{fs::File, os::fd::AsRawFd, thread};

/// How much a request is, and how many are under way.
const REQUEST: usize = 1 << 20;
const DEPTH: usize = 8;

/// A part of the memory, as its address: requests outlive borrows.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    length: usize,
    at: u64,
}

impl Part {
    fn requests(self) -> impl Iterator<Item = Part> {
        (0..self.length).step_by(REQUEST).map(move |from| Part {
            start: self.start + from,
            length: REQUEST.min(self.length - from),
            at: self.at + from as u64,
        })
    }
}

fn complete(part: Part, entry: impl Fn(Part) -> Entry) -> Result<()> {
    let mut ring = IoUring::new(DEPTH as u32).context("io_uring")?;
    let mut requests = part.requests().enumerate().peekable();
    let mut lengths = Vec::new();
    let mut pending = 0;

    while pending > 0 || requests.peek().is_some() {
        while pending < DEPTH
            && let Some((index, request)) = requests.next()
        {
            lengths.push(request.length);
            // SAFETY: The memory is borrowed by `each` until all requests are complete.
            unsafe {
                ring.submission()
                    .push(&entry(request).user_data(index as u64))
            }?;
            pending += 1;
        }
        ring.submit_and_wait(1)?;
        for done in ring.completion() {
            pending -= 1;
            ensure!(
                done.result() == lengths[done.user_data() as usize] as i32,
                "a request has ended with {}",
                done.result()
            );
        }
    }
    Ok(())
}

fn each(
    start: usize,
    length: usize,
    threads: usize,
    entry: impl Fn(Part) -> Entry + Sync,
) -> Result<()> {
    let share = share(length, threads);
    let entry = &entry;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..length)
            .step_by(share)
            .map(|from| {
                let part = Part {
                    start: start + from,
                    length: share.min(length - from),
                    at: from as u64,
                };
                scope.spawn(move || complete(part, entry))
            })
            .collect();
        for worker in workers {
            worker.join().expect("a thread has panicked")?;
        }
        Ok(())
    })
}

pub fn read(file: &File, to: &mut [u8], threads: usize) -> Result<()> {
    let fd = types::Fd(file.as_raw_fd());
    each(to.as_mut_ptr() as usize, to.len(), threads, |part| {
        opcode::Read::new(fd, part.start as *mut u8, part.length as u32)
            .offset(part.at)
            .build()
    })
}

pub fn write(file: &File, from: &[u8], threads: usize) -> Result<()> {
    let fd = types::Fd(file.as_raw_fd());
    each(from.as_ptr() as usize, from.len(), threads, |part| {
        opcode::Write::new(fd, part.start as *const u8, part.length as u32)
            .offset(part.at)
            .build()
    })
}
