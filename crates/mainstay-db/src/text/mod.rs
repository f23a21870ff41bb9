//! What is known of a SQL text: how many placeholders it has, how MySQL must be sent it, whether it
//! only reads. Found out once per distinct text.
//!
//! It does not parse SQL: it tells code from strings, comments and quoted names, no more.

mod session;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use mainstay_core::observe::SqlId;
use mainstay_core::{Code, Error, Result};

use crate::engine::Engine;
use crate::keys::Keys;
use crate::lex::{Lexer, Token};
use session::Session;

/// Texts remembered; a service has hundreds. When there are more, they are put together at run
/// time, and all are forgotten.
const TEXTS_MAX: usize = 4096;
/// A longer text is most likely put together for one use: it is not remembered, here or prepared.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// What is known of one text.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) id: SqlId,
    /// The highest `$n`.
    pub(crate) params: usize,
    /// For MySQL: the text with `?`, and which value each `?` takes.
    pub(crate) positional: Option<(Arc<str>, Vec<usize>)>,
    /// Whether it surely writes nothing and depends on nothing that only the writer has.
    pub(crate) only_reads: bool,
    /// Whether it inserts, updates or deletes: SQLite counts the last such statement's rows for
    /// every other one.
    pub(crate) changes_rows: bool,
    /// Whether it changes the schema, so that prepared statements may be out of date.
    pub(crate) changes_schema: bool,
    /// Whether MySQL commits the open transaction to run it.
    pub(crate) commits: bool,
    /// Whether there is no statement in it.
    pub(crate) is_empty: bool,
    /// Whether it begins or ends a transaction itself.
    pub(crate) control: Control,
    /// Whether anything in it looks like that, the body of a trigger included.
    pub(crate) may_control: bool,
    /// Whether it is worth keeping prepared.
    pub(crate) keep: bool,
    /// Whether it is exactly one statement.
    pub(crate) is_single: bool,
    /// Whether its last statement begins as one that reads does.
    pub(crate) begins_with_select: bool,
    /// Which columns of its rows look like keys, once somebody has wanted to know.
    pub(crate) keys: ArcSwapOption<Keys>,
    /// What in it stays on the session when the statement and its transaction are over.
    pub(crate) session: Option<&'static str>,
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
    if text.keep {
        let mut texts = texts.write().unwrap_or_else(PoisonError::into_inner);
        if texts.len() >= TEXTS_MAX {
            texts.clear();
        }
        texts.insert(key.clone(), Arc::clone(&text));
    }
    Ok((key, text))
}

impl Text {
    fn as_is(sql: &str, engine: Engine) -> Text {
        let mut words = Words::new(engine);
        for (token, span) in Lexer::new(sql, engine) {
            words.see(token, &sql[span]);
        }
        words.known(sql, 0, None)
    }

    fn of(sql: &str, engine: Engine) -> Result<Text> {
        let mut params = 0;
        let mut order = Vec::new();
        let mut rewritten = String::new();
        let mut copied = 0;
        let mut words = Words::new(engine);
        for (token, span) in Lexer::new(sql, engine) {
            words.see(token, &sql[span.clone()]);
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
                _ => {}
            }
        }
        rewritten.push_str(&sql[copied..]);
        let positional = (engine == Engine::MySql).then(|| (rewritten.into(), order));
        Ok(words.known(sql, params, positional))
    }
}

/// What a text's words tell of it. A word in another role, such as a column called `replace`, only
/// makes a read go to the writer, which is right, if slower.
struct Words {
    /// Within a statement; the next word begins one otherwise.
    inside: bool,
    statements: usize,
    reads: bool,
    only_for_writer: bool,
    changes_rows: bool,
    changes_schema: bool,
    temporary: bool,
    commits: bool,
    /// In a CREATE, whose body may have statements of its own.
    creates: bool,
    /// In the body of a trigger or a routine, up to the end of the text.
    body: bool,
    /// After a PREPARE, which may be of the transaction.
    prepares: bool,
    /// After a ROLLBACK that may yet turn out to be one to a savepoint.
    rollback: bool,
    control: Control,
    may_control: bool,
    session: Session,
}

/// What a text does to transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Control {
    #[default]
    None,
    /// Sets a savepoint, which begins one where none is open.
    Savepoint,
    /// Begins or ends one.
    Transaction,
}

impl Words {
    fn new(engine: Engine) -> Self {
        Self {
            inside: false,
            statements: 0,
            reads: false,
            only_for_writer: false,
            changes_rows: false,
            changes_schema: false,
            temporary: false,
            commits: false,
            creates: false,
            body: false,
            prepares: false,
            rollback: false,
            control: Control::None,
            may_control: false,
            session: Session::new(engine),
        }
    }

    fn see(&mut self, token: Token, text: &str) {
        match token {
            Token::Semicolon => self.end(),
            Token::Word => {
                let first = !std::mem::replace(&mut self.inside, true);
                if first {
                    self.begin(text);
                }
                self.session.see(text, first);
                // PREPARE TRANSACTION ends it, for somebody else to commit.
                if !first && std::mem::take(&mut self.prepares) && is(text, &["TRANSACTION"]) {
                    self.control = Control::Transaction;
                    self.may_control = true;
                }
                self.rollback &= !is(text, &["TO"]);
                self.body |=
                    self.creates && is(text, &["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"]);
                self.temporary |= is(text, &["TEMP", "TEMPORARY"]);
                self.changes_rows |= is(text, &["INSERT", "UPDATE", "DELETE", "REPLACE"]);
                self.only_for_writer |=
                    is(text, &["last_insert_rowid", "changes", "total_changes"]);
            }
            _ => {}
        }
    }

    fn begin(&mut self, word: &str) {
        self.statements += 1;
        self.reads = self.statements == 1 && is(word, &["SELECT", "WITH", "VALUES", "EXPLAIN"]);
        self.creates = is(word, &["CREATE"]);
        self.changes_schema |= is(word, &["CREATE", "ALTER", "DROP", "RENAME", "ATTACH", "DETACH"]);
        self.commits |= is(word, &["TRUNCATE", "LOCK", "UNLOCK", "GRANT", "REVOKE"])
            || is(word, &["ANALYZE", "OPTIMIZE", "CHECK", "REPAIR", "FLUSH", "CACHE", "RESET"])
            || is(word, &["INSTALL", "UNINSTALL"]);
        self.prepares = is(word, &["PREPARE"]);
        let (controls, savepoint) = (
            is(word, &["BEGIN", "START", "COMMIT", "END", "ABORT", "XA"]),
            is(word, &["SAVEPOINT"]),
        );
        self.rollback = is(word, &["ROLLBACK"]);
        self.may_control |= controls || savepoint || self.rollback;
        if controls && !self.body {
            self.control = Control::Transaction;
        } else if savepoint {
            self.control = self.control.max(Control::Savepoint);
        }
    }

    fn end(&mut self) {
        self.inside = false;
        self.session.end();
        if std::mem::take(&mut self.rollback) && !self.body {
            self.control = Control::Transaction;
        }
    }

    fn known(
        mut self,
        sql: &str,
        params: usize,
        positional: Option<(Arc<str>, Vec<usize>)>,
    ) -> Text {
        self.end();
        let lasting = self.changes_schema && !self.temporary;
        Text {
            id: SqlId::of(sql),
            params,
            positional,
            only_reads: self.reads
                && self.statements == 1
                && !(self.changes_rows || self.only_for_writer || self.temporary),
            changes_rows: self.changes_rows,
            changes_schema: lasting,
            commits: lasting || self.commits,
            is_empty: self.statements == 0,
            control: self.control,
            may_control: self.may_control,
            keep: sql.len() <= KEPT_BYTES_MAX,
            is_single: self.statements == 1,
            begins_with_select: self.reads,
            keys: ArcSwapOption::empty(),
            session: self.session.found,
        }
    }
}

fn is(word: &str, any_of: &[&str]) -> bool {
    any_of.iter().any(|w| w.eq_ignore_ascii_case(word))
}

impl Text {
    /// Refuses what would begin or end a transaction behind the pool's back. Errors: TX-006.
    pub(crate) fn check_control(&self, engine: Engine, in_transaction: bool) -> Result<()> {
        let what = match self.control {
            Control::Transaction => "a transaction is begun and ended by db.transaction() alone",
            Control::Savepoint if !in_transaction => {
                "a savepoint is set inside db.transaction() alone"
            }
            _ if engine == Engine::MySql && in_transaction && self.commits => {
                "MySQL would commit the open transaction before this statement"
            }
            Control::None | Control::Savepoint => return Ok(()),
        };
        Err(Error::new(Code::TxControl, what))
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
