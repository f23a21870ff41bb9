//! A token: how far a cluster of databases had come when somebody wrote to it. Whoever reads with it later, here or
//! elsewhere, is not shown less. Requests, answers, jobs and messages carry it as text.
//!
//! It asks no server: `mainstay-route` tells positions, and waits for them.

mod mark;
mod position;

use std::fmt;
use std::str::FromStr;

pub(crate) use mark::Told;
pub use mark::{Mark, Marks, Pending};
pub use position::Position;

use crate::{Code, Error, Result};

/// Longer ones are nobody's: MariaDB has a number for each replication domain.
const LENGTH_MAX: usize = 1024;
/// Clusters of which several tokens tell together.
const TOKENS_MAX: usize = 64;
/// Bytes that they have together: a cookie with its name and attributes may have 4,096.
const TOKENS_LENGTH_MAX: usize = 3072;

/// A position of one cluster. It says nothing of what was written, and is no secret; who makes one up reads later, not
/// more.
///
/// ```
/// use mainstay_core::token::Token;
///
/// let token: Token = "pg.7310000000000000001.16/B374D848".parse()?;
/// assert_eq!(token.to_string(), "pg.7310000000000000001.16/B374D848");
/// assert!("pg.7310000000000000001".parse::<Token>().is_err());
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// PostgreSQL's system identifier; of MariaDB a hash of the cluster's name.
    cluster: u64,
    position: Position,
    /// Which engine's it is, where the position does not tell.
    is_postgres: bool,
}

impl Token {
    /// Of PostgreSQL's cluster with this system identifier.
    pub fn postgres(cluster: u64, position: Position) -> Self {
        Self { cluster, position, is_postgres: true }
    }

    /// Of MariaDB's cluster with this number.
    pub fn mariadb(cluster: u64, position: Position) -> Self {
        Self { cluster, position, is_postgres: false }
    }

    /// Whose it is.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// How far that had come.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The least of the same cluster that covers both; a token only moves forward.
    #[must_use]
    pub(crate) fn and(self, other: &Token) -> Token {
        Token { position: self.position.and(&other.position), ..self }
    }

    /// Whether it covers nothing: of a MariaDB server where nothing was logged yet. It can't be written, nor need be.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.position, Position::Gtid(all) if all.is_empty())
    }

    fn kind(&self) -> &'static str {
        if self.is_postgres { "pg" } else { "my" }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.kind(), self.cluster, self.position)
    }
}

fn wrong() -> Error {
    Error::new(Code::RouteToken, "this is no token of a position")
}

/// Errors: ROUTE-003.
impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > LENGTH_MAX {
            let why = format!("it has {} bytes, and none has over {LENGTH_MAX}", text.len());
            return Err(wrong().why(why));
        }
        let mut parts = text.splitn(3, '.');
        let (Some(kind), Some(cluster), Some(position)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let digits = cluster.bytes().all(|b| b.is_ascii_digit());
        let cluster = cluster.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        let position = Position::written(kind, position).ok_or_else(wrong)?;
        Ok(Self { cluster, position, is_postgres: kind == "pg" })
    }
}

/// Tokens of several clusters, one each: what a request that wrote to several is given. As text they are joined by
/// `~`, in no more than 3,072 bytes, all of characters that a cookie and a header may have.
///
/// ```
/// use mainstay_core::token::Tokens;
///
/// let tokens: Tokens = "pg.2.0/10~pg.1.0/5~pg.2.0/8".parse()?;
/// assert_eq!(tokens.to_string(), "pg.1.0/5~pg.2.0/10");
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Adds one; of a cluster that is there already, the further position stays. Of at most 64 clusters: further ones are
    /// not kept. One that covers nothing is not kept either.
    pub fn add(&mut self, token: Token) {
        if token.is_empty() {
            return;
        }
        match self.0.binary_search_by_key(&token.cluster, Token::cluster) {
            Ok(at) => self.0[at] = self.0[at].clone().and(&token),
            Err(at) if self.0.len() < TOKENS_MAX => self.0.insert(at, token),
            Err(_) => {}
        }
    }

    /// By cluster.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So that their text is not too long: the longest ones, MariaDB's of many domains, then say that the position is
    /// not known.
    fn fit(&mut self) {
        let length = |token: &Token| token.to_string().len() + 1;
        while self.0.iter().map(length).sum::<usize>() > TOKENS_LENGTH_MAX {
            let Some(longest) = self.0.iter_mut().max_by_key(|token| length(token)) else { return };
            longest.position = Position::Unknown;
        }
    }
}

impl FromIterator<Token> for Tokens {
    fn from_iter<I: IntoIterator<Item = Token>>(all: I) -> Self {
        let mut tokens = Self::default();
        all.into_iter().for_each(|token| tokens.add(token));
        tokens.fit();
        tokens
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, token) in self.0.iter().enumerate() {
            write!(f, "{}{token}", if at == 0 { "" } else { "~" })?;
        }
        Ok(())
    }
}

/// Errors: ROUTE-003.
impl FromStr for Tokens {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > TOKENS_LENGTH_MAX {
            let why = format!("it has {} bytes, and may have {TOKENS_LENGTH_MAX}", text.len());
            return Err(wrong().why(why));
        }
        if text.bytes().filter(|b| *b == b'~').count() >= TOKENS_MAX {
            return Err(wrong().why(format!("there are more than {TOKENS_MAX} of them")));
        }
        text.split('~').map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_refused() {
        let long = format!("pg.1.{}", "0".repeat(2000));
        let wrong = [
            "",
            "pg",
            "pg.x.0/1",
            "pg.1.",
            "my.1.0",
            "my.1.",
            "no.1.0/1",
            "pg.+1.0/1",
            "no.1.*",
            &long,
        ];
        for text in wrong {
            let error = text.parse::<Token>().unwrap_err();
            assert_eq!(error.code(), Code::RouteToken, "{text}");
            assert_eq!(text.parse::<Tokens>().unwrap_err().code(), Code::RouteToken, "{text}");
        }
        for text in ["my.9.0-17_3-4", "pg.1.0/1", "pg.1.*", "my.1.*"] {
            assert_eq!(text.parse::<Token>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_covers_nothing_is_not_written() {
        let nothing = Token::mariadb(9, Position::gtid("").unwrap());
        let tokens: Tokens = [nothing, Token::postgres(1, Position::Lsn(1))].into_iter().collect();
        assert_eq!(tokens.to_string().parse::<Tokens>().unwrap(), tokens);
        assert_eq!(tokens.to_string(), "pg.1.0/1");
    }

    #[test]
    fn several_have_a_bound_and_only_move_forward() {
        let many: Vec<String> = (0..65).map(|n| format!("pg.{n}.0/1")).collect();
        assert!(many.join("~").parse::<Tokens>().is_err());
        assert_eq!(many[..64].join("~").parse::<Tokens>().unwrap().0.len(), 64);
        assert!("x".repeat(4000).parse::<Tokens>().is_err());
        // Of many long ones some are given up, and none is lost.
        let domains: Vec<String> = (0..40).map(|n| format!("{n}-18446744073709551615")).collect();
        let long =
            (0..4).map(|n| format!("my.{n}.{}", domains.join("_")).parse::<Token>().unwrap());
        let tokens: Tokens = long.collect();
        assert_eq!(tokens.0.len(), 4);
        assert!(tokens.to_string().len() <= TOKENS_LENGTH_MAX);
        assert!(tokens.iter().any(|token| *token.position() == Position::Unknown));
        assert_eq!(tokens.to_string().parse::<Tokens>().unwrap(), tokens);
        let cookie = |b: u8| b.is_ascii_graphic() && !b"\",;\\".contains(&b);
        assert!(tokens.to_string().bytes().all(cookie));
    }
}
