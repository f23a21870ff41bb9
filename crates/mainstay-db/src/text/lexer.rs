//! Tells placeholders and words from strings, comments and quoted names, by each engine's rules.
//!
//! It never fails: what it does not know is `Other`, and an unclosed string ends with the text, so
//! that the server's own error is the one to be read.

use std::ops::Range;

use crate::engine::Engine;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `$n`.
    Param(usize),
    QuestionMark,
    /// A keyword or an unquoted name.
    Word,
    Semicolon,
    Other,
}

pub(super) struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    engine: Engine,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(sql: &'a str, engine: Engine) -> Self {
        Self { sql: sql.as_bytes(), at: 0, engine }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The length of the token at the cursor.
    fn token(&self) -> (Token, usize) {
        let mysql = self.engine == Engine::MySql;
        let postgres = self.engine == Engine::Postgres;
        match self.peek(0) {
            b'\'' => (Token::Other, self.quoted(b'\'', mysql)),
            b'"' => (Token::Other, self.quoted(b'"', mysql)),
            b'`' if !postgres => (Token::Other, self.quoted(b'`', false)),
            b'[' if self.engine == Engine::Sqlite => (Token::Other, self.until(1, b"]")),
            b'-' if self.peek(1) == b'-' && (!mysql || !self.peek(2).is_ascii_graphic()) => {
                (Token::Other, self.until(2, b"\n"))
            }
            b'#' if mysql => (Token::Other, self.until(1, b"\n")),
            b'/' if self.peek(1) == b'*' => (Token::Other, self.comment(postgres)),
            b'$' if self.peek(1).is_ascii_digit() => self.param(),
            b'$' if postgres => (Token::Other, self.dollar_quoted()),
            b'?' => (Token::QuestionMark, 1),
            b';' => (Token::Semicolon, 1),
            b'e' | b'E' if postgres && self.peek(1) == b'\'' => {
                let string = Lexer { sql: self.sql, at: self.at + 1, engine: self.engine };
                (Token::Other, 1 + string.quoted(b'\'', true))
            }
            c if is_word(c) => (Token::Word, self.run(is_word_rest)),
            _ => (Token::Other, 1),
        }
    }

    fn run(&self, of: impl Fn(u8) -> bool) -> usize {
        self.sql[self.at..].iter().position(|c| !of(*c)).unwrap_or(self.sql.len() - self.at)
    }

    fn param(&self) -> (Token, usize) {
        let digits = self.sql[self.at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        let text = &self.sql[self.at + 1..=self.at + digits];
        let n = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).unwrap_or(usize::MAX);
        (Token::Param(n), 1 + digits)
    }

    /// A doubled quote stands for itself, and so does an escaped one where backslashes escape.
    fn quoted(&self, quote: u8, escapes: bool) -> usize {
        let mut n = 1;
        loop {
            match self.peek(n) {
                0 if self.at + n >= self.sql.len() => return n,
                b'\\' if escapes => n += 2,
                c if c == quote && self.peek(n + 1) == quote => n += 2,
                c if c == quote => return n + 1,
                _ => n += 1,
            }
        }
    }

    fn until(&self, from: usize, end: &[u8]) -> usize {
        let rest = &self.sql[(self.at + from).min(self.sql.len())..];
        let found = rest.windows(end.len()).position(|w| w == end);
        found.map_or(self.sql.len() - self.at, |p| from + p + end.len())
    }

    fn comment(&self, nests: bool) -> usize {
        if !nests {
            return self.until(2, b"*/");
        }
        let (mut n, mut depth) = (2, 1);
        while depth > 0 && self.at + n < self.sql.len() {
            match (self.peek(n), self.peek(n + 1)) {
                (b'*', b'/') => (depth, n) = (depth - 1, n + 2),
                (b'/', b'*') => (depth, n) = (depth + 1, n + 2),
                _ => n += 1,
            }
        }
        n
    }

    fn dollar_quoted(&self) -> usize {
        let tag =
            self.sql[self.at + 1..].iter().take_while(|c| is_word_rest(**c) && **c != b'$').count();
        if self.peek(1 + tag) != b'$' {
            return 1;
        }
        let mark = &self.sql[self.at..self.at + tag + 2];
        self.until(mark.len(), mark)
    }
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
        self.at = (start + len.max(1)).min(self.sql.len());
        Some((token, start..self.at))
    }
}
