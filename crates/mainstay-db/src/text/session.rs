//! What a text leaves on the server's session: settings, advisory locks, listeners and the like. On a
//! connection of the pool that is the next one's surprise; behind a transaction pooler another
//! client's.
//!
//! It goes by words, as the rest of what is known of a text: a function that sets something inside
//! is not seen.

use super::is;
use crate::engine::Engine;

const SETTING: &str = "a setting of the session";
const PREPARED: &str = "a prepared statement";
const LOCK: &str = "a session's lock";

/// Functions whose effect outlasts the transaction.
const FUNCTIONS: &[&str] = &[
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_advisory_unlock_all",
    "GET_LOCK",
    "RELEASE_LOCK",
    "RELEASE_ALL_LOCKS",
];

/// Looks for it, word by word.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) found: Option<&'static str>,
    engine: Engine,
    /// A statement that began so, and that its next word may yet clear.
    begun: Option<&'static str>,
    /// After CREATE, while TEMPORARY may follow.
    creates: bool,
    /// A `set_config` whose last argument may yet make it the transaction's.
    set_config: bool,
    /// In the body of a trigger or a routine: what stands there is done when it runs.
    body: bool,
}

impl Session {
    pub(super) fn new(engine: Engine) -> Self {
        let (found, begun) = (None, None);
        Self { found, engine, begun, creates: false, set_config: false, body: false }
    }

    pub(super) fn see(&mut self, word: &str, first: bool) {
        if self.body {
            return;
        }
        if first {
            self.creates = is(word, &["CREATE"]);
            self.begun = self.begins(word);
            return;
        }
        if let Some(what) = self.begun.take()
            && self.lasts(what, word)
        {
            self.found = Some(what);
        }
        if std::mem::take(&mut self.creates) {
            if is(word, &["TEMP", "TEMPORARY"]) {
                self.found = Some("a temporary table");
            }
            self.creates = is(word, &["OR", "REPLACE", "LOCAL", "GLOBAL"]);
            self.body = is(word, &["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"]);
        }
        if FUNCTIONS.iter().any(|name| name.eq_ignore_ascii_case(word)) {
            self.found = Some("a session's advisory lock");
        }
        self.set_config |= is(word, &["set_config"]);
        self.set_config &= !is(word, &["true"]);
    }

    pub(super) fn end(&mut self) {
        if let Some(what) = self.begun.take() {
            self.found = Some(what);
        }
        if std::mem::take(&mut self.set_config) {
            self.found = Some(SETTING);
        }
    }

    fn begins(&self, word: &str) -> Option<&'static str> {
        let all: &[(&[&str], &'static str)] = match self.engine {
            Engine::Postgres => &[
                (&["SET", "RESET", "DISCARD"], SETTING),
                (&["LISTEN", "UNLISTEN"], "a listener"),
                (&["PREPARE", "DEALLOCATE", "EXECUTE"], PREPARED),
                (&["LOAD"], "a loaded library"),
            ],
            Engine::MySql => &[
                (&["SET", "USE"], SETTING),
                (&["PREPARE", "DEALLOCATE", "EXECUTE"], PREPARED),
                (&["HANDLER"], "a handler"),
                (&["LOCK", "UNLOCK", "FLUSH"], LOCK),
            ],
            // Its sessions are its own.
            Engine::Sqlite => &[],
        };
        all.iter().find(|(words, _)| is(word, words)).map(|(_, what)| *what)
    }

    /// Whether what began so lasts, by its second word: `SET LOCAL` ends with the transaction on
    /// PostgreSQL, and is the session's on MySQL; `PREPARE TRANSACTION` is no statement kept for
    /// later; `FLUSH` locks only tables.
    fn lasts(&self, what: &str, second: &str) -> bool {
        match (self.engine, what) {
            (_, PREPARED) => !is(second, &["TRANSACTION"]),
            (Engine::Postgres, SETTING) => !is(second, &["LOCAL", "TRANSACTION", "CONSTRAINTS"]),
            (Engine::MySql, SETTING) => {
                !is(second, &["STATEMENT", "GLOBAL", "PERSIST", "PASSWORD", "DEFAULT"])
            }
            (_, LOCK) => is(second, &["TABLE", "TABLES"]),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine;
    use crate::text::Text;

    #[test]
    fn what_stays_on_a_session_is_known() {
        let (pg, my) = (Engine::Postgres, Engine::MySql);
        for (engine, sql, stays) in [
            (pg, "SET search_path = a", true),
            (pg, "SET", true),
            (pg, "set local statement_timeout = 5", false),
            (pg, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", false),
            (pg, "SELECT set_config('app.tenant', $1, false)", true),
            (pg, "SELECT set_config('app.tenant', $1, true)", false),
            (pg, "SELECT pg_advisory_lock(1)", true),
            (pg, "SELECT pg_advisory_xact_lock(1)", false),
            (pg, "LISTEN local", true),
            (pg, "CREATE TEMPORARY TABLE a (b INT)", true),
            (pg, "CREATE OR REPLACE TEMP VIEW a AS SELECT 1", true),
            (pg, "CREATE TABLE r (id BIGINT, temp REAL)", false),
            (pg, "CREATE FUNCTION f() RETURNS INT BEGIN ATOMIC; SELECT 1; END", false),
            (pg, "PREPARE a AS SELECT 1", true),
            (pg, "PREPARE TRANSACTION 'a'", false),
            (pg, "LOCK TABLE a", false),
            (pg, "SELECT 'SET a', \"LISTEN\" FROM t", false),
            (pg, "SELECT 1; SET a = 1", true),
            (my, "UPDATE t SET a = 1", false),
            (my, "SET @a = 1", true),
            (my, "SET LOCAL sql_mode = ''", true),
            (my, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", true),
            (my, "SET GLOBAL a = 1", false),
            (my, "SET STATEMENT max_statement_time = 1 FOR SELECT 1", false),
            (my, "SELECT GET_LOCK('a', 1)", true),
            (my, "LOCK TABLES t WRITE", true),
            (my, "FLUSH TABLES WITH READ LOCK", true),
            (my, "FLUSH LOGS", false),
            (my, "LOAD DATA INFILE 'a' INTO TABLE b", false),
            (
                my,
                "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN SET @b = 1; SET @c = 1; END",
                false,
            ),
        ] {
            let text = Text::as_is(sql, engine);
            assert_eq!(text.session.is_some(), stays, "{sql}");
        }
    }
}
