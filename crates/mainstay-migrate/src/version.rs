//! Versions as Flyway reads them: numbers of any length, separated by `.` or `_`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A migration's version. `1`, `1.0.0` and `01` are equal, and `1.10` is higher than `1.9`.
///
/// ```
/// use mainstay_migrate::Version;
///
/// let version = |text: &str| Version::parse(text).unwrap();
/// assert_eq!(version("1_2"), version("1.2.0"));
/// assert!(version("1.10") > version("1.9"));
/// assert!(Version::parse("1..2").is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    /// Each part's digits without leading zeros; no trailing zero parts.
    parts: Vec<String>,
}

impl Version {
    /// Reads `text`; `None` where it is no version.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace('_', ".");
        let mut parts = Vec::new();
        for part in text.split('.') {
            if part.is_empty() || !part.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            parts.push(part.trim_start_matches('0').to_owned());
        }
        while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        Some(Self { text, parts })
    }

    /// As it was written, with points.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |a: &String, b: &String| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        let parts = self.parts.iter().zip(&other.parts);
        parts
            .map(|(a, b)| number(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.parts.len().cmp(&other.parts.len()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn equal_and_ordered_as_flyway_does() {
        for (a, b) in [("1", "1.0.0"), ("1", "01"), ("1_2", "1.2"), ("0", "0.0"), ("00", "0")] {
            assert_eq!(version(a), version(b), "{a} {b}");
            assert_eq!(version(a).cmp(&version(b)), Ordering::Equal);
        }
        for (low, high) in [("1.9", "1.10"), ("1", "1.0.1"), ("9", "10"), ("0", "0.1")] {
            assert!(version(low) < version(high), "{low} {high}");
        }
        let long = "12345678901234567890123";
        assert!(version(long) > version("12345678901234567890122"));
        assert_eq!(version("1_2").to_string(), "1.2");
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in ["", "1..2", "1.a", "1.", "_1", ".", "a", "-1", "1 "] {
            assert!(Version::parse(text).is_none(), "{text}");
        }
    }
}
