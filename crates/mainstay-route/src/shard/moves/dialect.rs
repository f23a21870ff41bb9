//! How the two engines that data is moved between write names, bytes and casts. Everything that comes from outside, a
//! table's name or a key of the map, goes through here; values are bound.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MariaDb,
}

impl Dialect {
    /// Errors: ROUTE-050 for the others.
    pub(super) fn of(db: &Db) -> Result<Self> {
        let refuse = |what: &'static str, why: &'static str| {
            Err(Error::new(Code::MoveRefused, what)
                .why(why)
                .fix("move data between PostgreSQL or MariaDB servers"))
        };
        match db.engine() {
            Engine::Postgres => Ok(Dialect::Postgres),
            Engine::MySql if db.is_mariadb() => Ok(Dialect::MariaDb),
            Engine::MySql => refuse(
                "no logical shard is moved on MySQL",
                "its shortest wait for a lock is a second, and writes would be kept waiting for as long",
            ),
            Engine::Sqlite => refuse(
                "no logical shard is moved on SQLite",
                "it can't work out a key's hash in SQL, so that its triggers could not tell which rows move",
            ),
        }
    }

    /// A name, quoted.
    pub(super) fn name(self, name: &str) -> String {
        match self {
            Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Dialect::MariaDb => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// Bytes, as a literal that nothing can be smuggled into.
    pub(super) fn bytes(self, bytes: &[u8]) -> String {
        let hex = hex(bytes);
        match self {
            Dialect::Postgres => format!("'\\x{hex}'::bytea"),
            Dialect::MariaDb => format!("X'{hex}'"),
        }
    }

    /// A text expression's bytes.
    pub(super) fn bytes_of(self, expr: &str) -> String {
        match self {
            Dialect::Postgres => format!("convert_to({expr}, 'UTF8')"),
            Dialect::MariaDb => format!("CAST({expr} AS BINARY)"),
        }
    }

    /// Texts one after the other; with `'char 31'` between them where they are a pair's parts.
    pub(super) fn pair(self, a: &str, b: &str) -> String {
        match self {
            Dialect::Postgres => format!("({a} || chr(31) || {b})"),
            Dialect::MariaDb => format!("CONCAT({a}, CHAR(31 USING utf8mb4), {b})"),
        }
    }

    /// Texts as one JSON array.
    pub(super) fn json_array(self, exprs: &[String]) -> String {
        let all = exprs.join(", ");
        match self {
            Dialect::Postgres => format!("pg_catalog.json_build_array({all})::text"),
            Dialect::MariaDb => format!("JSON_ARRAY({all})"),
        }
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')).collect()
}

/// A lock that did not come in time: the wait was ended, not the session.
pub(super) fn is_wait_over(error: &Error) -> bool {
    // MariaDB's limit of a statement's time, or of its wait for a table.
    matches!(error.code(), Code::LockTimeout | Code::StatementCancelled | Code::Deadlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_a_name() {
        assert_eq!(Dialect::Postgres.name("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(Dialect::MariaDb.name("a`; DROP TABLE x; --"), "`a``; DROP TABLE x; --`");
        assert_eq!(Dialect::Postgres.bytes(b"';"), "'\\x273b'::bytea");
        assert_eq!(Dialect::MariaDb.bytes(b"';"), "X'273b'");
    }
}
