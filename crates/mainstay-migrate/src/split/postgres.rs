//! PostgreSQL's semicolons that end nothing: those in parentheses, as in `CREATE RULE ... DO (a;
//! b)`, and those in a function's body between `BEGIN ATOMIC` and `END`. And its `COPY ... FROM
//! stdin`, which data follow. Bodies in strings are the lexer's.
//!
//! Each statement of an atomic body ends with a semicolon, so the `END` that closes it is the one
//! right after a semicolon; the `END` of a `CASE` never is.

use std::mem;

use mainstay_db::lex::Token;

use super::blocks::{is, one_of};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    First,
    Create,
    /// From FUNCTION or PROCEDURE on.
    Routine,
    /// From COPY on.
    Copy,
    /// Right after its FROM.
    From,
    /// `COPY ... FROM stdin`.
    Stdin,
    /// Any other statement: only parentheses count.
    Plain,
}

/// Follows a statement.
#[derive(Debug, Default)]
pub(super) struct Parts {
    phase: Phase,
    parens: usize,
    /// How many atomic bodies are open, and where the first of them began.
    depth: usize,
    began: usize,
    /// Whether the next token begins a statement of an atomic body.
    start: bool,
    /// The place of a BEGIN right before.
    begin: Option<usize>,
}

impl Parts {
    pub(super) fn token(&mut self, token: Token, text: &str, at: usize) {
        if token == Token::Other {
            match text {
                "(" => self.parens += 1,
                ")" => self.parens = self.parens.saturating_sub(1),
                _ => {}
            }
        }
        if matches!(self.phase, Phase::Plain | Phase::Stdin) {
            return;
        }
        let start = mem::take(&mut self.start);
        let begin = self.begin.take();
        match self.phase {
            Phase::Routine if token == Token::Word => self.routine(text, at, start, begin),
            Phase::Routine => {}
            phase => self.phase = self.next(phase, token, text),
        }
    }

    fn next(&self, phase: Phase, token: Token, text: &str) -> Phase {
        let word = token == Token::Word;
        match phase {
            Phase::First if word && is(text, "CREATE") => Phase::Create,
            Phase::First if word && is(text, "COPY") => Phase::Copy,
            Phase::Create if word && one_of(text, &["OR", "REPLACE"]) => Phase::Create,
            Phase::Create if word && one_of(text, &["FUNCTION", "PROCEDURE"]) => Phase::Routine,
            // `COPY (SELECT ... FROM stdin) TO ...` reads a table of that name.
            Phase::Copy if word && self.parens == 0 && is(text, "FROM") => Phase::From,
            Phase::From if word && is(text, "STDIN") => Phase::Stdin,
            Phase::Copy | Phase::From => Phase::Copy,
            _ => Phase::Plain,
        }
    }

    fn routine(&mut self, word: &str, at: usize, start: bool, begin: Option<usize>) {
        let outside = self.depth == 0 && self.parens == 0;
        if let Some(begin) = begin.filter(|_| is(word, "ATOMIC")) {
            if self.depth == 0 {
                self.began = begin;
            }
            self.depth += 1;
            self.start = true;
        } else if (outside || start) && is(word, "BEGIN") {
            self.begin = Some(at);
        } else if start && is(word, "END") {
            self.depth = self.depth.saturating_sub(1);
        }
    }

    pub(super) fn semicolon(&mut self) -> bool {
        if self.parens == 0 && self.depth == 0 {
            return true;
        }
        self.start = self.depth > 0;
        self.begin = None;
        false
    }

    pub(super) fn unfinished(&self) -> Option<usize> {
        (self.depth > 0).then_some(self.began)
    }

    pub(super) fn copies(&self) -> bool {
        self.phase == Phase::Stdin
    }
}
