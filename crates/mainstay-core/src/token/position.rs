//! How far a server has come: PostgreSQL's place in the WAL, or MariaDB's GTIDs. It knows no server.

use std::fmt;

/// A position. What covers another has all that was committed up to there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// PostgreSQL's log sequence number.
    Lsn(u64),
    /// MariaDB's last sequence number of each replication domain, by domain.
    Gtid(Vec<(u32, u64)>),
    /// Something was written, and nobody was told where: nothing covers it.
    Unknown,
}

impl Position {
    /// Reads PostgreSQL's `16/B374D848`.
    pub fn lsn(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let digits = |text: &str| {
            (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let part =
            |text: &str| if digits(text) { u32::from_str_radix(text, 16).ok() } else { None };
        Some(Self::Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }

    /// Reads MariaDB's `0-1-100,1-2-5`; an empty text is a server where nothing was written yet.
    pub fn gtid(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let mut parts = gtid.split('-');
            let domain = parts.next()?.parse().ok()?;
            let _server: u32 = parts.next()?.parse().ok()?;
            further(&mut all, domain, parts.next()?.parse().ok()?);
        }
        Some(Self::sorted(all))
    }

    /// As a token writes it: `16/B374D848`, `0-100_1-5` or `*`.
    pub(super) fn written(kind: &str, text: &str) -> Option<Self> {
        match (kind, text) {
            ("pg" | "my", "*") => Some(Self::Unknown),
            ("pg", text) => Self::lsn(text),
            ("my", text) => {
                let mut all = Vec::new();
                for part in text.split('_') {
                    let (domain, sequence) = part.split_once('-')?;
                    further(&mut all, domain.parse().ok()?, sequence.parse().ok()?);
                }
                Some(Self::sorted(all))
            }
            _ => None,
        }
    }

    fn sorted(mut all: Vec<(u32, u64)>) -> Self {
        all.sort_unstable();
        Self::Gtid(all)
    }

    /// Whether all that was committed up to `other` is here too.
    pub fn covers(&self, other: &Position) -> bool {
        match (self, other) {
            (Self::Lsn(ours), Self::Lsn(theirs)) => ours >= theirs,
            (Self::Gtid(ours), Self::Gtid(theirs)) => theirs.iter().all(|(domain, sequence)| {
                ours.iter().any(|(known, have)| known == domain && have >= sequence)
            }),
            _ => false,
        }
    }

    /// The least position that covers both. Of two kinds there is none: that is unknown.
    #[must_use]
    pub fn and(self, other: &Position) -> Position {
        match (self, other) {
            (Self::Lsn(a), Self::Lsn(b)) => Self::Lsn(a.max(*b)),
            (Self::Gtid(mut all), Self::Gtid(more)) => {
                for (domain, sequence) in more {
                    further(&mut all, *domain, *sequence);
                }
                Self::sorted(all)
            }
            _ => Self::Unknown,
        }
    }
}

fn further(all: &mut Vec<(u32, u64)>, domain: u32, sequence: u64) {
    match all.iter_mut().find(|(known, _)| *known == domain) {
        Some(known) => known.1 = known.1.max(sequence),
        None => all.push((domain, sequence)),
    }
}

/// In a form of its own, of characters that a cookie may have: `16/B374D848`, `0-100_1-5`, `*`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lsn(lsn) => write!(f, "{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF),
            Self::Gtid(all) => {
                for (at, (domain, sequence)) in all.iter().enumerate() {
                    let joint = if at == 0 { "" } else { "_" };
                    write!(f, "{joint}{domain}-{sequence}")?;
                }
                Ok(())
            }
            Self::Unknown => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_covers_what_came_before_it() {
        let lsn = |text| Position::lsn(text).unwrap();
        assert!(lsn("1/0").covers(&lsn("0/FFFFFFFF")) && !lsn("0/FFFFFFFF").covers(&lsn("1/0")));
        assert_eq!(lsn("16/B374D848").to_string(), "16/B374D848");
        let gtid = |text| Position::gtid(text).unwrap();
        assert!(gtid("0-2-101,1-1-7").covers(&gtid("0-1-100")));
        assert!(!gtid("0-1-100").covers(&gtid("1-1-1")) && gtid("0-1-1").covers(&gtid("")));
        assert_eq!(gtid("0-1-5").and(&gtid("1-9-2,0-1-3")), gtid("0-1-5,1-1-2"));
        assert!(!lsn("1/0").covers(&gtid("0-1-1")));
        for text in ["", "x/1", "+1/0", "1/123456789"] {
            assert_eq!(Position::lsn(text), None, "{text}");
        }
        assert_eq!(Position::gtid("0-1"), None);
    }

    #[test]
    fn nothing_covers_what_is_unknown_and_it_stays_so() {
        let far = Position::Lsn(u64::MAX);
        assert!(!far.covers(&Position::Unknown) && !Position::Unknown.covers(&far));
        assert_eq!(far.and(&Position::Unknown), Position::Unknown);
    }
}
