//! What is known of a SQL text: how many placeholders it has, how MySQL must be sent it, whether it
//! only reads. Found out once per distinct text.
//!
//! It does not parse SQL: it tells code from strings, comments and quoted names, no more.

mod lexer;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use mainstay_core::observe::SqlId;
use mainstay_core::{Code, Error, Result};

use crate::engine::Engine;
use lexer::{Lexer, Token};

/// Texts remembered; beyond, each is looked at anew. A service has hundreds.
const TEXTS_MAX: usize = 8192;

/// What is known of one text.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) id: SqlId,
    /// The highest `$n`.
    pub(crate) params: usize,
    /// For MySQL: the text with `?`, and which value each `?` takes.
    pub(crate) positional: Option<(Arc<str>, Vec<usize>)>,
    /// Whether it surely writes nothing.
    pub(crate) only_reads: bool,
}

/// The texts seen so far.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// By address: a static text never moves or changes.
    fixed: RwLock<HashMap<(usize, usize), Arc<Text>>>,
    dynamic: RwLock<HashMap<Arc<str>, Arc<Text>>>,
    /// As sqlx's own functions send them, in the engine's placeholders.
    driver: RwLock<HashMap<Arc<str>, Arc<Text>>>,
}

impl Texts {
    pub(crate) fn of_static(&self, sql: &'static str, engine: Engine) -> Result<Arc<Text>> {
        let key = (sql.as_ptr() as usize, sql.len());
        remember(&self.fixed, &key, || (key, Text::of(sql, engine))).map(|(_, text)| text)
    }

    pub(crate) fn of_dynamic(&self, sql: &Arc<str>, engine: Engine) -> Result<Arc<Text>> {
        remember(&self.dynamic, sql, || (Arc::clone(sql), Text::of(sql, engine)))
            .map(|(_, text)| text)
    }

    /// Of a text that goes to the driver as it is; with a copy of the text to keep.
    pub(crate) fn of_driver(&self, sql: &str, engine: Engine) -> (Arc<str>, Arc<Text>) {
        remember(&self.driver, sql, || (sql.into(), Ok(Text::as_is(sql, engine))))
            .expect("a text that is sent as it is has no mistakes to find")
    }
}

fn remember<K, Q>(
    texts: &RwLock<HashMap<K, Arc<Text>>>,
    key: &Q,
    find_out: impl FnOnce() -> (K, Result<Text>),
) -> Result<(K, Arc<Text>)>
where
    K: Clone + Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    if let Some((key, text)) =
        texts.read().unwrap_or_else(PoisonError::into_inner).get_key_value(key)
    {
        return Ok((key.clone(), Arc::clone(text)));
    }
    let (key, text) = find_out();
    let text = Arc::new(text?);
    let mut texts = texts.write().unwrap_or_else(PoisonError::into_inner);
    if texts.len() < TEXTS_MAX {
        texts.insert(key.clone(), Arc::clone(&text));
    }
    Ok((key, text))
}

impl Text {
    fn as_is(sql: &str, engine: Engine) -> Text {
        let mut words = Words::default();
        for (token, span) in Lexer::new(sql, engine) {
            if token == Token::Word {
                words.see(&sql[span]);
            }
        }
        Text { id: SqlId::of(sql), params: 0, positional: None, only_reads: words.only_read() }
    }

    fn of(sql: &str, engine: Engine) -> Result<Text> {
        let mut params = 0;
        let mut order = Vec::new();
        let mut rewritten = String::new();
        let mut copied = 0;
        let mut words = Words::default();
        for (token, span) in Lexer::new(sql, engine) {
            match token {
                Token::Param(0) => {
                    return Err(at(sql, span.start, "there is no $0: placeholders begin at $1"));
                }
                Token::Param(n) => {
                    params = params.max(n);
                    order.push(n - 1);
                    rewritten.push_str(&sql[copied..span.start]);
                    rewritten.push('?');
                    copied = span.end;
                }
                Token::QuestionMark if engine == Engine::MySql => {
                    return Err(at(
                        sql,
                        span.start,
                        "a placeholder is written $1, $2, ... on every engine, not ?",
                    ));
                }
                Token::Word => words.see(&sql[span]),
                Token::QuestionMark | Token::Other => {}
            }
        }
        rewritten.push_str(&sql[copied..]);
        let positional = (engine == Engine::MySql).then(|| (rewritten.into(), order));
        Ok(Text { id: SqlId::of(sql), params, positional, only_reads: words.only_read() })
    }
}

/// Whether a text surely only reads: it begins as a query, and no word of it could write.
#[derive(Default)]
struct Words {
    first: Option<bool>,
    writes: bool,
}

impl Words {
    fn see(&mut self, word: &str) {
        let is = |all: &[&str]| all.iter().any(|w| w.eq_ignore_ascii_case(word));
        self.first.get_or_insert_with(|| is(&["SELECT", "WITH", "VALUES", "EXPLAIN"]));
        // A column may be called so too: then it goes to the writer, which is right, if slower.
        self.writes |= is(&["INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER"]);
    }

    fn only_read(&self) -> bool {
        self.first == Some(true) && !self.writes
    }
}

fn at(sql: &str, byte: usize, why: &str) -> Error {
    let error = Error::new(Code::Syntax, why.to_owned());
    match crate::error::excerpt(sql, byte) {
        Some(excerpt) => error.why(excerpt),
        None => error,
    }
}

#[cfg(test)]
mod tests;
