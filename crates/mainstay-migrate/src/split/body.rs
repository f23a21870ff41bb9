//! How deep a stored program of MySQL or MariaDB is in blocks: `BEGIN`, `IF`, `CASE`, `LOOP`,
//! `REPEAT`, `WHILE` and MariaDB's `FOR`, each up to its `END`.
//!
//! All of these words are something else elsewhere: a function, an expression, a name, a clause.
//! They open or close a block only where a statement begins, so it is that which is followed.

use std::mem;

use mainstay_db::lex::Token;

use super::blocks::{is, one_of};

/// The words that open a block.
pub(super) const OPENERS: &[&str] = &["BEGIN", "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR"];

/// Words after which a statement still is to begin: what a routine says of itself before its body,
/// `BEGIN NOT ATOMIC`, and the conditions of a handler.
const BEFORE: &[&str] = &[
    "ATOMIC",
    "COMMENT",
    "CONTAINS",
    "DATA",
    "DEFINER",
    "DETERMINISTIC",
    "FOUND",
    "INVOKER",
    "LANGUAGE",
    "MODIFIES",
    "NO",
    "NOT",
    "READS",
    "SECURITY",
    "SQL",
    "VALUE",
];

/// The word that an open statement is to go on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaits {
    #[default]
    Nothing,
    /// WHILE or FOR: the DO before its statements.
    Do,
    /// DECLARE: a HANDLER, perhaps.
    Handler,
    /// HANDLER: the FOR before its conditions.
    For,
    /// UNTIL: the END REPEAT, which no semicolon precedes.
    Repeat,
}

/// Follows a body.
#[derive(Debug, Default)]
pub(super) struct Body {
    depth: usize,
    began: usize,
    /// How many CASE expressions are open.
    cases: usize,
    /// Whether a statement begins with the next token.
    start: bool,
    /// Whether the next token is a name or only completes the last.
    skip: bool,
    /// Whether the last token was a statement's first, and thus a label if a colon follows.
    label: bool,
    /// Whether the last token was an END that closed nothing.
    ended: bool,
    awaits: Awaits,
}

impl Body {
    /// Before its first token.
    pub(super) fn waiting() -> Self {
        Self { start: true, ..Self::default() }
    }

    /// After a BEGIN at byte `began`.
    pub(super) fn opened(began: usize) -> Self {
        Self { depth: 1, began, start: true, ..Self::default() }
    }

    pub(super) fn token(&mut self, token: Token, text: &str, at: usize) {
        if mem::take(&mut self.skip) {
            return;
        }
        let start = mem::take(&mut self.start);
        let label = mem::take(&mut self.label);
        let ended = mem::take(&mut self.ended);
        match token {
            Token::Word if self.cases > 0 => self.expression(text),
            Token::Word if start => self.first(text, at),
            Token::Word => self.later(text, ended),
            Token::Name => self.label = start,
            // A comment's text, or a condition of a handler.
            Token::String | Token::Number => self.start = start,
            Token::Other if text == ":" => self.start = start || label,
            // Between a handler's conditions: the next may be a name.
            Token::Other if text == "," => {
                self.start = start;
                self.skip = start;
            }
            _ => {}
        }
    }

    /// Inside a CASE expression, where the other words mean nothing.
    fn expression(&mut self, word: &str) {
        if is(word, "CASE") {
            self.cases += 1;
        } else if is(word, "END") {
            self.cases -= 1;
        }
    }

    /// The first word of a statement.
    fn first(&mut self, word: &str, at: usize) {
        if one_of(word, OPENERS) {
            self.open(word, at);
        } else if is(word, "END") {
            self.close();
        } else if is(word, "ELSE") || one_of(word, BEFORE) {
            self.start = true;
        } else if one_of(word, &["FOLLOWS", "PRECEDES"]) {
            // A trigger's order, with the other's name.
            self.start = true;
            self.skip = true;
        } else if is(word, "DECLARE") {
            self.awaits = Awaits::Handler;
        } else if is(word, "UNTIL") {
            self.awaits = Awaits::Repeat;
        } else {
            self.label = true;
        }
    }

    /// A word further on in a statement.
    fn later(&mut self, word: &str, ended: bool) {
        match self.awaits {
            Awaits::Do if is(word, "DO") => {
                self.awaits = Awaits::Nothing;
                self.start = true;
            }
            Awaits::Handler if is(word, "HANDLER") => self.awaits = Awaits::For,
            Awaits::For if is(word, "FOR") => {
                self.awaits = Awaits::Nothing;
                self.start = true;
                self.skip = true;
            }
            Awaits::Repeat if ended && is(word, "REPEAT") => self.close(),
            _ if is(word, "THEN") => self.start = true,
            _ if is(word, "CASE") => self.cases = 1,
            _ => self.ended = is(word, "END"),
        }
    }

    fn open(&mut self, word: &str, at: usize) {
        if self.depth == 0 {
            self.began = at;
        }
        self.depth += 1;
        self.start = one_of(word, &["BEGIN", "LOOP", "REPEAT"]);
        let loops = one_of(word, &["WHILE", "FOR"]);
        self.awaits = if loops { Awaits::Do } else { Awaits::Nothing };
    }

    /// The next token is the block's kind or its label: `END IF`, `END outer`.
    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.skip = true;
    }

    pub(super) fn semicolon(&mut self) -> bool {
        if self.depth == 0 {
            return true;
        }
        *self = Self { depth: self.depth, began: self.began, start: true, ..Self::default() };
        false
    }

    pub(super) fn unfinished(&self) -> Option<usize> {
        (self.depth > 0).then_some(self.began)
    }
}
