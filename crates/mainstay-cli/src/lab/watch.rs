//! What a lab sees of a piece of work: the statements that it took, and what the doctor said meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mainstay_core::Code;
use mainstay_core::clock::Clock;
use mainstay_core::observe::{Statement, Subscriber, Subscription};
use mainstay_db::Db;
use mainstay_doctor::{Doctor, Finding};

/// How often the doctor is asked for what is waited for.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A doctor that looks at a handle, and a count beside it. Dropped, both stop.
pub(super) struct Watched {
    doctor: Doctor,
    counts: Arc<Counts>,
    clock: Clock,
    began: Instant,
    _counting: Subscription,
}

#[derive(Default)]
struct Counts {
    statements: AtomicU64,
    rows: AtomicU64,
}

struct Counting(Arc<Counts>);

impl Subscriber for Counting {
    fn statement(&self, event: &Statement<'_>) {
        self.0.statements.fetch_add(1, Relaxed);
        self.0.rows.fetch_add(event.rows, Relaxed);
    }
}

impl Watched {
    pub(super) fn begin(db: &Db) -> Self {
        Self::by(Doctor::builder().build(), db)
    }

    /// With a doctor who judges pools by what happens within `window`.
    pub(super) fn within(db: &Db, window: Duration) -> Self {
        Self::by(Doctor::builder().pool_window(window).build(), db)
    }

    fn by(doctor: Doctor, db: &Db) -> Self {
        doctor.watch(db);
        let counts = Arc::<Counts>::default();
        let counting = db.observer().subscribe_while(Counting(Arc::clone(&counts)));
        let clock = Clock::system();
        Self { doctor, counts, began: clock.now(), clock, _counting: counting }
    }

    pub(super) fn statements(&self) -> u64 {
        self.counts.statements.load(Relaxed)
    }

    pub(super) fn rows(&self) -> u64 {
        self.counts.rows.load(Relaxed)
    }

    /// Microseconds since it began.
    pub(super) fn micros(&self) -> u64 {
        micros(self.clock.now() - self.began)
    }

    /// What the doctor says by now.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.doctor.findings()
    }

    /// As [`findings`](Self::findings), once `code` is among them, or after `limit`.
    pub(super) async fn findings_with(&self, code: Code, limit: Duration) -> Vec<Finding> {
        let until = self.clock.now() + limit;
        loop {
            let findings = self.findings();
            if findings.iter().any(|f| f.code == code) || self.clock.now() >= until {
                return findings;
            }
            self.clock.sleep(ASK_EVERY).await;
        }
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
