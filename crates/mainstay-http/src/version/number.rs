//! What tells one version of an API from another: an integer or a date.

use std::fmt;
use std::str::FromStr;

use mainstay_core::{Code, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bit that makes it a date; the day is below: year, month and day, so that they sort.
const DATE: u64 = 1 << 63;
/// More digits are no number of a version.
const DIGITS_MAX: usize = 9;

/// A version of an API: an integer (`2`) or a date (`2026-03-01`).
///
/// Read as `2`, `v2`, `2026-03-01` or `v2026-03-01`; a number has nine digits at most and no leading
/// zero, so that there is one way to write it. Integers sort before dates, and one set of versions
/// has no more than one of the two kinds.
///
/// ```
/// use mainstay_http::Version;
///
/// const NEWEST: Version = Version::date(2026, 3, 1);
/// assert!(Version::date(2025, 12, 31) < NEWEST);
/// assert_eq!("v2".parse::<Version>().unwrap(), Version::number(2));
/// assert!("02".parse::<Version>().is_err() && "2026-02-30".parse::<Version>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// Version `n`. In a constant, a number of more than nine digits does not compile.
    ///
    /// # Panics
    /// On a number of more than nine digits.
    pub const fn number(n: u32) -> Self {
        assert!(n < 1_000_000_000, "a version has nine digits at most");
        Self(n as u64)
    }

    /// The version of that day. In a constant, a day that never was does not compile:
    ///
    /// ```compile_fail
    /// const NEWEST: mainstay_http::Version = mainstay_http::Version::date(2026, 2, 30);
    /// # let _ = NEWEST;
    /// ```
    ///
    /// # Panics
    /// On a day that does not exist.
    pub const fn date(year: u16, month: u8, day: u8) -> Self {
        match Self::day(year, month, day) {
            Some(version) => version,
            None => panic!("there is no such day"),
        }
    }

    const fn day(year: u16, month: u8, day: u8) -> Option<Self> {
        if year == 0 || year > 9999 || day == 0 || day > days(year, month) {
            return None;
        }
        Some(Self(DATE | (year as u64) << 16 | (month as u64) << 8 | day as u64))
    }

    /// Whether it is a date rather than an integer.
    pub const fn is_date(self) -> bool {
        self.0 & DATE != 0
    }

    /// As `<`, which can't be used in constants.
    pub(super) const fn precedes(self, other: Self) -> bool {
        self.0 < other.0
    }

    /// Without an allocation, and without a word on what is wrong.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text).as_bytes();
        if let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text {
            let (year, month) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?);
            return Self::day(year as u16, month as u8, number(&[*d1, *d2])? as u8);
        }
        let redundant = text.len() > 1 && text[0] == b'0';
        if text.is_empty() || text.len() > DIGITS_MAX || redundant {
            return None;
        }
        number(text).map(|n| Self(u64::from(n)))
    }
}

/// At most nine digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u32::from(digit - b'0')))
}

const fn days(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 0,
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bits) = *self;
        if self.is_date() {
            let (year, month, day) = (bits >> 16 & 0xffff, bits >> 8 & 0xff, bits & 0xff);
            write!(f, "{year:04}-{month:02}-{day:02}")
        } else {
            write!(f, "{bits}")
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{self}")
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| {
            Error::new(Code::HttpOption, format!("{text:?} is no version"))
                .fix("write an integer without leading zeros (2), or a date (2026-03-01)")
        })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    /// From text, or from an integer.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(n) => n.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_and_the_rest_is_not() {
        for text in ["0", "1", "999999999", "2024-02-29", "2026-12-31", "0001-01-01"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
            assert_eq!(format!("v{text}").parse::<Version>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "v",
            "vv1",
            "V1",
            "01",
            "1.0",
            "+1",
            "-1",
            " 1",
            "1000000000",
            "2025-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-1-1",
            "0000-01-01",
            "2026-01-01Z",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn they_sort_by_time() {
        let sorted = ["1", "2", "10", "2025-12-31", "2026-01-01", "2026-01-02", "2026-02-01"];
        assert!(sorted.map(|text| Version::read(text).unwrap()).is_sorted());
    }
}
