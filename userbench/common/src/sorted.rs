// SPDX-License-Identifier: GPL-2.0

//! Medians and other quantiles of few measurements.

/// Measurements in order of size. There is at least one.
pub struct Sorted(Vec<u64>);

impl Sorted {
    pub fn new(values: &[u64]) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        let mut values = values.to_vec();
        values.sort_unstable();
        Self(values)
    }

    /// The one in the middle, or half-way between the two that are.
    pub fn median(&self) -> u64 {
        let count = self.0.len();
        u64::midpoint(self.0[(count - 1) / 2], self.0[count / 2])
    }

    /// The least of which a share of all are no larger.
    pub fn quantile(&self, share: f64) -> u64 {
        let count = (share * self.0.len() as f64).ceil() as usize;
        self.0[count.clamp(1, self.0.len()) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_quantiles() {
        let odd = Sorted::new(&[9, 1, 5]);
        assert_eq!(
            (odd.median(), odd.quantile(0.0), odd.quantile(1.0)),
            (5, 1, 9)
        );
        assert_eq!(Sorted::new(&[1, 2, 4, 100]).median(), 3);
        let hundred = Sorted::new(&(1..=100).rev().collect::<Vec<_>>());
        assert_eq!(hundred.quantile(0.99), 99);
        assert_eq!(hundred.quantile(0.999), 100);
    }
}
