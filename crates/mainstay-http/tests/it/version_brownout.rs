//! A version is switched off for a while, and on again when that harms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use mainstay_core::clock::{Clock, Hand};
use mainstay_core::inspect::Inspect;
use mainstay_http::{Brownout, Release, Version, Versions};

use crate::support::ask;

const MINUTE: Duration = Duration::from_secs(60);

struct Service {
    app: Router,
    versions: Versions,
    hand: Hand,
    fails: Arc<AtomicBool>,
}

/// Version 1 is off from minute 10 to 20 and from 30 to 40.
fn service(share: f64) -> Service {
    let (clock, hand) = Clock::manual();
    let off = |from: u32, until: u32| {
        let at = |minute| format!("1970-01-01T00:{minute}:00Z");
        Brownout::new(at(from), at(until)).share(share)
    };
    let old = Release::new(Version::number(1))
        .deprecated("1970-01-01")
        .sunset("1970-01-02")
        .brownout(off(30, 40))
        .brownout(off(10, 20));
    let versions = Versions::builder()
        .release(old)
        .release(Release::new(Version::number(2)))
        .clock(clock)
        .build()
        .unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let handler = get(async move || {
        if failing.load(Ordering::Relaxed) {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        }
    });
    let app = versions.wrap(Router::new().route("/", handler));
    Service { app, versions, hand, fails }
}

impl Service {
    /// How many of `n` requests for a version are answered with `status`.
    async fn answered(&self, n: usize, version: u32, status: u16) -> usize {
        let mut answered = 0;
        for _ in 0..n {
            let answer = ask(&self.app, &format!("GET /v{version}/"), &[]).await;
            answered += usize::from(answer.status == status);
        }
        answered
    }
}

#[tokio::test]
async fn within_its_time_a_version_is_503_with_when_to_come_back() {
    let service = service(1.0);
    assert_eq!(service.answered(1, 1, 200).await, 1);
    service.hand.advance(MINUTE * 12);
    let answer = ask(&service.app, "GET /v1/", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "480");
    assert!(answer.header("link").contains("</v2/>; rel=\"successor-version\""));
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["successor"]), (&"HTTP-013".into(), &"2".into()));
    assert_eq!(
        problem["detail"],
        "version 1 is switched off until 1970-01-01 00:20 UTC and ends on 1970-01-02 00:00 UTC; \
         move to version 2"
    );
    assert_eq!(service.answered(1, 2, 200).await, 1);
    service.hand.advance(MINUTE * 8);
    assert_eq!(service.answered(1, 1, 200).await, 1);
}

#[tokio::test]
async fn a_share_of_requests_can_be_refused() {
    let service = service(0.25);
    service.hand.advance(MINUTE * 10);
    assert_eq!(service.answered(100, 1, 503).await, 25);
}

#[tokio::test]
async fn it_ends_when_errors_rise_and_the_next_one_begins_all_the_same() {
    let service = service(1.0);
    assert_eq!(service.answered(100, 2, 200).await, 100);
    service.hand.advance(MINUTE * 11);
    assert_eq!(service.answered(1, 1, 503).await, 1);
    service.fails.store(true, Ordering::Relaxed);
    assert_eq!(service.answered(19, 2, 500).await, 19);
    assert_eq!(service.answered(1, 1, 503).await, 1, "19 answers are too few to judge");
    assert_eq!(service.answered(1, 2, 500).await, 1);
    service.fails.store(false, Ordering::Relaxed);
    assert_eq!(service.answered(5, 1, 200).await, 5, "it was ended");
    let notes = service.versions.inspect().notes;
    assert!(
        notes.iter().any(|note| note.contains("00:10 UTC was ended: errors rose")),
        "{notes:?}"
    );
    service.hand.advance(MINUTE * 20);
    assert_eq!(service.answered(1, 1, 503).await, 1);
}

#[tokio::test]
async fn errors_that_were_there_before_do_not_end_it() {
    let service = service(1.0);
    service.fails.store(true, Ordering::Relaxed);
    service.answered(50, 2, 500).await;
    service.hand.advance(MINUTE * 10);
    service.answered(50, 2, 500).await;
    assert_eq!(service.answered(1, 1, 503).await, 1);
}

#[tokio::test]
async fn it_can_be_ended_by_hand() {
    let service = service(1.0);
    assert!(!service.versions.abort_brownouts(), "none is on");
    service.hand.advance(MINUTE * 10);
    assert!(service.versions.abort_brownouts());
    assert_eq!(service.answered(1, 1, 200).await, 1);
}
