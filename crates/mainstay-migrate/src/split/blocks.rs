//! Whether a semicolon ends the statement, by engine. It sees neither spaces nor comments.

use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::mysql::Routine;
use super::postgres::Parts;
use super::sqlite::Trigger;

/// What is known of the open statement.
#[derive(Debug)]
pub(super) enum Blocks {
    Sqlite(Trigger),
    Postgres(Parts),
    MySql(Routine),
}

impl Blocks {
    /// Before the first token.
    pub(super) fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Blocks::Sqlite(Trigger::default()),
            Engine::Postgres => Blocks::Postgres(Parts::default()),
            Engine::MySql => Blocks::MySql(Routine::default()),
        }
    }

    /// Takes the token `text`, no semicolon, which begins at byte `at`.
    pub(super) fn token(&mut self, token: Token, text: &str, at: usize) {
        match self {
            Blocks::Sqlite(trigger) => trigger.token(token, text, at),
            Blocks::Postgres(parts) => parts.token(token, text, at),
            Blocks::MySql(routine) => routine.token(token, text, at),
        }
    }

    /// Takes a semicolon; whether it ends the statement.
    pub(super) fn semicolon(&mut self) -> bool {
        match self {
            Blocks::Sqlite(trigger) => trigger.semicolon(),
            Blocks::Postgres(parts) => parts.semicolon(),
            Blocks::MySql(routine) => routine.semicolon(),
        }
    }

    /// Where a block that is still open begins.
    pub(super) fn unfinished(&self) -> Option<usize> {
        match self {
            Blocks::Sqlite(trigger) => trigger.unfinished(),
            Blocks::Postgres(parts) => parts.unfinished(),
            Blocks::MySql(routine) => routine.unfinished(),
        }
    }

    /// Whether data follow the statement.
    pub(super) fn copies(&self) -> bool {
        matches!(self, Blocks::Postgres(parts) if parts.copies())
    }
}

/// Whether `word` is `keyword`, in either case.
pub(super) fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// Whether `word` is one of `keywords`, in either case.
pub(super) fn one_of(word: &str, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| is(word, keyword))
}
