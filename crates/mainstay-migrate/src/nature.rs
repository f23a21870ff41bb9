//! How a statement gets on with transactions: what can't run in one, what ends one unasked, what
//! begins and ends them itself.

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

use crate::database::Facts;

/// Words looked at, of the statement's beginning.
const WORDS_MAX: usize = 24;

/// How a statement gets on with transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Runs in one.
    Plain,
    /// Sets something on the session, which a new session would lack.
    Setting,
    /// Can't run in one.
    Alone,
    /// MySQL commits the open one before it.
    Commits,
    Begin,
    Commit,
    Rollback,
    /// Not sent: MySQL's LOCK TABLES of dumps would lock the note that a statement is done out, and
    /// ends with the next transaction anyway.
    Skip,
}

/// Of one statement.
pub(crate) fn nature(sql: &str, facts: &Facts) -> Nature {
    let words = words(sql, facts.engine);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(control) = control(&words, facts.engine) {
        return control;
    }
    match facts.engine {
        Engine::Postgres => postgres(&words, facts),
        Engine::Sqlite => sqlite(&words, sql),
        Engine::MySql => mysql(&words),
    }
}

/// The first words, in upper case.
pub(crate) fn words(sql: &str, engine: Engine) -> Vec<String> {
    let sql = if engine == Engine::MySql { executable(sql) } else { sql };
    Lexer::new(sql, engine)
        .filter(|(token, _)| *token == Token::Word)
        .take(WORDS_MAX)
        .map(|(_, range)| sql[range].to_ascii_uppercase())
        .collect()
}

/// What stands in a comment that MySQL runs, `/*!40101 SET NAMES utf8 */`, if that is all there is.
fn executable(sql: &str) -> &str {
    let inner = sql.strip_prefix("/*!").or_else(|| sql.strip_prefix("/*M!"));
    match inner.and_then(|inner| inner.strip_suffix("*/")) {
        Some(inner) => inner.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => sql,
    }
}

fn control(words: &[&str], engine: Engine) -> Option<Nature> {
    Some(match *words {
        ["BEGIN", "NOT", ..] => return None,
        ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Nature::Begin,
        ["COMMIT" | "ROLLBACK", "PREPARED", ..] => Nature::Alone,
        ["COMMIT" | "END", ..] | ["PREPARE", "TRANSACTION", ..] => Nature::Commit,
        ["ROLLBACK", ref rest @ ..] if !rest.contains(&"TO") => Nature::Rollback,
        ["ABORT", ..] if engine == Engine::Postgres => Nature::Rollback,
        _ => return None,
    })
}

fn postgres(words: &[&str], facts: &Facts) -> Nature {
    let concurrently = words.contains(&"CONCURRENTLY");
    match *words {
        ["CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..]
        | ["ALTER", "SYSTEM" | "SUBSCRIPTION", ..]
        | ["VACUUM", ..]
        | ["DISCARD", "ALL", ..]
        | ["CLUSTER"]
        | ["ALTER", "DATABASE", _, "SET", "TABLESPACE", ..] => Nature::Alone,
        ["CREATE" | "DROP", "INDEX", ..] | ["CREATE", "UNIQUE", "INDEX", ..] if concurrently => {
            Nature::Alone
        }
        ["REINDEX", ref rest @ ..]
            if concurrently
                || rest.iter().any(|w| matches!(*w, "SCHEMA" | "DATABASE" | "SYSTEM")) =>
        {
            Nature::Alone
        }
        ["ALTER", "TABLE", ref rest @ ..] if concurrently && rest.contains(&"DETACH") => {
            Nature::Alone
        }
        ["ALTER", "TYPE", ref rest @ ..]
            if !facts.at_least(12, 0, 0) && rest.windows(2).any(|w| w == ["ADD", "VALUE"]) =>
        {
            Nature::Alone
        }
        ["SET", "LOCAL" | "CONSTRAINTS" | "TRANSACTION", ..] => Nature::Plain,
        ["SET" | "RESET" | "DISCARD" | "LISTEN" | "LOAD" | "PREPARE", ..] => Nature::Setting,
        // As pg_dump empties the search path.
        ["SELECT", ref rest @ ..] if rest.contains(&"SET_CONFIG") => Nature::Setting,
        _ => Nature::Plain,
    }
}

/// The pragmas that do nothing, or fail, while a transaction is open.
const SQLITE_ALONE: [&str; 7] = [
    "FOREIGN_KEYS",
    "JOURNAL_MODE",
    "SYNCHRONOUS",
    "AUTO_VACUUM",
    "PAGE_SIZE",
    "WAL_CHECKPOINT",
    "TEMP_STORE",
];

fn sqlite(words: &[&str], sql: &str) -> Nature {
    match *words {
        ["VACUUM" | "ATTACH" | "DETACH", ..] => Nature::Alone,
        ["PRAGMA", ref rest @ ..] => {
            let alone = rest.iter().take(2).any(|w| SQLITE_ALONE.contains(w));
            match (alone, sql.contains('=') || sql.contains('(')) {
                (true, true | false) if rest.contains(&"WAL_CHECKPOINT") => Nature::Alone,
                (true, true) => Nature::Alone,
                _ => Nature::Plain,
            }
        }
        _ => Nature::Plain,
    }
}

fn mysql(words: &[&str]) -> Nature {
    match *words {
        ["LOCK" | "UNLOCK", "TABLES" | "TABLE", ..] => Nature::Skip,
        // A comment that the server runs may hold anything.
        []
        | [
            "CREATE" | "ALTER" | "DROP" | "RENAME" | "TRUNCATE" | "GRANT" | "REVOKE" | "LOCK"
            | "UNLOCK" | "ANALYZE" | "OPTIMIZE" | "CHECK" | "REPAIR" | "FLUSH" | "CACHE" | "RESET"
            | "INSTALL" | "UNINSTALL" | "EXECUTE",
            ..,
        ]
        | ["LOAD", "INDEX", ..]
        | ["SET", "PASSWORD" | "DEFAULT", ..] => Nature::Commits,
        ["SET" | "USE" | "PREPARE" | "DEALLOCATE", ..] => Nature::Setting,
        _ => Nature::Plain,
    }
}

/// Whether what was done on a session before must be done again on a new one.
pub(crate) fn is_replayed(sql: &str, nature: Nature, engine: Engine) -> bool {
    let first = words(sql, engine).into_iter().next().unwrap_or_default();
    match engine {
        Engine::Sqlite => first == "PRAGMA" || first == "ATTACH",
        Engine::Postgres | Engine::MySql => nature == Nature::Setting,
    }
}

/// Whether it leaves something on the session that doing it again on a new one would not bring back:
/// a temporary table with its rows, a variable with what was read into it.
pub(crate) fn is_lost(sql: &str, engine: Engine) -> bool {
    let words = words(sql, engine);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let temporary = matches!(
        *words,
        ["CREATE", "TEMPORARY" | "TEMP", ..]
            | ["CREATE", "LOCAL" | "GLOBAL", "TEMPORARY" | "TEMP", ..]
    );
    if engine != Engine::MySql {
        return temporary;
    }
    let others: Vec<_> = Lexer::new(sql, engine)
        .filter(|(token, _)| !matches!(token, Token::Space | Token::Comment))
        .map(|(_, range)| &sql[range])
        .collect();
    // `@x`, not `@@x`.
    let variable = others.windows(3).any(|w| w[1] == "@" && w[0] != "@" && w[2] != "@");
    let computed = words.first() == Some(&"SET") && others.contains(&"(");
    let read_into = others.windows(2).any(|w| w[0].eq_ignore_ascii_case("INTO") && w[1] == "@");
    temporary || variable && (computed || read_into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(engine: Engine, sql: &str) -> Nature {
        nature(sql, &Facts::example(engine))
    }

    #[test]
    fn postgres_runs_some_statements_outside_transactions_alone() {
        let of = |sql| of(Engine::Postgres, sql);
        for sql in [
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "create unique index /* x */ concurrently if not exists i on t (a)",
            "DROP INDEX CONCURRENTLY i",
            "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
            "REINDEX DATABASE d",
            "VACUUM FULL t",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "CREATE DATABASE d",
            "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        ] {
            assert_eq!(of(sql), Nature::Alone, "{sql}");
        }
        for sql in [
            "CREATE INDEX i ON t (a)",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
            "SELECT 'VACUUM'",
            "ALTER TYPE e ADD VALUE 'x'",
            "REINDEX TABLE t",
            "SET LOCAL x = 1",
            "ROLLBACK TO SAVEPOINT a",
            "CLUSTER t USING i",
        ] {
            assert_eq!(of(sql), Nature::Plain, "{sql}");
        }
        assert_eq!(of("SET search_path = a"), Nature::Setting);
        let dump = "SELECT pg_catalog.set_config('search_path', '', false)";
        assert_eq!(of(dump), Nature::Setting);
        assert_eq!(of("begin"), Nature::Begin);
        assert_eq!(of("END"), Nature::Commit);
        assert_eq!(of("abort"), Nature::Rollback);
    }

    #[test]
    fn mysql_commits_before_ddl() {
        let of = |sql| of(Engine::MySql, sql);
        assert_eq!(of("ALTER TABLE t ADD a INT"), Nature::Commits);
        assert_eq!(of("/*!50003 CREATE TRIGGER x */"), Nature::Commits);
        assert_eq!(of("/*!40101 SET NAMES utf8mb4 */"), Nature::Setting);
        assert_eq!(of("LOCK TABLES `t` WRITE"), Nature::Skip);
        assert_eq!(of("LOAD DATA INFILE 'x' INTO TABLE t"), Nature::Plain);
        assert_eq!(of("INSERT INTO t VALUES ('CREATE')"), Nature::Plain);
        assert_eq!(of("SET @a = 1"), Nature::Setting);
        assert_eq!(of("BEGIN NOT ATOMIC SELECT 1; END"), Nature::Plain);
    }

    #[test]
    fn what_a_new_session_lacks_is_told() {
        for sql in [
            "SET @id = LAST_INSERT_ID()",
            "SELECT a INTO @x FROM t",
            "CREATE TEMPORARY TABLE t (a INT)",
        ] {
            assert!(is_lost(sql, Engine::MySql), "{sql}");
        }
        for sql in
            ["SET @a = 1", "SET @@sql_mode = CONCAT(@@sql_mode, '')", "INSERT INTO t VALUES (@a)"]
        {
            assert!(!is_lost(sql, Engine::MySql), "{sql}");
        }
        assert!(is_lost("CREATE TEMP TABLE t (a INT)", Engine::Postgres));
    }

    #[test]
    fn sqlite_has_pragmas_that_transactions_disable() {
        let of = |sql| of(Engine::Sqlite, sql);
        assert_eq!(of("PRAGMA foreign_keys = OFF"), Nature::Alone);
        assert_eq!(of("PRAGMA foreign_keys(0)"), Nature::Alone);
        assert_eq!(of("PRAGMA foreign_keys"), Nature::Plain);
        assert_eq!(of("PRAGMA defer_foreign_keys = ON"), Nature::Plain);
        assert_eq!(of("PRAGMA foreign_key_check"), Nature::Plain);
        assert_eq!(of("VACUUM"), Nature::Alone);
    }
}
