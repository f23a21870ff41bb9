//! A subscriber that measures what it is told through the `metrics` crate, under OpenTelemetry's
//! names, in seconds. Which exporter is behind that crate is the service's choice.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `db.client.operation.duration` | histogram | `pool.name`, `db.system.name`, `error.type` where it failed |
//! | `db.client.connection.wait_time` | histogram | `pool.name`, `error.type` where none was had |
//! | `db.client.connection.use_time` | histogram | `pool.name` |
//! | `db.client.connection.create_time` | histogram | `pool.name`, `error.type` where it failed |
//! | `db.client.connection.timeouts` | counter | `pool.name` |
//! | `db.client.connection.count` | gauge | `pool.name`, `state`: idle or used |
//! | `db.client.connection.max`, `.idle.max`, `.idle.min` | gauge | `pool.name` |
//! | `db.client.connection.pending_requests` | gauge | `pool.name` |
//! | `mainstay.pool.removed` | counter | `pool.name`, `reason` |
//! | `mainstay.pool.shed` | counter | `pool.name` |
//! | `mainstay.pool.leaks` | counter | `pool.name` |
//! | `mainstay.pool.nested` | counter | `pool.name` |
//! | `mainstay.transaction.duration` | histogram | `pool.name`, `outcome`: committed or rolled_back |
//! | `mainstay.transaction.retries` | counter | `pool.name`, `reason`: the code it was run again for |
//! | `mainstay.transaction.findings` | counter | `pool.name`, `reason`: TX-009 to TX-012 |
//! | `messaging.process.duration` | histogram | `messaging.destination.name`: the queue; `error.type` where it failed |
//!
//! `error.type` is the error's code, or `cancelled`. Gauges are set about once a second.

use std::sync::{PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use crate::error::Code;
use crate::observe::{
    Change, Checkout, Connection, Finding, Hold, HoldKind, Job, JobEnd, Outcome, Pool, Statement,
    Subscriber, Transaction,
};

/// Measures statements, checkouts and transactions. Install the exporter before the first event:
/// what is measured before goes nowhere. Allocates for each new combination of labels, then never.
///
/// ```
/// use mainstay_core::metrics::Metrics;
/// use mainstay_core::observe::Observer;
///
/// let observer = Observer::new();
/// observer.subscribe(Metrics::default());
/// ```
#[derive(Debug, Default)]
pub struct Metrics {
    operations: Family<Histogram>,
    waits: Family<Histogram>,
    uses: Family<Histogram>,
    creates: Family<Histogram>,
    counters: Family<Counter>,
    gauges: Family<Gauge>,
    transactions: Family<Histogram>,
    jobs: Family<Histogram>,
}

/// What sets one series apart from another: a pool and two words of few values.
type Key<'a> = (&'a str, &'static str, &'static str);

/// The series of one metric. They are few, so a scan is cheaper than hashing.
#[derive(Debug)]
struct Family<M>(RwLock<Vec<(String, &'static str, &'static str, M)>>);

impl<M> Default for Family<M> {
    fn default() -> Self {
        Self(RwLock::new(Vec::new()))
    }
}

impl<M: Clone> Family<M> {
    fn with(
        &self,
        (pool, first, second): Key<'_>,
        register: impl Fn(Vec<Label>) -> M,
        record: impl Fn(&M),
    ) {
        let find = |all: &[(String, &'static str, &'static str, M)]| {
            let found = all.iter().find(|(p, a, b, _)| p == pool && *a == first && *b == second);
            found.map(|(.., metric)| record(metric))
        };
        if find(&self.0.read().unwrap_or_else(PoisonError::into_inner)).is_some() {
            return;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if find(&all).is_none() {
            let metric = register(vec![Label::new("pool.name", pool.to_owned())]);
            record(&metric);
            all.push((pool.to_owned(), first, second, metric));
        }
    }
}

/// Empty where it went well.
fn error_type(outcome: Outcome<'_>) -> &'static str {
    match outcome {
        Outcome::Done => "",
        Outcome::Failed(error) => error.code().as_str(),
        Outcome::Cancelled => "cancelled",
    }
}

fn with(mut labels: Vec<Label>, name: &'static str, value: &'static str) -> Vec<Label> {
    if !value.is_empty() {
        labels.push(Label::from_static_parts(name, value));
    }
    labels
}

impl Metrics {
    fn count(&self, pool: &str, name: &'static str, reason: &'static str) {
        self.counters.with(
            (pool, name, reason),
            |labels| counter!(name, with(labels, "reason", reason)),
            |c| c.increment(1),
        );
    }

    fn set(&self, pool: &str, name: &'static str, state: &'static str, value: usize) {
        self.gauges.with(
            (pool, name, state),
            |labels| gauge!(name, with(labels, "state", state)),
            |g| g.set(value as f64),
        );
    }
}

impl Subscriber for Metrics {
    fn job(&self, event: &Job<'_>) {
        let error = match event.end {
            JobEnd::Completed => "",
            JobEnd::Suspended => return,
            JobEnd::Failed(error) => error.code().as_str(),
        };
        self.jobs.with(
            (event.queue, error, ""),
            |_| {
                let queue = Label::new("messaging.destination.name", event.queue.to_owned());
                let labels = with(vec![queue], "error.type", error);
                histogram!("messaging.process.duration", labels)
            },
            |h| h.record(event.duration),
        );
    }

    fn statement(&self, event: &Statement<'_>) {
        let (system, error) = (event.system, error_type(event.outcome));
        self.operations.with(
            (event.pool, system, error),
            |labels| {
                let labels = with(with(labels, "db.system.name", system), "error.type", error);
                histogram!("db.client.operation.duration", labels)
            },
            |h| h.record(event.duration),
        );
    }

    fn checkout(&self, event: &Checkout<'_>) {
        let error = error_type(event.outcome);
        self.waits.with(
            (event.pool, error, ""),
            |labels| {
                histogram!("db.client.connection.wait_time", with(labels, "error.type", error))
            },
            |h| h.record(event.wait),
        );
        if event.connection.is_some() {
            self.uses.with(
                (event.pool, "", ""),
                |labels| histogram!("db.client.connection.use_time", labels),
                |h| h.record(event.held),
            );
        }
        if let Outcome::Failed(error) = event.outcome {
            match error.code() {
                Code::PoolTimeout => self.count(event.pool, "db.client.connection.timeouts", ""),
                Code::PoolShed | Code::PoolQueueFull => {
                    self.count(event.pool, "mainstay.pool.shed", "");
                }
                _ => {}
            }
        }
    }

    fn connection(&self, event: &Connection<'_>) {
        let (took, error) = match event.change {
            Change::Opened { took } => (took, ""),
            Change::OpenFailed { error, took } => (took, error.code().as_str()),
            Change::Acquired { .. } => return,
            Change::Removed { why, .. } => {
                return self.count(event.pool, "mainstay.pool.removed", why.as_str());
            }
        };
        self.creates.with(
            (event.pool, error, ""),
            |labels| {
                histogram!("db.client.connection.create_time", with(labels, "error.type", error))
            },
            |h| h.record(took),
        );
    }

    fn hold(&self, event: &Hold<'_>) {
        match event.kind {
            HoldKind::Leak => self.count(event.pool, "mainstay.pool.leaks", ""),
            HoldKind::Nested => self.count(event.pool, "mainstay.pool.nested", ""),
            HoldKind::IdleInTransaction => {
                self.count(
                    event.pool,
                    "mainstay.transaction.findings",
                    event.report.code().as_str(),
                );
            }
            HoldKind::LeakReturned => {}
        }
    }

    fn pool(&self, event: &Pool<'_>) {
        let name = event.pool;
        self.set(name, "db.client.connection.count", "idle", event.idle);
        self.set(name, "db.client.connection.count", "used", event.in_use);
        self.set(name, "db.client.connection.max", "", event.max_size);
        // What is idle is bounded by nothing else.
        self.set(name, "db.client.connection.idle.max", "", event.max_size);
        self.set(name, "db.client.connection.idle.min", "", event.min_idle);
        self.set(name, "db.client.connection.pending_requests", "", event.waiting);
    }

    fn finding(&self, event: &Finding<'_>) {
        self.count(event.pool, "mainstay.transaction.findings", event.report.code().as_str());
    }

    fn transaction(&self, event: &Transaction<'_>) {
        if let (Some(_), Outcome::Failed(error)) = (event.retry_after, event.outcome) {
            self.count(event.pool, "mainstay.transaction.retries", error.code().as_str());
        }
        let outcome = if event.committed { "committed" } else { "rolled_back" };
        self.transactions.with(
            (event.pool, outcome, ""),
            |labels| histogram!("mainstay.transaction.duration", with(labels, "outcome", outcome)),
            |h| h.record(event.duration),
        );
    }
}
