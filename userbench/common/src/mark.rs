// SPDX-License-Identifier: GPL-2.0

//! Marks in the code of a program, which tell simulated cores (`make sim`) what is measured.
//!
//! A mark is `nopl` with a displacement that no compiler has a reason for. It may be executed
//! anywhere, and does nothing; who emulates the CPU can see it.

use std::arch::asm;

/// `nopl disp32(%rax)`, and the first three bytes of the displacement; the last is the mark.
pub const INSTRUCTION: [u8; 6] = [0x0f, 0x1f, 0x80, b'P', b'A', b'R'];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// What is measured ends here.
    End = 0,
    /// What is measured begins here.
    Begin = 1,
    /// What follows does not count.
    Ignore = 2,
    /// What follows is measured in serial mode.
    Serial = 3,
    /// What follows is measured in parallel mode.
    Parallel = 4,
}

impl Mark {
    /// The mark that an instruction is, if it is one.
    pub fn decode(instruction: &[u8]) -> Option<Self> {
        let &[mark] = instruction.strip_prefix(&INSTRUCTION)? else {
            return None;
        };
        Self::from_code(mark)
    }

    pub fn from_code(code: u8) -> Option<Self> {
        [
            Self::End,
            Self::Begin,
            Self::Ignore,
            Self::Serial,
            Self::Parallel,
        ]
        .into_iter()
        .find(|&mark| mark as u8 == code)
    }
}

/// Executes a mark.
#[inline]
pub fn mark(mark: Mark) {
    match mark {
        Mark::End => execute::<{ Mark::End as u8 }>(),
        Mark::Begin => execute::<{ Mark::Begin as u8 }>(),
        Mark::Ignore => execute::<{ Mark::Ignore as u8 }>(),
        Mark::Serial => execute::<{ Mark::Serial as u8 }>(),
        Mark::Parallel => execute::<{ Mark::Parallel as u8 }>(),
    }
}

#[inline]
fn execute<const MARK: u8>() {
    // SAFETY: A `nopl` does nothing, and does not access its operand. As far as the compiler knows
    // it accesses memory, which keeps what is measured between two of them.
    unsafe {
        asm!(
            ".byte {}, {}, {}, {}, {}, {}, {}",
            const INSTRUCTION[0],
            const INSTRUCTION[1],
            const INSTRUCTION[2],
            const INSTRUCTION[3],
            const INSTRUCTION[4],
            const INSTRUCTION[5],
            const MARK,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_the_code() {
        for code in 0..5 {
            let mark = Mark::from_code(code).unwrap();
            let instruction = [&INSTRUCTION[..], &[code]].concat();
            assert_eq!(Mark::decode(&instruction), Some(mark));
        }
        assert_eq!(Mark::from_code(5), None);
    }

    #[test]
    fn other_instructions_are_no_marks() {
        // nop, and nopl of the same length.
        for other in [&[0x90][..], &[0x0f, 0x1f, 0x80, 0, 0, 0, 0]] {
            assert_eq!(Mark::decode(other), None);
        }
        assert_eq!(Mark::decode(&INSTRUCTION), None);
    }

    #[test]
    fn marks_do_nothing() {
        mark(Mark::Begin);
        mark(Mark::End);
    }
}
