//! The subscriber: puts down what it is told of, and judges nothing. What is rare and is a finding already
//! (a leak, an escaped statement, a deadlock) is made one at once.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mainstay_core::Code;
use mainstay_core::clock::Clock;
use mainstay_core::observe::{
    Checkout, Finding as Suspect, Hold, Outcome, Pool, SqlId, Statement, Subscriber, Transaction,
};

use super::pools::Gauge;
use super::ring::{End, Held, Raw, Ring};
use super::signals;
use super::texts::SqlTexts;
use crate::detect::Limits;
use crate::finding::Finding;

/// Findings and gauges that wait to be looked at.
const RARE_MAX: usize = 1024;

/// What is rare.
pub(super) enum Rare {
    Found(Finding),
    /// A transaction could not go on beside others.
    Conflict(Finding),
    Gauge(Gauge),
}

/// What all watched handles share.
pub(super) struct Hot {
    pub(super) ring: Ring,
    pub(super) texts: SqlTexts,
    pub(super) rare: Mutex<Vec<Rare>>,
    pub(super) rare_dropped: AtomicU64,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    /// The same moment by both clocks.
    pub(super) origin: (Instant, SystemTime),
}

impl Hot {
    pub(super) fn new(limits: Limits, clock: Clock) -> Self {
        let origin = (clock.now(), clock.wall());
        Self {
            ring: Ring::new(),
            texts: SqlTexts::new(),
            rare: Mutex::default(),
            rare_dropped: AtomicU64::new(0),
            limits,
            clock,
            origin,
        }
    }

    /// The time of day of `moment`, in microseconds of the Unix epoch.
    pub(super) fn micros(&self, moment: Instant) -> u64 {
        let (instant, wall) = self.origin;
        let since = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let base = since(wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        match moment.checked_duration_since(instant) {
            Some(after) => base.saturating_add(since(after)),
            None => base.saturating_sub(since(instant.saturating_duration_since(moment))),
        }
    }

    fn tell(&self, rare: Rare) {
        let mut all = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < RARE_MAX {
            all.push(rare);
        } else {
            self.rare_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Subscribed to one handle.
pub(super) struct Watch {
    pub(super) hot: Arc<Hot>,
    /// Which of the watched handles it is.
    pub(super) pool: usize,
}

impl Subscriber for Watch {
    fn wants_values(&self) -> bool {
        true
    }

    fn statement(&self, event: &Statement<'_>) {
        let hot = &*self.hot;
        let id = event.sql_id.get();
        hot.texts.remember(id, event.sql);
        let (binds, returned, columns) = match event.values {
            Some(values) => (values.binds(), values.returned(), values.columns().cloned()),
            None => (None, &[][..], None),
        };
        let raw = Raw {
            // More handles than that are nobody's.
            pool: u16::try_from(self.pool).unwrap_or(u16::MAX),
            sql: id,
            place: event.place,
            scope: event.scope.cloned(),
            task: task(),
            tx: event.transaction.and_then(NonZeroU64::new),
            conn: event.connection.and_then(NonZeroU64::new),
            ended: event.ended,
            duration_us: event.duration.as_secs().saturating_mul(1_000_000)
                + u64::from(event.duration.subsec_micros()),
            rows: u32::try_from(event.rows).unwrap_or(u32::MAX),
            end: match event.outcome {
                Outcome::Done => End::Done,
                Outcome::Failed(error) => End::Failed(error.code()),
                Outcome::Cancelled => End::Cancelled,
            },
            binds: binds.map(|b| b.len() as u16),
            columns,
            returned: 0,
        };
        hot.ring.statement(raw, binds.unwrap_or_default(), returned);
        if let Outcome::Failed(error) = event.outcome
            && error.code() == Code::Deadlock
        {
            hot.tell(Rare::Found(signals::deadlock(event, error, hot.clock.wall())));
        }
    }

    fn checkout(&self, event: &Checkout<'_>) {
        self.hot.ring.held(Held {
            pool: self.pool,
            name: SqlId::of(event.pool),
            place: event.place,
            wait: event.wait,
            time: event.held,
            had: event.connection.is_some(),
        });
        if event.held > self.hot.limits.hold {
            self.hot.tell(Rare::Found(signals::long_hold(event, self.hot.clock.wall())));
        }
    }

    fn transaction(&self, event: &Transaction<'_>) {
        let now = || self.hot.clock.wall();
        if event.duration > self.hot.limits.transaction {
            self.hot.tell(Rare::Found(signals::long_transaction(event, now())));
        }
        if let Outcome::Failed(error) = event.outcome
            && error.code() == Code::Serialization
        {
            self.hot.tell(Rare::Conflict(signals::conflict(event, error, now())));
        }
    }

    fn hold(&self, event: &Hold<'_>) {
        if let Some(finding) = signals::hold(event, self.hot.clock.wall()) {
            self.hot.tell(Rare::Found(finding));
        }
    }

    fn finding(&self, event: &Suspect<'_>) {
        if let Some(finding) = signals::suspect(event, self.hot.clock.wall()) {
            self.hot.tell(Rare::Found(finding));
        }
    }

    fn pool(&self, event: &Pool<'_>) {
        self.hot.tell(Rare::Gauge(Gauge {
            pool: self.pool,
            name: event.pool.to_owned(),
            max_size: event.max_size,
            in_use: event.in_use,
            waiting: event.waiting,
        }));
    }
}

/// The number of the running task, if it is one.
fn task() -> Option<NonZeroU64> {
    /// Takes the one number that a task's identity is made of.
    #[derive(Default)]
    struct Number(u64);
    impl Hasher for Number {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
            }
        }
        fn write_u64(&mut self, n: u64) {
            self.0 = n;
        }
    }
    let mut number = Number::default();
    tokio::task::try_id()?.hash(&mut number);
    NonZeroU64::new(number.finish())
}
