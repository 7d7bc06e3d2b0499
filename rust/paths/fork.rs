// SPDX-License-Identifier: GPL-2.0

//! fork(): the copy of the page tables.
//!
//! A position is a page of the areas that are copied, or parts of areas, in the order in which the
//! forking task hands them over. They may be cut where a page table ends, and at their end, where two
//! tasks may work in the same page table, under its lock. Helpers copy all that takes nothing but
//! memory that is free; what needs the forking task, such as pages that are pinned and must be copied
//! at once, they decline.
//!
//! C side: `mm/parcall.c`, and `parcall_fork_chunk()` in `mm/memory.c`.

use crate::{
    engine::{
        Call,
        Engine,
        Role,
        Stopped,
        Work, //
    },
    hooks,
    policy::{
        self,
        Defaults, //
    }, //
};
use core::ops::Range;
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        SetOnce, //
    }, //
};

/// What the lowest page table maps: it is one page of 8 byte entries.
pub(crate) const PAGE_TABLE_BYTES: usize = PAGE_SIZE / size_of::<u64>() * PAGE_SIZE;

/// The fork path.
pub(crate) static FORK: policy::Path = policy::Path::new(
    "fork",
    bindings::parcall_path_PARCALL_FORK,
    Defaults {
        min_bytes: 16 << 20,
        chunk_bytes: PAGE_TABLE_BYTES as u64..=64 << 20,
        finest_chunk: PAGE_TABLE_BYTES as u64,
        unit: PAGE_SIZE as u64,
    },
    true,
);

/// How many parts there may be beyond one for each area. Parts of an area are a gigabyte at least.
const EXTRA_PARTS: usize = 256;

/// An area that is copied, or a part of one.
struct Segment<A> {
    areas: A,
    start: usize,
    pages: u64,
    /// The position of its first page.
    first: u64,
}

impl<A> Segment<A> {
    fn end(&self) -> u64 {
        self.first + self.pages
    }

    fn addr(&self, at: u64) -> usize {
        self.start + (at - self.first) as usize * PAGE_SIZE
    }

    fn position(&self, addr: usize) -> u64 {
        self.first + (addr.saturating_sub(self.start) / PAGE_SIZE) as u64
    }

    /// The first position from `at` on where the area may be cut.
    fn cut(&self, at: u64) -> u64 {
        let addr = self.addr(at).next_multiple_of(PAGE_TABLE_BYTES);
        self.position(addr).min(self.end())
    }
}

/// The areas of a fork, one after the other. Only the forking task adds to them.
struct Segments<A> {
    segments: KVVec<SetOnce<Segment<A>>>,
    len: Atomic<usize>,
}

impl<A> Segments<A> {
    fn with_capacity(capacity: usize) -> Result<Self> {
        let mut segments = KVVec::with_capacity(capacity, GFP_KERNEL | __GFP_NOWARN)?;
        for _ in 0..capacity {
            segments.push(SetOnce::new(), GFP_KERNEL)?;
        }
        Ok(Self {
            segments,
            len: Atomic::new(0),
        })
    }

    fn get(&self, index: usize) -> Option<&Segment<A>> {
        self.segments.get(index)?.as_ref()
    }

    /// All positions there are.
    fn end(&self) -> u64 {
        let len = self.len.load(Acquire);
        len.checked_sub(1)
            .and_then(|last| self.get(last))
            .map_or(0, Segment::end)
    }

    /// Adds an area. Returns whether there was room.
    fn push(&self, areas: A, addrs: Range<usize>) -> bool {
        let len = self.len.load(Acquire);
        let segment = Segment {
            areas,
            start: addrs.start,
            pages: (addrs.len() / PAGE_SIZE) as u64,
            first: self.end(),
        };
        let added = self
            .segments
            .get(len)
            .is_some_and(|free| free.populate(segment));
        if added {
            self.len.store(len + 1, Release);
        }
        added
    }

    /// The index of the area that a position is in.
    fn find(&self, at: u64) -> usize {
        self.segments
            .partition_point(|segment| segment.as_ref().is_some_and(|segment| segment.end() <= at))
    }

    fn cut(&self, at: u64) -> u64 {
        self.get(self.find(at))
            .map_or(at, |segment| segment.cut(at))
    }

    /// The parts of areas that a chunk consists of, and the positions of each.
    fn parts(&self, chunk: Range<u64>) -> impl Iterator<Item = (&Segment<A>, Range<u64>)> {
        (self.find(chunk.start)..)
            .map_while(|index| self.get(index))
            .take_while(move |segment| segment.first < chunk.end)
            .map(move |segment| {
                let from = chunk.start.max(segment.first);
                (segment, from..chunk.end.min(segment.end()))
            })
    }
}

/// The page tables that one fork copies.
pub(crate) struct Fork(Segments<hooks::Areas>);

impl Work for Fork {
    fn cut(&self, at: u64) -> u64 {
        self.0.cut(at)
    }

    fn run(&self, chunk: Range<u64>, role: Role) -> Result<(), Stopped> {
        for (segment, part) in self.0.parts(chunk) {
            let addrs = segment.addr(part.start)..segment.addr(part.end);
            // SAFETY: The engine runs chunks only while the call is under way, and the forking task
            // keeps the areas until that has ended. The address range is within the areas.
            let copied = unsafe { segment.areas.copy_page_tables(addrs, role == Role::Helper) };
            copied.map_err(|addr| Stopped {
                at: segment.position(addr),
                error: Some(ENOMEM),
            })?;
        }
        Ok(())
    }

    fn replay(&self, part: Range<u64>) -> Result<(), Stopped> {
        if kernel::current!().fatal_signal_pending() {
            let (at, error) = (part.start, Some(EINTR));
            return Err(Stopped { at, error });
        }
        self.run(part, Role::Caller)
    }
}

/// Begins to split a fork of about `pages` pages, in `areas` areas.
pub(crate) fn begin(
    engine: Arc<Engine>,
    caller: policy::Caller,
    pages: u64,
    areas: usize,
) -> Option<Call<Fork>> {
    // The number of pages is not exact, and may be read as none.
    let bytes = (pages * PAGE_SIZE as u64).max(1);
    let plan = FORK.plan(caller, bytes, engine.online_cpus())?;
    Call::begin(engine, &FORK, plan, pages, || {
        Ok(Fork(Segments::with_capacity(areas + EXTRA_PARTS)?))
    })
}

impl Call<Fork> {
    /// Hands addresses of an area over. Returns whether there was room for them.
    pub(crate) fn add(&self, areas: hooks::Areas, addrs: Range<usize>) -> bool {
        let added = self.work().0.push(areas, addrs);
        if added {
            self.publish(self.work().0.end());
        }
        added
    }

    /// Works until all page tables are copied that were handed over.
    pub(crate) fn drain(&self) -> Result {
        self.complete(self.work().0.end())
            .map_err(|stopped| stopped.error.unwrap_or(EINTR))
    }
}

#[cfg(CONFIG_PARCALL_KUNIT_TEST)]
#[kernel::macros::kunit_tests(parcall_fork)]
mod tests {
    use super::*;

    const TABLE: u64 = (PAGE_TABLE_BYTES / PAGE_SIZE) as u64;

    /// A large area that does not begin at the start of a page table, and two small ones.
    fn segments() -> Segments<char> {
        let segments = Segments::with_capacity(3).unwrap();
        let large = 7 * PAGE_TABLE_BYTES - 16 * PAGE_SIZE;
        assert!(segments.push('a', large..large + 2 * PAGE_TABLE_BYTES));
        assert!(segments.push('b', 0..16 * PAGE_SIZE));
        assert!(segments.push('c', 0..1 * PAGE_SIZE));
        assert!(!segments.push('d', 0..1 * PAGE_SIZE));
        segments
    }

    #[test]
    fn positions_are_pages() {
        let segments = segments();
        assert_eq!(segments.end(), 2 * TABLE + 17);
        assert_eq!(segments.find(0), 0);
        assert_eq!(segments.find(2 * TABLE - 1), 0);
        assert_eq!(segments.find(2 * TABLE), 1);
        assert_eq!(segments.find(2 * TABLE + 16), 2);
    }

    #[test]
    fn areas_are_cut_at_page_tables_and_at_their_ends() {
        let segments = segments();
        assert_eq!(segments.cut(1), 16);
        assert_eq!(segments.cut(16), 16);
        assert_eq!(segments.cut(17), TABLE + 16);
        assert_eq!(segments.cut(TABLE + 17), 2 * TABLE);
        assert_eq!(segments.cut(2 * TABLE + 1), 2 * TABLE + 16);
        assert_eq!(segments.cut(segments.end()), segments.end());
    }

    #[test]
    fn a_chunk_is_the_parts_of_its_areas() {
        let segments = segments();
        let mut parts = segments.parts(TABLE + 16..2 * TABLE + 16);

        let (segment, part) = parts.next().unwrap();
        assert_eq!((segment.areas, part.clone()), ('a', TABLE + 16..2 * TABLE));
        assert_eq!(segment.addr(part.start), 8 * PAGE_TABLE_BYTES);
        assert_eq!(segment.position(8 * PAGE_TABLE_BYTES), part.start);

        let (segment, part) = parts.next().unwrap();
        assert_eq!((segment.areas, part), ('b', 2 * TABLE..2 * TABLE + 16));
        assert!(parts.next().is_none());
    }

    #[test]
    fn no_areas_are_no_work() {
        let segments = Segments::<char>::with_capacity(0).unwrap();
        assert_eq!(segments.end(), 0);
        assert!(segments.parts(0..1).next().is_none());
    }
}
