//! What is counted, what is not, and where a layer applies.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use mainstay_http::{Key, RateLimitLayer};
use mainstay_limit::redis::RedisStore;
use mainstay_limit::{Limits, Policy};

use crate::support::{allowed, app, ask, by};

#[tokio::test]
async fn probes_are_never_counted() {
    let app = app().layer(by(&["api: fixed 1/min"], Key::global()).0);
    assert_eq!(allowed(&app, 2, "GET /", &[]).await, 1);
    for line in ["GET /livez", "GET /readyz", "GET /metrics"] {
        assert_eq!(allowed(&app, 5, line, &[]).await, 5, "{line}");
        assert_eq!(ask(&app, line, &[]).await.header("ratelimit"), "");
    }
    // What only looks like one is none.
    for line in ["GET /livez/", "GET /users/livez", "GET /livezz"] {
        assert_eq!(ask(&app, line, &[]).await.status, 429, "{line}");
    }
}

#[tokio::test]
async fn other_routes_can_be_exempt_instead() {
    let (layer, _) = by(&["api: fixed 1/min"], Key::global());
    let app = app().layer(layer.exempt(["/users/{id}"]));
    assert_eq!(allowed(&app, 5, "GET /users/7", &[]).await, 5);
    assert_eq!(allowed(&app, 5, "GET /livez", &[]).await, 1);
}

#[tokio::test]
async fn preflights_are_never_counted() {
    let app = app().layer(by(&["api: fixed 1/min"], Key::client()).0);
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "POST")];
    assert_eq!(allowed(&app, 10, "OPTIONS /", &preflight).await, 10);
    // Without the question it is a request like any other, and so is the question in another method.
    assert_eq!(allowed(&app, 2, "OPTIONS /", &[]).await, 1);
    assert_eq!(allowed(&app, 2, "GET /", &preflight).await, 0);
}

#[tokio::test]
async fn a_request_costs_what_the_service_says() {
    let (layer, _) = by(&["api: fixed 10/min"], Key::client());
    let cost = |parts: &axum::http::request::Parts| match parts.uri.path() {
        "/" => 4,
        "/livez" => 100,
        _ => 0,
    };
    let app = app().layer(layer.cost(cost));
    assert_eq!(ask(&app, "GET /", &[]).await.header("ratelimit"), "\"api\";r=6;t=60");
    assert_eq!(allowed(&app, 2, "GET /", &[]).await, 1);
    assert_eq!(allowed(&app, 5, "GET /users/7", &[]).await, 5);
    assert_eq!(ask(&app, "GET /users/7", &[]).await.header("ratelimit"), "", "0 is not counted");
    assert_eq!(allowed(&app, 5, "GET /livez", &[]).await, 5);
}

#[tokio::test]
async fn routes_have_limits_of_their_own() {
    let one = || by(&["one: fixed 1/min"], Key::client()).0;
    let hello = || get(async || "hello");
    let app = Router::new()
        .route("/login", post(async || "welcome").layer(one()))
        .route("/search", hello().route_layer(one()))
        .route("/free", hello())
        .merge(Router::new().route("/a", hello()).route("/b", hello()).route_layer(one()));
    assert_eq!(allowed(&app, 3, "POST /login", &[]).await, 1);
    assert_eq!(allowed(&app, 3, "GET /search", &[]).await, 1);
    assert_eq!(allowed(&app, 3, "GET /free", &[]).await, 3);
    // One layer is one limit, on however many routes.
    assert_eq!(allowed(&app, 1, "GET /a", &[]).await + allowed(&app, 1, "GET /b", &[]).await, 1);
    assert_eq!(ask(&app, "GET /nowhere", &[]).await.status, 404);
}

#[tokio::test]
async fn units_come_back() {
    let (layer, hand) = by(&["api: 6/min burst 2"], Key::client());
    let app = app().layer(layer);
    assert_eq!(allowed(&app, 5, "GET /", &[]).await, 2);
    let refused = ask(&app, "GET /", &[]).await;
    assert_eq!(refused.header("retry-after"), "10");
    assert_eq!(refused.header("ratelimit"), "\"api\";r=0;t=10");
    hand.advance(Duration::from_secs(10));
    assert_eq!(allowed(&app, 5, "GET /", &[]).await, 1);
}

#[tokio::test]
async fn a_shadow_refuses_nobody() {
    let app = app().layer(by(&["api: fixed 1/min shadow"], Key::client()).0);
    assert_eq!(allowed(&app, 5, "GET /", &[]).await, 5);
}

#[tokio::test]
async fn a_store_that_has_to_be_waited_for_decides_for_the_one_request_alone() {
    let policy = "fixed 2/min local".parse::<Policy>().unwrap().named("api");
    let store = RedisStore::lazy("redis://127.0.0.1:1").unwrap();
    let limits = Limits::builder(vec![policy]).redis(store).build().unwrap();
    let app = app().layer(RateLimitLayer::by(limits, Key::client()).unwrap());
    // Nobody answers there, and this process counts in its place.
    let first = ask(&app, "GET /", &[]).await;
    assert_eq!((first.status.as_u16(), first.text.as_str()), (200, "hello"));
    assert!(first.header("ratelimit").starts_with("\"api\";r=1;t="), "{first:?}");
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 1);
    assert_eq!(allowed(&app, 3, "GET /", &[("peer", "192.0.2.2:1")]).await, 2);
}
