//! The scope of a request, its deadline, and what happens when it passes.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use mainstay_core::clock::{Clock, Hand};
use mainstay_core::scope::{Kind, Scope};
use mainstay_http::ScopeLayer;
use serde_json::json;

use crate::support::{Answer, ask};

/// Tells its scope: kind, name, and the milliseconds to its deadline.
fn app(layer: ScopeLayer) -> (Router, Hand) {
    let (clock, hand) = Clock::manual();
    let now = clock.clone();
    let tell = get(async move || {
        let scope = Scope::current().expect("no scope");
        let left = scope.deadline().map(|deadline| (deadline - now.now()).as_millis());
        assert_eq!(scope.kind(), Kind::Request);
        format!("{} {left:?}", scope.name())
    });
    let app = Router::new()
        .route("/users/{id}", tell.clone())
        .fallback_service(tell)
        .layer(layer.clock(clock));
    (app, hand)
}

async fn told(layer: ScopeLayer, timeout: &str) -> Answer {
    let headers = [("x-request-timeout", timeout)];
    let headers: &[_] = if timeout.is_empty() { &[] } else { &headers };
    ask(&app(layer).0, "GET /users/7", headers).await
}

#[tokio::test]
async fn the_scope_is_named_by_the_route() {
    let (app, _) = app(ScopeLayer::new().default_deadline(None));
    assert_eq!(ask(&app, "GET /users/7", &[]).await.text, "GET /users/{id} None");
    assert_eq!(ask(&app, "GET /nowhere/7", &[]).await.text, "GET unknown None");
}

#[tokio::test]
async fn a_nested_route_is_named_whole() {
    let inner = Router::new()
        .route("/users/{id}", get(async || Scope::current().unwrap().name().to_owned()));
    let app = Router::new().nest("/api", inner).layer(ScopeLayer::new());
    assert_eq!(ask(&app, "GET /api/users/7", &[]).await.text, "GET /api/users/{id}");
}

#[tokio::test]
async fn the_deadline_is_the_callers_within_bounds() {
    let layer = || {
        ScopeLayer::new()
            .default_deadline(Duration::from_secs(5))
            .max_deadline(Duration::from_secs(10))
    };
    for (timeout, ms) in
        [("", 5000), ("2", 2000), ("1.5", 1500), ("250ms", 250), ("9.999s", 9999), ("3600", 10_000)]
    {
        let answer = told(layer(), timeout).await;
        assert_eq!(answer.text, format!("GET /users/{{id}} Some({ms})"), "{timeout}");
    }
    // A default beyond the maximum is no way around it.
    let long = layer().default_deadline(Duration::from_secs(60));
    assert_eq!(told(long, "").await.text, "GET /users/{id} Some(10000)");
}

#[tokio::test]
async fn a_malformed_timeout_is_refused_by_name() {
    for timeout in ["soon", "-1", "1e3", "0", "0ms", "9999999999"] {
        let answer = told(ScopeLayer::new(), timeout).await;
        assert_eq!(answer.status, 400, "{timeout}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["code"], "HTTP-002");
        assert_eq!(problem["header"], "X-Request-Timeout");
        assert!(problem["detail"].as_str().unwrap().contains("X-Request-Timeout"));
    }
    let (app, _) = app(ScopeLayer::new());
    let twice = [("x-request-timeout", "1"), ("x-request-timeout", "2")];
    assert_eq!(ask(&app, "GET /users/7", &twice).await.status, 400);
}

struct Dropped(Arc<AtomicBool>, Arc<Mutex<Option<String>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        *self.1.lock().unwrap() = Scope::current().map(|scope| scope.name().to_owned());
    }
}

#[tokio::test]
async fn a_passed_deadline_drops_the_handler_in_its_scope_and_is_504() {
    let (dropped, scope) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let seen = (Arc::clone(&dropped), Arc::clone(&scope));
    let (clock, hand) = Clock::manual();
    let app = Router::new()
        .route(
            "/slow",
            get(async move || {
                let _guard = Dropped(seen.0, seen.1);
                std::future::pending::<()>().await;
            }),
        )
        .layer(ScopeLayer::new().clock(clock));
    let task =
        tokio::spawn(async move { ask(&app, "GET /slow", &[("x-request-timeout", "2")]).await });
    tokio::task::yield_now().await;
    hand.advance(Duration::from_millis(1999));
    tokio::task::yield_now().await;
    assert!(!dropped.load(Ordering::SeqCst) && !task.is_finished());
    hand.advance(Duration::from_millis(1));
    let answer = task.await.unwrap();
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(scope.lock().unwrap().as_deref(), Some("GET /slow"));
    assert_eq!(answer.status, 504);
    assert_eq!(
        answer.json(),
        json!({
            "type": "about:blank",
            "title": "Deadline passed",
            "status": 504,
            "detail": "there was no answer in time; what was asked for may have been done in part",
            "code": "HTTP-003",
        })
    );
}

#[tokio::test]
async fn a_streamed_body_is_in_the_scope_without_its_deadline() {
    let stream = async || {
        let parts = futures_util::stream::poll_fn(|_| {
            let scope = Scope::current().expect("no scope");
            std::task::Poll::Ready(Some((scope.name().to_owned(), scope.deadline().is_some())))
        });
        let parts = futures_util::StreamExt::take(parts, 2);
        let parts = futures_util::StreamExt::map(parts, |(name, deadline)| {
            Ok::<_, Infallible>(Bytes::from(format!("{name} {deadline};")))
        });
        Body::from_stream(parts)
    };
    let app = Router::new().route("/export", get(stream)).layer(ScopeLayer::new());
    assert_eq!(ask(&app, "GET /export", &[]).await.text, "GET /export false;GET /export false;");
    assert!(Scope::current().is_none());
}
