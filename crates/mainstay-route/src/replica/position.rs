//! How far a server has come: PostgreSQL's place in the WAL, or MariaDB's GTIDs. It knows no server.

use std::fmt;

use mainstay_db::Engine;

/// A position. What covers another has all that was committed up to there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// PostgreSQL's log sequence number.
    Lsn(u64),
    /// MariaDB's last sequence number of each replication domain, by domain.
    Gtid(Vec<(u32, u64)>),
}

impl Position {
    /// Reads what a server says: `16/B374D848`, or `0-1-100,1-2-5`; an empty text is a MariaDB where nothing was
    /// written yet. `None` if it is neither.
    pub(crate) fn parse(text: &str, engine: Engine) -> Option<Self> {
        match engine {
            Engine::Postgres => {
                let (high, low) = text.split_once('/')?;
                let part = |text: &str| u32::from_str_radix(text, 16).ok();
                Some(Self::Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
            }
            Engine::MySql => {
                let mut all: Vec<(u32, u64)> = Vec::new();
                for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
                    let mut parts = gtid.split('-');
                    let domain = parts.next()?.parse().ok()?;
                    let _server: u32 = parts.next()?.parse().ok()?;
                    let sequence = parts.next()?.parse().ok()?;
                    match all.iter_mut().find(|(known, _)| *known == domain) {
                        Some(known) => known.1 = known.1.max(sequence),
                        None => all.push((domain, sequence)),
                    }
                }
                all.sort_unstable();
                Some(Self::Gtid(all))
            }
            Engine::Sqlite => None,
        }
    }

    /// Whether all that was committed up to `other` is here too.
    pub(crate) fn covers(&self, other: &Position) -> bool {
        match (self, other) {
            (Self::Lsn(ours), Self::Lsn(theirs)) => ours >= theirs,
            (Self::Gtid(ours), Self::Gtid(theirs)) => theirs.iter().all(|(domain, sequence)| {
                ours.iter().any(|(known, have)| known == domain && have >= sequence)
            }),
            _ => false,
        }
    }

    /// The least position that covers both.
    #[must_use]
    pub(crate) fn and(self, other: &Position) -> Position {
        match (self, other) {
            (Self::Lsn(a), Self::Lsn(b)) => Self::Lsn(a.max(*b)),
            (Self::Gtid(mut all), Self::Gtid(more)) => {
                for (domain, sequence) in more {
                    match all.iter_mut().find(|(known, _)| known == domain) {
                        Some(known) => known.1 = known.1.max(*sequence),
                        None => all.push((*domain, *sequence)),
                    }
                }
                all.sort_unstable();
                Self::Gtid(all)
            }
            (own, _) => own,
        }
    }
}

/// In a form of its own, the same for both: `16/B374D848`, `0-100,1-5`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lsn(lsn) => write!(f, "{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF),
            Self::Gtid(all) => {
                for (at, (domain, sequence)) in all.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{domain}-{sequence}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_covers_what_came_before_it() {
        let lsn = |text| Position::parse(text, Engine::Postgres).unwrap();
        assert!(lsn("1/0").covers(&lsn("0/FFFFFFFF")) && !lsn("0/FFFFFFFF").covers(&lsn("1/0")));
        assert_eq!(lsn("16/B374D848").to_string(), "16/B374D848");
        let gtid = |text| Position::parse(text, Engine::MySql).unwrap();
        assert!(gtid("0-2-101,1-1-7").covers(&gtid("0-1-100")));
        assert!(!gtid("0-1-100").covers(&gtid("1-1-1")) && gtid("0-1-1").covers(&gtid("")));
        assert_eq!(gtid("0-1-5").and(&gtid("1-9-2,0-1-3")), gtid("0-1-5,1-1-2"));
        assert!(!lsn("1/0").covers(&gtid("0-1-1")));
        for (text, engine) in
            [("", Engine::Postgres), ("x/1", Engine::Postgres), ("0-1", Engine::MySql)]
        {
            assert_eq!(Position::parse(text, engine), None, "{text}");
        }
    }
}
