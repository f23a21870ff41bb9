//! One server of a cluster, and what is known of it. It is told by its prober and asked by the router.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use mainstay_core::rng::Rng;
use mainstay_db::{Connect, Db};

use mainstay_core::token::Position;

/// A server whose connections were all taken is given no reads for so long, where another one has them.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// What a server is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows.
    Replica,
    /// It does not answer, or is left out for its lag.
    Out,
}

/// What was last seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) role: Role,
    pub(crate) position: Option<Position>,
    /// Behind the primary, as its own history of positions tells; no clock of another machine is asked.
    pub(crate) lag: Option<Duration>,
    /// PostgreSQL's timeline: the higher one is the later primary's.
    pub(crate) timeline: u64,
    /// Since when it is of use again.
    pub(crate) since: Instant,
    /// For whom its commits wait where they are asked to wait for replicas, as it is set; empty for nobody.
    pub(crate) waits: Arc<str>,
    /// Why it is out.
    pub(crate) why: Option<Arc<str>>,
}

pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) connect: Connect,
    /// Where it could be reached at least once.
    pub(crate) db: ArcSwapOption<Db>,
    pub(crate) seen: ArcSwap<Seen>,
    /// Whether it was looked at by now, with an answer or without.
    pub(crate) heard: AtomicBool,
    passed_over: Mutex<Option<Instant>>,
}

impl Node {
    pub(crate) fn new(name: Arc<str>, connect: Connect, now: Instant) -> Self {
        let seen = Seen {
            role: Role::Out,
            position: None,
            lag: None,
            timeline: 0,
            since: now,
            waits: "".into(),
            why: Some("it was not reached yet".into()),
        };
        let (db, seen) = (ArcSwapOption::empty(), ArcSwap::from_pointee(seen));
        let (heard, passed_over) = (AtomicBool::new(false), Mutex::default());
        Self { name, connect, db, seen, heard, passed_over }
    }

    pub(crate) fn role(&self) -> Role {
        self.seen.load().role
    }

    pub(crate) fn handle(&self) -> Option<Db> {
        self.db.load().as_deref().cloned()
    }

    /// Whether all up to `position` is here.
    pub(crate) fn covers(&self, position: &Position) -> bool {
        self.seen.load().position.as_ref().is_some_and(|own| own.covers(position))
    }

    /// It has no connection to spare `now`. What runs there goes on.
    pub(crate) fn pass_over(&self, now: Instant) {
        *self.passed_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + PASSED_OVER);
    }

    pub(crate) fn is_passed_over(&self, now: Instant) -> bool {
        self.passed_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| now < until)
    }

    pub(crate) fn tell(&self, seen: Seen) {
        self.seen.store(Arc::new(seen));
    }

    /// Whether it takes part in a choice. One that came back is given its share bit by bit: its caches are cold.
    pub(crate) fn takes_part(&self, now: Instant, ramp: Duration, rng: &Rng) -> bool {
        let since = now.saturating_duration_since(self.seen.load().since);
        since >= ramp || rng.f64() < since.as_secs_f64() / ramp.as_secs_f64()
    }
}
