//! What a text leaves on the server's session: settings, advisory locks, listeners and the like. On a
//! connection of the pool that is the next one's surprise; behind a transaction pooler another
//! client's.
//!
//! It goes by words, as the rest of what is known of a text: a function that sets something inside
//! is not seen.

use super::is;

/// Functions whose effect outlasts the transaction.
const FUNCTIONS: &[(&str, &str)] = &[
    ("pg_advisory_lock", "a session's advisory lock"),
    ("pg_advisory_lock_shared", "a session's advisory lock"),
    ("pg_try_advisory_lock", "a session's advisory lock"),
    ("pg_try_advisory_lock_shared", "a session's advisory lock"),
    ("pg_advisory_unlock", "a session's advisory lock"),
    ("pg_advisory_unlock_shared", "a session's advisory lock"),
    ("pg_advisory_unlock_all", "a session's advisory lock"),
    ("GET_LOCK", "a session's lock"),
    ("RELEASE_LOCK", "a session's lock"),
    ("RELEASE_ALL_LOCKS", "a session's lock"),
];

/// Looks for it, word by word.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) found: Option<&'static str>,
    /// A statement that began so, and that its next word may yet clear.
    begun: Option<&'static str>,
    creates: bool,
}

impl Session {
    pub(super) fn see(&mut self, word: &str, first: bool) {
        if first {
            self.creates = is(word, &["CREATE"]);
            self.begun = begins(word);
            return;
        }
        if let Some(what) = self.begun.take()
            && !is_harmless(what, word)
        {
            self.found = Some(what);
        }
        if self.creates && is(word, &["TEMP", "TEMPORARY"]) {
            self.found = Some("a temporary table");
        }
        // Its body begins: what stands there is done when it is called.
        self.creates &= !is(word, &["AS", "BEGIN"]);
        let function = FUNCTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        if let Some((_, what)) = function {
            self.found = Some(what);
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(what) = self.begun.take() {
            self.found = Some(what);
        }
    }
}

fn begins(word: &str) -> Option<&'static str> {
    const SETTING: &str = "a setting of the session";
    const PREPARED: &str = "a prepared statement";
    let all: [(&[&str], &str); 6] = [
        (&["SET", "RESET", "USE"], SETTING),
        (&["DISCARD"], SETTING),
        (&["LISTEN", "UNLISTEN"], "a listener"),
        (&["PREPARE", "DEALLOCATE", "EXECUTE"], PREPARED),
        (&["LOAD"], "a loaded library"),
        (&["HANDLER"], "a handler"),
    ];
    all.into_iter().find(|(words, _)| is(word, words)).map(|(_, what)| what)
}

/// `SET LOCAL`, `SET TRANSACTION` and the like end with the transaction; `PREPARE TRANSACTION` is no
/// statement kept for later; `LOAD DATA` loads rows.
fn is_harmless(what: &str, second: &str) -> bool {
    match what {
        "a prepared statement" => is(second, &["TRANSACTION"]),
        "a loaded library" => is(second, &["DATA", "XML", "INDEX"]),
        _ => is(
            second,
            &["LOCAL", "TRANSACTION", "CONSTRAINTS", "STATEMENT", "GLOBAL", "PERSIST", "PASSWORD"],
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine;
    use crate::text::Text;

    #[test]
    fn what_stays_on_a_session_is_known() {
        for (sql, stays) in [
            ("SET search_path = a", true),
            ("SET", true),
            ("set local statement_timeout = 5", false),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", false),
            ("UPDATE t SET a = 1", false),
            ("SET @a = 1", true),
            ("SET STATEMENT max_statement_time = 1 FOR SELECT 1", false),
            ("SELECT pg_advisory_lock(1)", true),
            ("SELECT pg_advisory_xact_lock(1)", false),
            ("SELECT GET_LOCK('a', 1)", true),
            ("LISTEN a", true),
            ("CREATE TEMPORARY TABLE a (b INT)", true),
            ("CREATE TABLE temp_a (b INT)", false),
            ("PREPARE a AS SELECT 1", true),
            ("PREPARE TRANSACTION 'a'", false),
            ("LOAD DATA INFILE 'a' INTO TABLE b", false),
            ("SELECT 'SET a', \"LISTEN\" FROM t", false),
            ("SELECT 1; SET a = 1", true),
        ] {
            let text = Text::as_is(sql, Engine::Postgres);
            assert_eq!(text.session.is_some(), stays, "{sql}");
        }
    }
}
