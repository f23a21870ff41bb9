//! A token: how far a cluster had come when somebody wrote to it. Whoever reads with it later, here or elsewhere, is not
//! shown less.

use std::fmt;
use std::str::FromStr;

use mainstay_core::{Code, Error, Result};

use super::position::Position;

/// Longer ones are nobody's: MariaDB has a number for each replication domain.
const LENGTH_MAX: usize = 1024;

/// A position of one cluster. It says nothing of what was written, and is no secret; who makes one up reads later, not
/// more.
///
/// ```
/// use mainstay_route::Token;
///
/// let token: Token = "pg.7310000000000000001.16/B374D848".parse()?;
/// assert_eq!(token.to_string(), "pg.7310000000000000001.16/B374D848");
/// assert!("pg.7310000000000000001".parse::<Token>().is_err());
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// PostgreSQL's system identifier; of MariaDB a hash of the cluster's name.
    pub(crate) cluster: u64,
    pub(crate) position: Position,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.position {
            Position::Lsn(_) => "pg",
            Position::Gtid(_) => "my",
        };
        write!(f, "{kind}.{}.{}", self.cluster, self.position)
    }
}

/// Errors: ROUTE-003.
impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(Code::RouteToken, "this is no token of a position");
        if text.len() > LENGTH_MAX {
            return Err(
                wrong().why(format!("it has {} bytes, and none has over {LENGTH_MAX}", text.len()))
            );
        }
        let mut parts = text.splitn(3, '.');
        let (kind, cluster, position) = (parts.next(), parts.next(), parts.next());
        let cluster = cluster.and_then(|c| c.parse().ok()).ok_or_else(wrong)?;
        let position = position.ok_or_else(wrong)?;
        let position = match kind {
            Some("pg") => Position::parse(position, mainstay_db::Engine::Postgres),
            Some("my") => gtid(position),
            _ => None,
        };
        Ok(Self { cluster, position: position.ok_or_else(wrong)? })
    }
}

fn gtid(text: &str) -> Option<Position> {
    let one = |part: &str| {
        let (domain, sequence) = part.split_once('-')?;
        Some((domain.parse().ok()?, sequence.parse().ok()?))
    };
    let mut all: Vec<(u32, u64)> = text.split(',').map(one).collect::<Option<_>>()?;
    all.sort_unstable();
    Some(Position::Gtid(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_refused() {
        let long = format!("pg.1.{}", "0".repeat(2000));
        for text in ["", "pg", "pg.x.0/1", "pg.1.", "my.1.0", "no.1.0/1", &long] {
            let error = text.parse::<Token>().unwrap_err();
            assert_eq!(error.code(), Code::RouteToken, "{text}");
        }
        let token: Token = "my.9.0-17,3-4".parse().unwrap();
        assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
    }
}
