//! A subscriber that measures what it is told through the `metrics` crate, under OpenTelemetry's
//! names, in seconds. Which exporter is behind that crate is the service's choice.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `db.client.operation.duration` | histogram | `pool.name`, `db.system.name`, `error.type` where it failed |
//! | `db.client.connection.wait_time` | histogram | `pool.name`, `error.type` where none was had |
//! | `db.client.connection.use_time` | histogram | `pool.name` |
//! | `db.client.connection.timeouts` | counter | `pool.name` |
//! | `mainstay.transaction.duration` | histogram | `pool.name`, `outcome`: committed or rolled_back |
//!
//! `error.type` is the error's code, or `cancelled`.

use std::sync::{PoisonError, RwLock};

use metrics::{Counter, Histogram, Label, counter, histogram};

use crate::error::Code;
use crate::observe::{Checkout, Outcome, Statement, Subscriber, Transaction};

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
    timeouts: Family<Counter>,
    transactions: Family<Histogram>,
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

impl Subscriber for Metrics {
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
        if matches!(event.outcome, Outcome::Failed(error) if error.code() == Code::PoolTimeout) {
            self.timeouts.with(
                (event.pool, "", ""),
                |labels| counter!("db.client.connection.timeouts", labels),
                |c| c.increment(1),
            );
        }
    }

    fn transaction(&self, event: &Transaction<'_>) {
        let outcome = if event.committed { "committed" } else { "rolled_back" };
        self.transactions.with(
            (event.pool, outcome, ""),
            |labels| histogram!("mainstay.transaction.duration", with(labels, "outcome", outcome)),
            |h| h.record(event.duration),
        );
    }
}
