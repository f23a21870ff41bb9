//! A session that can't make a database worse: it reads, it waits for no lock, and the server ends what takes long.
//! What a statement's sample values look like in its text is here too.
//!
//! It does not bound how much is asked: who asks has a budget of time.

use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::lex::{Lexer, Token};
use mainstay_db::{Db, Engine, Session};
use serde_json::Value;

/// How long the doctor may be in anybody's way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
}

/// A session of `db` that only reads. Errors: those of [`Db::session`], DB-036 behind a transaction pooler.
pub(crate) async fn session(db: &Db, limits: Limits) -> Result<Session> {
    let mut session = db.session().await?;
    session.keep_for("the doctor");
    let (statement, lock) = (limits.statement.as_millis().max(1), limits.lock.as_millis().max(1));
    let setting = match db.engine() {
        Engine::Postgres => format!(
            "SET default_transaction_read_only = on; SET lock_timeout = {lock}; \
             SET statement_timeout = {statement}; SET application_name = 'mainstay doctor'"
        ),
        Engine::MySql if db.is_mariadb() => format!(
            "SET SESSION TRANSACTION READ ONLY; SET SESSION lock_wait_timeout = {0}; \
             SET SESSION innodb_lock_wait_timeout = {0}; SET SESSION max_statement_time = {1}",
            lock.div_ceil(1000),
            limits.statement.as_secs_f64()
        ),
        Engine::MySql => format!(
            "SET SESSION TRANSACTION READ ONLY; SET SESSION lock_wait_timeout = {0}; \
             SET SESSION innodb_lock_wait_timeout = {0}; SET SESSION max_execution_time = {statement}",
            lock.div_ceil(1000)
        ),
        Engine::Sqlite => format!("PRAGMA query_only = 1; PRAGMA busy_timeout = {lock}"),
    };
    session.run(&setting).await?;
    Ok(session)
}

/// `text` as a literal.
pub(crate) fn quote(engine: Engine, text: &str) -> String {
    let text = text.replace('\'', "''");
    match engine {
        Engine::MySql => format!("'{}'", text.replace('\\', "\\\\")),
        // Whatever `standard_conforming_strings` is.
        Engine::Postgres if text.contains('\\') => format!("E'{}'", text.replace('\\', "\\\\")),
        _ => format!("'{text}'"),
    }
}

/// A sample value as a literal: PostgreSQL tells its type by where it stands.
pub(crate) fn literal(engine: Engine, value: &Value) -> String {
    match (value, engine) {
        (Value::Null, _) => "NULL".to_owned(),
        (Value::String(text), _) => quote(engine, text),
        (Value::Bool(yes), Engine::Sqlite | Engine::MySql) => i32::from(*yes).to_string(),
        (Value::Number(number), Engine::Sqlite | Engine::MySql) => number.to_string(),
        (Value::Array(items), Engine::Postgres) => {
            let inner: Vec<_> = items.iter().map(array_item).collect();
            quote(engine, &format!("{{{}}}", inner.join(",")))
        }
        (other, _) => quote(engine, &other.to_string()),
    }
}

fn array_item(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        other => other.to_string(),
    }
}

/// The highest `n` of `$n` in `sql`.
pub(crate) fn parameters(sql: &str, engine: Engine) -> usize {
    let numbers = Lexer::new(sql, engine).map(|(token, _)| match token {
        Token::Param(n) => n,
        _ => 0,
    });
    numbers.max().unwrap_or(0)
}

/// `sql` with literals in the place of the `$n` that `of` has one for.
pub(crate) fn inline(sql: &str, engine: Engine, of: impl Fn(usize) -> Option<String>) -> String {
    let mut out = String::with_capacity(sql.len());
    for (token, range) in Lexer::new(sql, engine) {
        let text = &sql[range];
        match token {
            Token::Param(n) => out += &of(n).unwrap_or_else(|| text.to_owned()),
            _ => out += text,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_values_take_their_places_and_nothing_else_does() {
        let values = [Value::from("O'Brien"), Value::from(7), Value::Null];
        let put = |engine| {
            inline("SELECT '$1', $2, $1, $3 -- $2", engine, |n| {
                values.get(n - 1).map(|v| literal(engine, v))
            })
        };
        assert_eq!(put(Engine::Sqlite), "SELECT '$1', 7, 'O''Brien', NULL -- $2");
        assert_eq!(put(Engine::Postgres), "SELECT '$1', '7', 'O''Brien', NULL -- $2");
        assert_eq!(parameters("SELECT '$9', $2", Engine::Postgres), 2);
        let array = serde_json::json!(["a", null, 3]);
        assert_eq!(literal(Engine::Postgres, &array), r#"'{"a",NULL,3}'"#);
    }
}
