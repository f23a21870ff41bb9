//! SQLite's only statement with semicolons inside: `CREATE TRIGGER ... BEGIN ...; ...; END`.
//!
//! Each statement of the body ends with a semicolon, so the `END` that closes it is the one right
//! after a semicolon; the `END` of a `CASE` never is. No nesting has to be counted.

use std::mem;

use mainstay_db::lex::Token;

use super::blocks::{is, one_of};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    First,
    Create,
    /// From TRIGGER to BEGIN.
    Head,
    Body,
    /// Any other statement: nothing to follow.
    Plain,
}

/// What the token before was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Other,
    /// A semicolon of the body, or its BEGIN.
    Semicolon,
    /// The END after one.
    End,
}

/// Follows a statement that may be a trigger.
#[derive(Debug, Default)]
pub(super) struct Trigger {
    phase: Phase,
    before: Before,
    began: usize,
}

impl Trigger {
    pub(super) fn token(&mut self, token: Token, text: &str, at: usize) {
        if self.phase == Phase::Plain {
            return;
        }
        let before = mem::take(&mut self.before);
        let word = token == Token::Word;
        match self.phase {
            Phase::First if word && is(text, "CREATE") => self.phase = Phase::Create,
            Phase::Create if word && one_of(text, &["TEMP", "TEMPORARY"]) => {}
            Phase::Create if word && is(text, "TRIGGER") => self.phase = Phase::Head,
            Phase::Head if word && is(text, "BEGIN") => {
                self.phase = Phase::Body;
                self.before = Before::Semicolon;
                self.began = at;
            }
            Phase::Body if word && before == Before::Semicolon && is(text, "END") => {
                self.before = Before::End;
            }
            Phase::Head | Phase::Body => {}
            Phase::First | Phase::Create | Phase::Plain => self.phase = Phase::Plain,
        }
    }

    pub(super) fn semicolon(&mut self) -> bool {
        if self.phase != Phase::Body || self.before == Before::End {
            return true;
        }
        self.before = Before::Semicolon;
        false
    }

    pub(super) fn unfinished(&self) -> Option<usize> {
        (self.phase == Phase::Body && self.before != Before::End).then_some(self.began)
    }
}
