//! The statements of MySQL and MariaDB that have a body: `CREATE TRIGGER`, `PROCEDURE`, `FUNCTION`
//! and `EVENT`, `ALTER EVENT`, and MariaDB's `BEGIN NOT ATOMIC`. It finds where the body begins;
//! what is in there is [`Body`]'s. A new `DELIMITER` makes all of this unnecessary.
//!
//! Packages of MariaDB's Oracle mode are not followed.

use std::mem;

use mainstay_db::lex::Token;

use super::blocks::{is, one_of};
use super::body::{Body, OPENERS};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    First,
    /// After a BEGIN that is the first word.
    Begin,
    /// After CREATE or ALTER, before what it creates.
    Create,
    /// From TRIGGER to FOR EACH ROW.
    Trigger,
    /// From EVENT to DO.
    Event,
    /// From PROCEDURE to the end of its parameters.
    Procedure,
    /// From FUNCTION to the end of its parameters.
    Function,
    /// After a function's parameters.
    Returns,
    Body,
    /// Any other statement: nothing to follow.
    Plain,
}

/// Follows a statement that may have a body.
#[derive(Debug, Default)]
pub(super) struct Routine {
    phase: Phase,
    parens: usize,
    /// The character before, where it was one of no other kind.
    previous: u8,
    /// The word before was EACH.
    each: bool,
    began: usize,
    body: Body,
}

impl Routine {
    pub(super) fn token(&mut self, token: Token, text: &str, at: usize) {
        if self.phase == Phase::Plain {
            return;
        }
        let character = if token == Token::Other { text.bytes().next() } else { None };
        let previous = mem::replace(&mut self.previous, character.unwrap_or(0));
        // `a.end` and `@end` are names, whatever the word.
        let name = token == Token::Word && matches!(previous, b'.' | b'@');
        let token = if name { Token::Name } else { token };
        match (self.phase, token) {
            (Phase::Body, _) => self.body.token(token, text, at),
            (_, Token::Word) => self.word(text, previous, at),
            (Phase::First | Phase::Begin, _) => self.phase = Phase::Plain,
            (_, Token::Other) => self.paren(text),
            _ => {}
        }
    }

    fn word(&mut self, word: &str, previous: u8, at: usize) {
        match self.phase {
            Phase::First if is(word, "BEGIN") => {
                self.phase = Phase::Begin;
                self.began = at;
            }
            Phase::First if one_of(word, &["CREATE", "ALTER"]) => self.phase = Phase::Create,
            Phase::Begin if is(word, "NOT") => self.enter(Body::opened(self.began)),
            Phase::First | Phase::Begin => self.phase = Phase::Plain,
            Phase::Create => self.created(word, previous),
            Phase::Trigger if self.each && is(word, "ROW") => self.enter(Body::waiting()),
            Phase::Trigger => self.each = is(word, "EACH"),
            Phase::Event if is(word, "DO") => self.enter(Body::waiting()),
            // Its type may be any words; only RETURN or a block can be the body.
            Phase::Returns if self.parens == 0 && is(word, "RETURN") => {
                self.enter(Body::default());
            }
            Phase::Returns if self.parens == 0 && one_of(word, OPENERS) => {
                self.enter(Body::waiting());
                self.body.token(Token::Word, word, at);
            }
            _ => {}
        }
    }

    fn created(&mut self, word: &str, previous: u8) {
        // `DEFINER=root@localhost`: what follows `@` was taken for a name already.
        let prefix = ["OR", "REPLACE", "DEFINER", "AGGREGATE"];
        if previous == b'=' || one_of(word, &prefix) {
            return;
        }
        self.phase = match word {
            _ if is(word, "TRIGGER") => Phase::Trigger,
            _ if is(word, "PROCEDURE") => Phase::Procedure,
            _ if is(word, "FUNCTION") => Phase::Function,
            _ if is(word, "EVENT") => Phase::Event,
            _ => Phase::Plain,
        };
    }

    fn paren(&mut self, text: &str) {
        match text {
            "(" => self.parens += 1,
            ")" => {
                self.parens = self.parens.saturating_sub(1);
                match self.phase {
                    Phase::Procedure if self.parens == 0 => self.enter(Body::waiting()),
                    Phase::Function if self.parens == 0 => self.phase = Phase::Returns,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, body: Body) {
        self.phase = Phase::Body;
        self.body = body;
    }

    pub(super) fn semicolon(&mut self) -> bool {
        self.phase != Phase::Body || self.body.semicolon()
    }

    pub(super) fn unfinished(&self) -> Option<usize> {
        if self.phase == Phase::Body { self.body.unfinished() } else { None }
    }
}
