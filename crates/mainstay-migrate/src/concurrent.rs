//! PostgreSQL's indexes that are built beside running transactions. A build that fails leaves an
//! INVALID index, which serves no query, costs every write, and makes IF NOT EXISTS skip the next
//! try: it is dropped before the index is built anew.

use mainstay_core::Result;
use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

use crate::database::{Database, literal};

/// A CREATE INDEX CONCURRENTLY of an index with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConcurrentIndex {
    /// As the catalogue has it.
    name: String,
    /// As it is written, with its schema.
    table: String,
}

/// How an index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Absent,
    Valid,
    Invalid,
}

impl ConcurrentIndex {
    /// `None` for any other statement, and for an index that the server is to name.
    pub(crate) fn parse(sql: &str) -> Option<Self> {
        let mut tokens = Lexer::new(sql, Engine::Postgres)
            .filter(|(token, _)| !matches!(token, Token::Space | Token::Comment))
            .map(|(token, range)| (token, &sql[range]))
            .peekable();
        let mut accept = |word: &str| {
            tokens
                .next_if(|(t, text)| *t == Token::Word && text.eq_ignore_ascii_case(word))
                .is_some()
        };
        if !accept("CREATE") {
            return None;
        }
        let _ = accept("UNIQUE");
        if !(accept("INDEX") && accept("CONCURRENTLY")) {
            return None;
        }
        if accept("IF") {
            let _ = accept("NOT") && accept("EXISTS");
        }
        if accept("ON") {
            return None;
        }
        let (token, name) = tokens.next()?;
        let name = match token {
            Token::Name => name.trim_matches('"').replace("\"\"", "\""),
            _ => name.to_lowercase(),
        };
        let name = shortened(name);
        let mut accept = |word: &str| {
            tokens
                .next_if(|(t, text)| *t == Token::Word && text.eq_ignore_ascii_case(word))
                .is_some()
        };
        if !accept("ON") {
            return None;
        }
        let _ = accept("ONLY");
        let mut table = tokens.next()?.1.to_owned();
        while tokens.next_if(|(_, text)| *text == ".").is_some() {
            table = format!("{table}.{}", tokens.next()?.1);
        }
        Some(Self { name, table })
    }

    fn find(&self) -> String {
        let quoted = |text: &str| literal(Engine::Postgres, text);
        format!(
            "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = to_regclass({}) AND c.relname = {}",
            quoted(&self.table),
            quoted(&self.name)
        )
    }

    pub(crate) async fn standing(&self, database: &mut Database) -> Result<Standing> {
        let rows = database.rows(&format!("SELECT i.indisvalid {}", self.find())).await?;
        Ok(match rows.first() {
            None => Standing::Absent,
            Some(row) if row.at(0)? => Standing::Valid,
            Some(_) => Standing::Invalid,
        })
    }

    /// Drops the index if it is INVALID; whether it was.
    pub(crate) async fn drop_invalid(&self, database: &mut Database) -> Result<bool> {
        if self.standing(database).await? != Standing::Invalid {
            return Ok(false);
        }
        let sql = format!("SELECT c.oid::regclass::text {}", self.find());
        let Some(name) = database.text(&sql).await? else { return Ok(false) };
        database.run(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
        Ok(true)
    }
}

/// As the server cuts names.
fn shortened(mut name: String) -> String {
    const BYTES_MAX: usize = 63;
    let end = (0..=BYTES_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    name.truncate(end.unwrap_or(0));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_table_are_found() {
        let of = |sql| ConcurrentIndex::parse(sql).map(|i| (i.name, i.table));
        let found = |name: &str, table: &str| Some((name.to_owned(), table.to_owned()));
        assert_eq!(of("CREATE INDEX CONCURRENTLY Idx ON t (a)"), found("idx", "t"));
        assert_eq!(
            of("create unique index concurrently if not exists \"A\"\"b\" on only s.\"T\" (a)"),
            found("A\"b", "s.\"T\"")
        );
        for sql in [
            "CREATE INDEX i ON t (a)",
            "CREATE INDEX CONCURRENTLY ON t (a)",
            "DROP INDEX CONCURRENTLY i",
            "SELECT 1",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
