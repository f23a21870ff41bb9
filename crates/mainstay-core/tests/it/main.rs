//! Delivery of events: to whom, when, and at what cost in memory.

#![allow(missing_docs, reason = "a test binary has no readers outside")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::Place;
use mainstay_core::clock::Clock;
use mainstay_core::observe::{Checkout, Observer, Outcome, SqlId, Statement, Subscriber};

#[derive(Clone, Default)]
struct Counts(Arc<AtomicU64>);

impl Subscriber for Counts {
    fn statement(&self, event: &Statement<'_>) {
        self.0.fetch_add(event.rows, Ordering::Relaxed);
    }
}

fn statement(place: Place) -> Statement<'static> {
    Statement {
        pool: "main",
        system: "sqlite",
        sql: "SELECT 1",
        sql_id: SqlId::of("SELECT 1"),
        place,
        scope: None,
        transaction: None,
        connection: Some(1),
        wait: Duration::ZERO,
        duration: Duration::from_micros(20),
        rows: 2,
        affected: 0,
        outcome: Outcome::Done,
        ended: Clock::system().now(),
        values: None,
    }
}

fn checkout(place: Place) -> Checkout<'static> {
    Checkout {
        pool: "main",
        connection: Some(1),
        place,
        scope: None,
        wait: Duration::ZERO,
        held: Duration::from_micros(20),
        outcome: Outcome::Done,
    }
}

#[test]
fn every_subscriber_is_told_from_when_it_subscribed() {
    let (observer, first, second) = (Observer::new(), Counts::default(), Counts::default());
    let event = statement(Place::here());
    assert!(!observer.is_active());
    observer.statement(&event);
    observer.subscribe(first.clone());
    observer.statement(&event);
    observer.clone().subscribe(second.clone());
    observer.statement(&event);
    assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (4, 2));
}

#[test]
fn delivery_allocates_nothing() {
    let observer = Observer::new();
    observer.subscribe(Counts::default());
    #[cfg(feature = "metrics")]
    observer.subscribe(mainstay_core::metrics::Metrics::default());
    let place = Place::here();
    let tell = || {
        observer.statement(&statement(place));
        observer.checkout(&checkout(place));
    };
    tell();
    let info = allocation_counter::measure(|| (0..1000).for_each(|_| tell()));
    assert_eq!(info.count_total, 0);
}
