//! Decisions that were made are kept, by the text itself.
//!
//! A reader takes no lock and changes nothing that others read. A text has four places that it may be kept in; when
//! all are taken, the newest takes one of them, and the other is decided again when it comes.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use mainstay_db::Engine;

use super::safe::Safe;
use super::{Decision, Where, decide};

/// Texts kept; a service has hundreds.
const TEXTS_MAX: usize = 8192;
/// Places that one text may have.
const WAYS: usize = 4;
/// A longer text is most likely put together for one use.
const KEPT_BYTES_MAX: usize = 4096;

/// Decides where statements may run, and keeps what it decided: up to 8192 texts, of up to 4 KiB each.
///
/// Meant to be one for a database, shared by all that send statements there.
///
/// ```
/// use mainstay_db::Engine;
/// use mainstay_route::{Classifier, Where};
///
/// let classifier = Classifier::new(Engine::Postgres);
/// assert_eq!(classifier.of("SELECT name FROM users WHERE id = $1"), Where::Replica);
/// assert_eq!(classifier.of("SELECT name FROM users WHERE id = $1 FOR UPDATE"), Where::Primary);
/// ```
pub struct Classifier {
    engine: Engine,
    safe: Safe,
    hasher: RandomState,
    kept: Box<[ArcSwapOption<Kept>]>,
    /// Which place is taken next where all are.
    turn: AtomicUsize,
}

/// Puts a [`Classifier`] together.
#[derive(Debug)]
#[must_use = "`build` makes the classifier"]
pub struct ClassifierBuilder {
    engine: Engine,
    safe: Safe,
}

impl ClassifierBuilder {
    /// Functions of your own that only read and give the same answer on a replica as on the primary: nothing but what is
    /// read from tables that are replicated, no sequence, no lock, no setting of a session. That is taken on trust; a
    /// replica refuses a write all the same.
    ///
    /// A name is written as the catalogue has it and as statements call it: `tax_of`, or with its schema,
    /// `billing.tax_of`; each way that it is called by is named. What is called by the name of one of the engine's own
    /// functions stays what that is.
    ///
    /// ```
    /// use mainstay_db::Engine;
    /// use mainstay_route::{Classifier, Where};
    ///
    /// let classifier = Classifier::builder(Engine::Postgres).safe_functions(["tax_of"]).build();
    /// assert_eq!(classifier.of("SELECT tax_of(cents) FROM orders"), Where::Replica);
    /// assert_eq!(classifier.of("SELECT billing.tax_of(cents) FROM orders"), Where::Primary);
    /// ```
    pub fn safe_functions<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.safe.add(names.into_iter().map(Into::into), self.engine);
        self
    }

    /// The classifier.
    pub fn build(self) -> Classifier {
        Classifier::with(self.engine, self.safe)
    }
}

#[derive(Debug)]
struct Kept {
    hash: u64,
    sql: Box<str>,
    to: Where,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Classifier {
    /// Of statements for `engine`.
    pub fn new(engine: Engine) -> Self {
        Self::builder(engine).build()
    }

    /// Begins one that knows functions of your own.
    pub fn builder(engine: Engine) -> ClassifierBuilder {
        ClassifierBuilder { engine, safe: Safe::default() }
    }

    fn with(engine: Engine, safe: Safe) -> Self {
        Self {
            engine,
            safe,
            hasher: RandomState::default(),
            kept: (0..TEXTS_MAX).map(|_| ArcSwapOption::empty()).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The engine that the statements are for.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where `sql` may run. It takes no lock and never waits; a text that is new takes microseconds.
    pub fn of(&self, sql: &str) -> Where {
        let hash = self.hasher.hash_one(sql);
        let places = self.places(hash);
        for place in places {
            if let Some(kept) = &*place.load()
                && kept.hash == hash
                && *kept.sql == *sql
            {
                return kept.to;
            }
        }
        let to = decide(sql, self.engine, &self.safe).to;
        if sql.len() <= KEPT_BYTES_MAX {
            let free = places.iter().position(|place| place.load().is_none());
            let taken = free.unwrap_or_else(|| self.turn.fetch_add(1, Ordering::Relaxed) % WAYS);
            places[taken].store(Some(Arc::new(Kept { hash, sql: sql.into(), to })));
        }
        to
    }

    /// Where `sql` may run and why, decided anew: for people, not for every statement.
    pub fn decide(&self, sql: &str) -> Decision {
        decide(sql, self.engine, &self.safe)
    }

    fn places(&self, hash: u64) -> &[ArcSwapOption<Kept>] {
        let first = (hash as usize % (TEXTS_MAX / WAYS)) * WAYS;
        &self.kept[first..first + WAYS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_stays_whatever_else_comes() {
        let classifier = Classifier::new(Engine::Postgres);
        for round in 0..2 {
            for n in 0..3 * TEXTS_MAX {
                let (read, write) = (format!("SELECT {n}"), format!("DELETE FROM t{n}"));
                assert_eq!(classifier.of(&read), Where::Replica, "{round}: {read}");
                assert_eq!(classifier.of(&write), Where::Primary, "{round}: {write}");
            }
        }
        let kept = classifier.kept.iter().filter(|place| place.load().is_some()).count();
        assert!(kept <= TEXTS_MAX && kept > TEXTS_MAX / 2, "{kept}");
    }

    #[test]
    fn a_text_is_kept_by_what_it_says_not_by_where_it_lies() {
        let classifier = Classifier::new(Engine::Postgres);
        let mut text = "SELECT 1 FROM t".to_owned();
        assert_eq!(classifier.of(&text), Where::Replica);
        text.replace_range(.., "DELETE   FROM t");
        assert_eq!(classifier.of(&text), Where::Primary);
        text.replace_range(.., "SELECT 1 FROM t");
        assert_eq!(classifier.of(&text), Where::Replica);
    }

    #[test]
    fn a_long_text_is_decided_and_not_kept() {
        let classifier = Classifier::new(Engine::Postgres);
        let sql = format!("SELECT '{}'", "a".repeat(KEPT_BYTES_MAX));
        assert_eq!(classifier.of(&sql), Where::Replica);
        assert!(classifier.kept.iter().all(|place| place.load().is_none()));
    }
}
