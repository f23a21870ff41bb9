//! Tells words and placeholders from strings, comments and quoted names, by each engine's rules.
//!
//! It never fails: what it does not know is `Other`, and an unclosed string ends with the text, so
//! that the server's own error is the one to be read. It knows no grammar: a keyword is a word.

use std::ops::Range;

use crate::engine::Engine;

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// `$n`.
    Param(usize),
    /// `?`.
    QuestionMark,
    /// A keyword or an unquoted name.
    Word,
    /// Digits and points.
    Number,
    /// A string, by quotes or by dollars.
    String,
    /// A quoted name.
    Name,
    /// `;`.
    Semicolon,
    /// A comment; one that MySQL runs, `/*! ... */`, is `Other`.
    Comment,
    /// White space.
    Space,
    /// Any other character, or a comment that MySQL runs.
    Other,
}

/// The tokens of a text, in order and without gaps.
///
/// ```
/// use mainstay_db::Engine;
/// use mainstay_db::lex::{Lexer, Token};
///
/// let sql = "SELECT ';' -- ;";
/// let semicolons = Lexer::new(sql, Engine::Postgres).filter(|(t, _)| *t == Token::Semicolon);
/// assert_eq!(semicolons.count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    engine: Engine,
    unclosed: bool,
}

impl<'a> Lexer<'a> {
    /// From the beginning of `sql`.
    pub fn new(sql: &'a str, engine: Engine) -> Self {
        Self { sql: sql.as_bytes(), at: 0, engine, unclosed: false }
    }

    /// Goes on at byte `at`, as though a token began there.
    pub fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// Whether the last token, a string or a comment, was cut off by the end of the text.
    pub fn is_unclosed(&self) -> bool {
        self.unclosed
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The token at the cursor, with its length; none where it is not closed.
    fn token(&self) -> (Token, Option<usize>) {
        let mysql = self.engine == Engine::MySql;
        let postgres = self.engine == Engine::Postgres;
        match self.peek(0) {
            b'\'' => (Token::String, self.quoted(b'\'', mysql)),
            b'"' if mysql => (Token::String, self.quoted(b'"', true)),
            b'"' => (Token::Name, self.quoted(b'"', false)),
            b'`' if !postgres => (Token::Name, self.quoted(b'`', false)),
            b'[' if self.engine == Engine::Sqlite => (Token::Name, self.until(1, b"]")),
            b'-' if self.peek(1) == b'-'
                && (!mysql || self.peek(2) <= b' ' || self.peek(2) == 0x7f) =>
            {
                (Token::Comment, Some(self.line()))
            }
            b'#' if mysql => (Token::Comment, Some(self.line())),
            b'/' if self.peek(1) == b'*' => self.comment(),
            b'$' if self.peek(1).is_ascii_digit() => self.param(),
            b'$' if postgres => self.dollar_quoted(),
            b'?' => (Token::QuestionMark, Some(1)),
            b';' => (Token::Semicolon, Some(1)),
            b'e' | b'E' if postgres && self.peek(1) == b'\'' => {
                let string = Lexer { at: self.at + 1, ..self.clone() };
                (Token::String, string.quoted(b'\'', true).map(|n| n + 1))
            }
            c if is_word(c) => (Token::Word, Some(self.run(is_word_rest))),
            c if is_space(c) => (Token::Space, Some(self.run(is_space))),
            c if c.is_ascii_digit() => {
                (Token::Number, Some(self.run(|c| c.is_ascii_digit() || c == b'.')))
            }
            _ => (Token::Other, Some(1)),
        }
    }

    fn run(&self, of: impl Fn(u8) -> bool) -> usize {
        self.sql[self.at..].iter().position(|c| !of(*c)).unwrap_or(self.sql.len() - self.at)
    }

    fn param(&self) -> (Token, Option<usize>) {
        let digits = self.sql[self.at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        let text = &self.sql[self.at + 1..=self.at + digits];
        let n = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).unwrap_or(usize::MAX);
        (Token::Param(n), Some(1 + digits))
    }

    /// A doubled quote stands for itself, and so does an escaped one where backslashes escape.
    fn quoted(&self, quote: u8, escapes: bool) -> Option<usize> {
        let mut n = 1;
        loop {
            match self.peek(n) {
                0 if self.at + n >= self.sql.len() => return None,
                b'\\' if escapes => n += 2,
                c if c == quote && self.peek(n + 1) == quote => n += 2,
                c if c == quote => return Some(n + 1),
                _ => n += 1,
            }
        }
    }

    fn until(&self, from: usize, end: &[u8]) -> Option<usize> {
        let rest = &self.sql[(self.at + from).min(self.sql.len())..];
        let found = rest.windows(end.len()).position(|w| w == end);
        found.map(|p| from + p + end.len())
    }

    /// To the end of the line, its terminator included.
    fn line(&self) -> usize {
        let returns = self.engine == Engine::Postgres;
        let ends = |c: &u8| *c == b'\n' || (returns && *c == b'\r');
        let rest = &self.sql[self.at..];
        rest.iter().position(ends).map_or(rest.len(), |at| at + 1)
    }

    fn comment(&self) -> (Token, Option<usize>) {
        let runs = self.peek(2) == b'!' || (self.peek(2) == b'M' && self.peek(3) == b'!');
        let token =
            if runs && self.engine == Engine::MySql { Token::Other } else { Token::Comment };
        if self.engine != Engine::Postgres {
            let end = self.until(2, b"*/");
            // SQLite takes the end of the text for the end of the comment.
            let rest = (self.engine == Engine::Sqlite).then_some(self.sql.len() - self.at);
            return (token, end.or(rest));
        }
        let (mut n, mut depth) = (2, 1);
        while depth > 0 {
            match (self.peek(n), self.peek(n + 1)) {
                _ if self.at + n >= self.sql.len() => return (token, None),
                (b'*', b'/') => (depth, n) = (depth - 1, n + 2),
                (b'/', b'*') => (depth, n) = (depth + 1, n + 2),
                _ => n += 1,
            }
        }
        (token, Some(n))
    }

    fn dollar_quoted(&self) -> (Token, Option<usize>) {
        let tag =
            self.sql[self.at + 1..].iter().take_while(|c| is_word_rest(**c) && **c != b'$').count();
        if self.peek(1 + tag) != b'$' {
            return (Token::Other, Some(1));
        }
        let mark = &self.sql[self.at..self.at + tag + 2];
        (Token::String, self.until(mark.len(), mark))
    }
}

fn is_space(c: u8) -> bool {
    c.is_ascii_whitespace() || c == 0x0b
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c >= 0x80
}

fn is_word_rest(c: u8) -> bool {
    is_word(c) || c.is_ascii_digit() || c == b'$'
}

impl Iterator for Lexer<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.sql.len() {
            return None;
        }
        let start = self.at;
        let (token, len) = self.token();
        self.unclosed = len.is_none();
        self.at = len.map_or(self.sql.len(), |len| (start + len.max(1)).min(self.sql.len()));
        Some((token, start..self.at))
    }
}
