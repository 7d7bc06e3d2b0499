// SPDX-License-Identifier: GPL-2.0

//! Sizes in bytes as people write them: `64K`, `512M`, `2G`.

use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_uppercase();
        let (digits, shift) = UNITS
            .iter()
            .find_map(|&(unit, shift)| Some((upper.strip_suffix(unit)?, shift)))
            .unwrap_or((&upper, 0));

        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .filter(|&bytes| bytes != 0)
            .map(Size)
            .ok_or_else(|| format!("'{text}' is not a size such as 4096, 64K, 512M or 2G"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS
            .iter()
            .find(|(_, shift)| self.0.is_multiple_of(1 << shift))
        {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["1", "4095", "64K", "512M", "3G", "1T"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("1024m".parse::<Size>().unwrap().to_string(), "1G");
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "0", "K", "-1", "1.5G", "512MB", "99999999999T"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
