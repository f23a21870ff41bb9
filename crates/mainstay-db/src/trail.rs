//! The last statements of each connection, so that a server's word of a deadlock, which knows sessions
//! by number alone, can be told as statements and places of the program.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use mainstay_core::Place;

use crate::statement::Sql;

/// Statements remembered of one connection.
const STEPS_MAX: usize = 16;

/// Bytes kept of a text.
const TEXT_BYTES_MAX: usize = 1024;

/// The last statements of one connection.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<Steps>);

#[derive(Debug, Default)]
struct Steps {
    taken: u64,
    last: VecDeque<Taken>,
}

/// A statement that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    number: u64,
    pub(crate) sql: Sql,
    pub(crate) place: Place,
    /// The number of its transaction, and where that was begun.
    pub(crate) transaction: Option<(u64, Place)>,
    begun: Instant,
    ended: Option<Instant>,
}

/// A statement under way.
pub(crate) struct Step {
    trail: Arc<Trail>,
    number: u64,
}

impl Trail {
    fn with<T>(&self, f: impl FnOnce(&mut Steps) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn begin(
        self: &Arc<Self>,
        sql: &Sql,
        place: Place,
        transaction: Option<(u64, Place)>,
        now: Instant,
    ) -> Step {
        let sql = bounded(sql);
        let number = self.with(|steps| {
            steps.taken += 1;
            if steps.last.len() >= STEPS_MAX {
                steps.last.pop_front();
            }
            let number = steps.taken;
            steps.last.push_back(Taken {
                number,
                sql,
                place,
                transaction,
                begun: now,
                ended: None,
            });
            number
        });
        Step { trail: Arc::clone(self), number }
    }

    /// The last statement, and those of the same transaction before it.
    pub(crate) fn last(&self) -> Option<(Taken, Vec<Taken>)> {
        self.with(|steps| Some(steps.until(steps.last.back()?)))
    }

    /// The statement that was under way for the longest part of the time since `since`, and those of
    /// the same transaction before it. By the time a deadlock is told to the one side, the other may
    /// be past the statement that waited.
    pub(crate) fn waited(&self, since: Instant, now: Instant) -> Option<(Taken, Vec<Taken>)> {
        self.with(|steps| {
            let waited = |taken: &&Taken| {
                let ended = taken.ended.unwrap_or(now).min(now);
                ended.saturating_duration_since(taken.begun.max(since))
            };
            let longest =
                steps.last.iter().filter(|t| waited(t) > Duration::ZERO).max_by_key(waited);
            Some(steps.until(longest?))
        })
    }
}

/// A long text made at run time is not kept whole.
fn bounded(sql: &Sql) -> Sql {
    match sql {
        Sql::Dynamic(text) if text.len() > TEXT_BYTES_MAX => {
            let end = text.floor_char_boundary(TEXT_BYTES_MAX);
            Sql::Dynamic(text[..end].into())
        }
        sql => sql.clone(),
    }
}

impl Steps {
    fn until(&self, last: &Taken) -> (Taken, Vec<Taken>) {
        let id = last.transaction.map(|(id, _)| id);
        let before = self.last.iter().filter(|taken| {
            let same = id.is_some() && taken.transaction.map(|(id, _)| id) == id;
            same && taken.number < last.number
        });
        (last.clone(), before.cloned().collect())
    }
}

impl Taken {
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }
}

impl Step {
    pub(crate) fn end(&self, now: Instant) {
        self.trail.with(|steps| {
            if let Some(taken) = steps.last.iter_mut().rev().find(|t| t.number == self.number) {
                taken.ended = Some(now);
            }
        });
    }
}

/// Trails by the server's number of the session. Those of closed connections are forgotten as others
/// are opened.
#[derive(Debug, Default)]
pub(crate) struct Trails(Mutex<HashMap<u64, Weak<Trail>>>);

impl Trails {
    /// A new one for `session`.
    #[cfg(any(feature = "postgres", feature = "mysql", test))]
    pub(crate) fn of(&self, session: u64) -> Arc<Trail> {
        let trail = Arc::new(Trail::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, trail| trail.strong_count() > 0);
        all.insert(session, Arc::downgrade(&trail));
        trail
    }

    pub(crate) fn find(&self, session: u64) -> Option<Arc<Trail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&session)?.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use mainstay_core::clock::Clock;

    use super::*;

    #[test]
    fn the_statement_that_waited_is_found_though_others_came_after() {
        let (clock, hand) = Clock::manual();
        let trails = Trails::default();
        let trail = trails.of(7);
        let place = Place::here();
        let run = |sql: &'static str, transaction: u64, ms: u64| {
            let transaction = Some((transaction, place));
            let step = trail.begin(&Sql::Static(sql), place, transaction, clock.now());
            hand.advance(Duration::from_millis(ms));
            step.end(clock.now());
        };
        run("other", 1, 5);
        let since = clock.now();
        run("first", 2, 1);
        run("waited", 2, 90);
        run("after", 2, 3);
        for _ in 0..20 {
            assert!(trails.find(7).is_some());
        }
        let (waited, before) = trail.waited(since, clock.now()).unwrap();
        assert_eq!(waited.sql.as_str(), "waited");
        let before: Vec<_> = before.iter().map(|t| t.sql.as_str()).collect();
        assert_eq!(before, ["first"], "nothing of another transaction");
        assert!(trail.waited(clock.now(), clock.now()).is_none());
        drop(trail);
        assert!(trails.find(7).is_none());
    }
}
