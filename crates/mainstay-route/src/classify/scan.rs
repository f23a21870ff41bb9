//! A statement without what hides things: comments are gone, strings are empty of meaning, and names are plain.
//!
//! The lexer alone decides where strings and comments end; whoever parses what is left can't take it otherwise. Where
//! that end depends on a setting of the server, the statement is not read.

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

/// A longer text is most likely data, which is read slowly and seldom.
const BYTES_MAX: usize = 64 * 1024;
/// Words and operators, each of which may make a tree one level deeper.
const DEPTH_MAX: usize = 2000;
/// Parentheses and brackets inside each other. The parser bounds most of its recursion, not all.
const NESTED_MAX: usize = 50;

/// Units of MySQL's intervals that are made of two.
const UNITS: &[&str] = &[
    "YEAR_MONTH",
    "DAY_HOUR",
    "DAY_MINUTE",
    "DAY_SECOND",
    "DAY_MICROSECOND",
    "HOUR_MINUTE",
    "HOUR_SECOND",
    "HOUR_MICROSECOND",
    "MINUTE_SECOND",
    "MINUTE_MICROSECOND",
    "SECOND_MICROSECOND",
];

/// What a comment must say, first in the text.
const HINT: &str = "primary";

/// A token that means something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) token: Token,
    pub(super) text: &'a str,
    /// Whether a space or a comment stands before it.
    pub(super) spaced: bool,
}

impl Piece<'_> {
    /// Whether it is this word, unquoted.
    pub(super) fn is(&self, word: &str) -> bool {
        self.token == Token::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether it is this character.
    pub(super) fn is_sign(&self, sign: &str) -> bool {
        self.token == Token::Other && self.text == sign
    }
}

/// The pieces of one statement, without a semicolon. An error says why it is not looked at further.
pub(super) fn scan(sql: &str, engine: Engine) -> Result<Vec<Piece<'_>>, String> {
    if sql.len() > BYTES_MAX {
        return Err(format!("it is longer than {} KiB", BYTES_MAX / 1024));
    }
    if sql.contains('\0') {
        return Err("it has a zero byte".to_owned());
    }
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let (mut spaced, mut ended, mut deep, mut nested) = (false, false, 0, 0_usize);
    let mut lexer = Lexer::new(sql, engine);
    while let Some((token, span)) = lexer.next() {
        let text = &sql[span];
        if lexer.is_unclosed() {
            return Err("a string or a comment in it is not closed".to_owned());
        }
        match token {
            Token::Comment if pieces.is_empty() && is_hint(text) => {
                return Err("the hint /* primary */ says so".to_owned());
            }
            Token::Space | Token::Comment => {
                spaced = true;
                continue;
            }
            Token::Semicolon => {
                ended |= !pieces.is_empty();
                continue;
            }
            _ if ended => return Err("it is several statements".to_owned()),
            _ => {}
        }
        let piece = Piece { token, text, spaced };
        check(&piece)?;
        nested = nest(nested, &piece);
        if nested > NESTED_MAX {
            return Err(format!("it is nested more than {NESTED_MAX} deep"));
        }
        deep += usize::from(deepens(&piece));
        if deep > DEPTH_MAX {
            return Err(format!("it has more than {DEPTH_MAX} words and operators"));
        }
        pieces.push(piece);
        spaced = false;
    }
    if pieces.is_empty() { Err("it is no statement".to_owned()) } else { Ok(pieces) }
}

/// How many parentheses and brackets are open after `piece`.
pub(super) fn nest(open: usize, piece: &Piece<'_>) -> usize {
    match piece.text {
        "(" | "[" | "{" => open + 1,
        ")" | "]" | "}" => open.saturating_sub(1),
        _ => open,
    }
}

fn is_hint(comment: &str) -> bool {
    comment
        .strip_prefix("/*")
        .and_then(|rest| rest.strip_suffix("*/"))
        .is_some_and(|inner| inner.trim().eq_ignore_ascii_case(HINT))
}

/// Whether it may be what one more level of the tree comes from.
pub(super) fn deepens(piece: &Piece<'_>) -> bool {
    match piece.token {
        Token::Word | Token::QuestionMark => true,
        Token::Other => !matches!(piece.text, "," | "." | "(" | ")"),
        _ => false,
    }
}

/// What may be read in two ways is not read.
fn check(piece: &Piece<'_>) -> Result<(), String> {
    let text = piece.text;
    match piece.token {
        Token::Other if text.starts_with("/*") => {
            Err("/*! ... */ is run by some versions alone".to_owned())
        }
        // MySQL's backslashes escape unless NO_BACKSLASH_ESCAPES, PostgreSQL's if standard_conforming_strings is off.
        Token::String if !text.starts_with(['e', 'E', '$']) => {
            let quote = text.chars().next().unwrap_or('\'');
            let pairs = text.as_bytes().windows(2);
            let unsure = pairs.filter(|pair| pair[0] == b'\\' && pair[1] == quote as u8).count();
            if unsure == 0 {
                return Ok(());
            }
            Err("where a string with \\' ends depends on a setting".to_owned())
        }
        // A space that is none in ASCII is a part of a name to the servers.
        Token::Word if text.chars().any(|c| !c.is_ascii() && !c.is_alphanumeric()) => {
            Err("a name in it has a character that is no letter".to_owned())
        }
        _ => Ok(()),
    }
}

/// The text of `pieces` for a parser, in other words where it does not know the engine's.
pub(super) fn plain(pieces: &[Piece<'_>], engine: Engine) -> String {
    let mut text = String::with_capacity(pieces.iter().map(|p| p.text.len() + 1).sum());
    let mut last: Option<&Piece<'_>> = None;
    for (at, piece) in pieces.iter().enumerate() {
        if piece.spaced {
            text.push(' ');
        }
        match piece.token {
            // Strings one after the other are one.
            Token::String if last.is_some_and(|last| last.token == Token::String) => {}
            Token::String => text.push_str("'x'"),
            Token::Param(_) if engine == Engine::MySql => text.push('1'),
            Token::Name => text.push_str(&name(piece.text)),
            Token::Word | Token::Other => {
                text.push_str(in_other_words(piece, last, pieces.get(at + 1), engine));
            }
            _ => text.push_str(piece.text),
        }
        last = Some(piece);
    }
    text
}

/// What the parser knows, for what it does not know. None of it is a call, and none becomes one.
fn in_other_words<'a>(
    piece: &Piece<'a>,
    last: Option<&Piece<'_>>,
    next: Option<&Piece<'_>>,
    engine: Engine,
) -> &'a str {
    let called = next.is_some_and(|next| next.is_sign("("));
    let begins =
        last.is_none_or(|last| last.is_sign("(") || last.is_any(&["UNION", "ALL", "EXCEPT"]));
    let named = next.is_some_and(|next| matches!(next.token, Token::Word | Token::Name));
    match engine {
        _ if called => piece.text,
        _ if piece.is("TABLE") && begins && named => "SELECT * FROM",
        Engine::MySql if piece.is_any(UNITS) => "SECOND",
        Engine::MySql if piece.is("MOD") => "%",
        Engine::MySql if piece.is_sign("!") && next.is_some_and(|next| !next.is_sign("=")) => {
            "NOT "
        }
        Engine::Postgres if piece.is("ISNULL") => "IS NULL",
        Engine::Postgres if piece.is("SYMMETRIC") && last.is_some_and(|l| l.is("BETWEEN")) => "",
        _ => piece.text,
    }
}

/// A quoted name; another one, which nothing has, if it is not plain.
fn name(quoted: &str) -> String {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | ' ' | '-' | '.');
    if !inner.is_empty() && inner.chars().all(plain) {
        return quoted.to_owned();
    }
    let quote = &quoted[..1];
    format!("{quote}a name{quote}")
}
