// SPDX-License-Identifier: GPL-2.0

//! How sure a ratio of medians is.

use common::sorted::Sorted;
use std::fmt;

const RESAMPLES: usize = 2000;

/// A ratio, and the range that 95 of 100 such measurements are expected to be in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// The ratio of the medians of measurements that were taken in turns, by the bootstrap: rounds are
    /// drawn again and again, and the ratios are put in order.
    pub fn of_medians(above: &[u64], below: &[u64], seed: u64) -> Self {
        let ratio = |above: &[u64], below: &[u64]| {
            Sorted::new(above).median() as f64 / Sorted::new(below).median().max(1) as f64
        };
        let rounds = above.len().min(below.len());
        let mut random = Random(seed);
        let mut ratios: Vec<_> = (0..RESAMPLES)
            .map(|_| {
                let (above, below): (Vec<_>, Vec<_>) = (0..rounds)
                    .map(|_| random.below(rounds))
                    .map(|index| (above[index], below[index]))
                    .unzip();
                ratio(&above, &below)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        Self {
            value: ratio(above, below),
            low: ratios[RESAMPLES / 40],
            high: ratios[RESAMPLES - 1 - RESAMPLES / 40],
        }
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, low, high } = self;
        write!(f, "{value:.2} [{low:.2}, {high:.2}]")
    }
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sure_of_what_does_not_vary() {
        let interval = Interval::of_medians(&[200; 7], &[100; 7], 1);
        assert_eq!(
            (interval.low, interval.value, interval.high),
            (2.0, 2.0, 2.0)
        );
    }

    #[test]
    fn is_wider_for_what_varies() {
        let spread: Vec<u64> = (80..=120).step_by(4).collect();
        let interval = Interval::of_medians(&[200; 11], &spread, 1);
        assert_eq!(interval.value, 2.0);
        assert!(interval.low < 1.95 && interval.low > 1.65, "{interval}");
        assert!(interval.high > 2.05 && interval.high < 2.5, "{interval}");
        assert_eq!(interval, Interval::of_medians(&[200; 11], &spread, 1));
    }

    #[test]
    fn what_changes_for_both_does_not_count() {
        let above: Vec<u64> = (1..=9).map(|round| 2000 * round).collect();
        let below: Vec<u64> = (1..=9).map(|round| 1000 * round).collect();
        let interval = Interval::of_medians(&above, &below, 1);
        assert_eq!((interval.low, interval.high), (2.0, 2.0));
    }

    #[test]
    fn overlaps() {
        let interval = |low, high| Interval {
            value: low,
            low,
            high,
        };
        assert!(interval(1.0, 2.0).overlaps(&interval(2.0, 3.0)));
        assert!(interval(1.0, 4.0).overlaps(&interval(2.0, 3.0)));
        assert!(!interval(1.0, 2.0).overlaps(&interval(2.1, 3.0)));
    }
}
