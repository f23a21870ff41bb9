//! What is begun, what waits and what is turned away, around real routers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::get;
use mainstay_core::clock::{Clock, Hand};
use mainstay_core::inspect::Inspect;
use mainstay_core::rng::Rng;
use mainstay_core::scope::{Priority, Scope};
use mainstay_http::{ScopeLayer, ShedLayer};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tower::ServiceExt;

use crate::support::{Answer, ask, request};

const SEC: Duration = Duration::from_secs(1);

/// A service whose handlers wait to be let go, and count how many were begun.
struct Slow {
    app: Router,
    hand: Hand,
    shed: ShedLayer,
    begun: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

fn slow(shed: ShedLayer) -> Slow {
    let (clock, hand) = Clock::manual();
    let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (count, gate) = (Arc::clone(&begun), Arc::clone(&go));
    let work = get(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        gate.acquire().await.unwrap().forget();
        format!("{:?}", Scope::current().unwrap().priority())
    });
    let shed = shed.clock(clock.clone()).rng(Rng::seeded(1)).priority(|parts| {
        match parts.headers.get("x-priority").map(|value| value.as_bytes()) {
            Some(b"low") => Priority::Low,
            Some(b"high") => Priority::High,
            _ => Priority::Normal,
        }
    });
    let app = Router::new()
        .route("/a", work.clone())
        .route("/b", work)
        .route("/livez", get(async || "alive"))
        .layer(shed.clone())
        .layer(ScopeLayer::new().clock(clock));
    Slow { app, hand, shed, begun, go }
}

impl Slow {
    /// A request under way, polled until it waits.
    async fn ask(&self, path: &str, headers: &'static [(&str, &str)]) -> JoinHandle<Answer> {
        let (app, line) = (self.app.clone(), format!("GET {path}"));
        let task = tokio::spawn(async move { ask(&app, &line, headers).await });
        for _ in 0..5 {
            yield_now().await;
        }
        task
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// The limit, those under way, those that wait.
    fn stands(&self) -> Vec<usize> {
        self.shed.inspect().facts.iter().map(|fact| fact.value as usize).collect()
    }
}

const LOW: &[(&str, &str)] = &[("x-priority", "low")];
const HIGH: &[(&str, &str)] = &[("x-priority", "high")];

#[tokio::test]
async fn over_the_limit_low_is_refused_normal_waits_and_high_is_begun() {
    let slow = slow(ShedLayer::new().concurrency(1, 2).patience(SEC));
    // It begins at its maximum; one failure would lower it, so it is filled to there.
    let first = slow.ask("/a", &[]).await;
    let second = slow.ask("/b", &[]).await;
    let low = slow.ask("/a", LOW).await.await.unwrap();
    assert_eq!(low.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(low.header("content-type"), "application/problem+json");
    let problem = low.json();
    assert_eq!((&problem["code"], &problem["title"]), (&"HTTP-040".into(), &"Overloaded".into()));
    let after: u64 = low.header("retry-after").parse().unwrap();
    assert!((1..4).contains(&after));
    let normal = slow.ask("/a", &[]).await;
    let high = slow.ask("/b", HIGH).await;
    assert_eq!((slow.begun(), slow.stands()), (2, vec![2, 2, 2]));
    // Probes are asked all the same.
    assert_eq!(ask(&slow.app, "GET /livez", &[]).await.text, "alive");
    slow.go.add_permits(1);
    // Who came last, and matters most, goes first; and the pool behind knows that it does.
    for _ in 0..20 {
        yield_now().await;
    }
    assert_eq!((slow.begun(), slow.stands()[2]), (3, 1));
    slow.go.add_permits(9);
    assert_eq!(high.await.unwrap().text, "High");
    for task in [first, second, normal] {
        assert_eq!(task.await.unwrap().text, "Normal");
    }
    assert_eq!((slow.begun(), slow.stands()[1]), (4, 0));
}

#[tokio::test]
async fn patience_ends() {
    let slow = slow(ShedLayer::new().concurrency(1, 1).patience(SEC));
    let _first = slow.ask("/a", &[]).await;
    let normal = slow.ask("/a", &[]).await;
    slow.hand.advance(SEC);
    assert_eq!(normal.await.unwrap().json()["code"], "HTTP-040");
    assert_eq!(slow.begun(), 1);
}

#[tokio::test]
async fn nothing_is_begun_past_its_deadline() {
    let slow = slow(ShedLayer::new().concurrency(1, 1).patience(10 * SEC));
    let _first = slow.ask("/a", &[]).await;
    let soon: &[_] = &[("x-request-timeout", "2")];
    let urgent: &[_] = &[("x-request-timeout", "2"), ("x-priority", "high")];
    let waiting = [slow.ask("/a", soon).await, slow.ask("/a", urgent).await];
    let patient = slow.ask("/a", &[]).await;
    slow.hand.advance(2 * SEC);
    // The place is free at the very moment when they expire.
    slow.go.add_permits(5);
    for task in waiting {
        let answer = task.await.unwrap();
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        let code = answer.json()["code"].clone();
        assert!(code == "HTTP-041" || code == "HTTP-003", "{code}");
    }
    assert_eq!(patient.await.unwrap().status, 200);
    assert_eq!(slow.begun(), 2);
}

#[tokio::test]
async fn a_hundred_expired_requests_cost_no_work() {
    let slow = slow(ShedLayer::new().concurrency(1, 1).patience(60 * SEC));
    let first = slow.ask("/a", &[]).await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(slow.ask("/a", &[("x-request-timeout", "1")]).await);
    }
    slow.hand.advance(SEC);
    slow.go.add_permits(1000);
    assert_eq!(first.await.unwrap().status, 200);
    for task in waiting {
        assert_eq!(task.await.unwrap().status, 504);
    }
    assert_eq!((slow.begun(), slow.stands()), (1, vec![1, 0, 0]));
}

#[tokio::test]
async fn places_come_back_when_requests_are_dropped() {
    let slow = slow(ShedLayer::new().concurrency(1, 1).patience(SEC));
    for _ in 0..3 {
        let task = slow.ask("/a", &[]).await;
        let waits = slow.ask("/a", &[]).await;
        waits.abort();
        task.abort();
        assert!(task.await.is_err() && waits.await.is_err());
    }
    assert_eq!(slow.stands()[1], 0);
    slow.go.add_permits(1);
    assert_eq!(slow.ask("/b", LOW).await.await.unwrap().text, "Low");
}

#[tokio::test]
async fn a_place_is_kept_until_the_body_has_ended() {
    let shed = ShedLayer::new().concurrency(1, 1);
    let stream = async || {
        let parts = ["a", "b"].map(|part| Ok::<_, Infallible>(Bytes::from(part)));
        Body::from_stream(futures_util::stream::iter(parts))
    };
    let app = Router::new().route("/export", get(stream)).layer(shed.clone());
    let in_flight = || shed.inspect().facts[1].value as usize;
    let response = app.clone().oneshot(request("GET /export", &[])).await.unwrap();
    assert_eq!(in_flight(), 1);
    axum::body::to_bytes(response.into_body(), 10).await.unwrap();
    assert_eq!(in_flight(), 0);
    let response = app.oneshot(request("GET /export", &[])).await.unwrap();
    drop(response);
    assert_eq!(in_flight(), 0);
}
