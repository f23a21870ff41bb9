//! Exactly what callers are told of their limits.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mainstay_http::{Families, Key, RateLimitLayer};
use serde_json::json;

use crate::support::{Answer, app, ask, by, limits};

/// The headers of limits, as they would be sent.
fn told(answer: &Answer) -> String {
    let names = [
        "ratelimit-policy",
        "ratelimit",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ];
    let there = names.iter().filter(|name| answer.headers.contains_key(**name));
    there.fold(String::new(), |told, name| told + name + ": " + &answer.header(name) + "\n")
}

#[tokio::test]
async fn every_answer_tells_all_policies() {
    let (layer, hand) = by(&["second: fixed 5/s", "burst: fixed 100/min"], Key::client());
    let app = app().layer(layer);
    hand.advance(Duration::from_secs(30));
    assert_eq!(
        told(&ask(&app, "GET /", &[]).await),
        "ratelimit-policy: \"second\";q=5;w=1, \"burst\";q=100;w=60\n\
         ratelimit: \"second\";r=4;t=1, \"burst\";r=99;t=30\n"
    );
    // Also one that no route has.
    let nowhere = ask(&app, "GET /nowhere", &[]).await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.header("ratelimit"), "\"second\";r=3;t=1, \"burst\";r=98;t=30");
}

#[tokio::test]
async fn a_refusal_is_a_problem_that_says_when_to_come_back() {
    let (layer, hand) = by(&["burst: fixed 2/min", "day: fixed 1000/d"], Key::client());
    let app = app().layer(layer.headers(Families::Both));
    hand.advance(Duration::from_millis(30_500));
    for _ in 0..2 {
        assert_eq!(ask(&app, "GET /", &[]).await.status, 200);
    }
    let answer = ask(&app, "GET /", &[]).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    // 29.5 s are left: rounded up, and Retry-After no earlier than `t`.
    assert_eq!(
        told(&answer),
        "ratelimit-policy: \"burst\";q=2;w=60, \"day\";q=1000;w=86400\n\
         ratelimit: \"burst\";r=0;t=30, \"day\";r=998;t=86370\n\
         x-ratelimit-limit: 2\n\
         x-ratelimit-remaining: 0\n\
         x-ratelimit-reset: 30\n\
         retry-after: 30\n"
    );
    assert_eq!(
        answer.text,
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#.to_owned()
            + r#""title":"Quota exceeded","status":429,"detail":"used up: burst; try again in 30 s","#
            + r#""code":"HTTP-001","violated-policies":["burst"]}"#
    );
    hand.advance(Duration::from_secs(30));
    assert_eq!(ask(&app, "GET /", &[]).await.status, 200, "Retry-After must be long enough");
}

#[tokio::test]
async fn families_are_chosen() {
    let told_by = async |families| {
        let (layer, _) = by(&["api: fixed 10/min"], Key::client());
        told(&ask(&app().layer(layer.headers(families)), "GET /", &[]).await)
    };
    let standard = "ratelimit-policy: \"api\";q=10;w=60\nratelimit: \"api\";r=9;t=60\n";
    let legacy = "x-ratelimit-limit: 10\nx-ratelimit-remaining: 9\nx-ratelimit-reset: 60\n";
    assert_eq!(told_by(Families::None).await, "");
    assert_eq!(told_by(Families::Standard).await, standard);
    assert_eq!(told_by(Families::Legacy).await, legacy);
    assert_eq!(told_by(Families::Both).await, format!("{standard}{legacy}"));
}

#[tokio::test]
async fn a_refusal_without_families_still_says_when() {
    let (layer, _) = by(&["api: fixed 1/min"], Key::client());
    let app = app().layer(layer.headers(Families::None));
    ask(&app, "GET /", &[]).await;
    assert_eq!(told(&ask(&app, "GET /", &[]).await), "retry-after: 60\n");
}

#[tokio::test]
async fn what_can_never_be_allowed_has_no_time_to_come_back() {
    let (layer, _) = by(&["api: fixed 10/min"], Key::client());
    let app = app().layer(layer.cost(|_| 11));
    let answer = ask(&app, "GET /", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, String::new()));
    assert_eq!(answer.json()["detail"], "this costs 11, and api allows 10 at once");
}

#[tokio::test]
async fn layers_within_each_other_add_to_the_lists() {
    let (outer, _) = by(&["all: fixed 100/min"], Key::global());
    let (inner, _) = by(&["route: fixed 5/min"], Key::client());
    let app = Router::new()
        .route("/", get(async || "hello").layer(inner.headers(Families::Both)))
        .layer(outer.headers(Families::Both));
    let answer = ask(&app, "GET /", &[]).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"route\";q=5;w=60, \"all\";q=100;w=60");
    assert_eq!(answer.header("ratelimit"), "\"route\";r=4;t=60, \"all\";r=99;t=60");
    assert_eq!(answer.header("x-ratelimit-limit"), "5");
}

#[tokio::test]
async fn a_shadow_is_not_told_of() {
    let (layer, _) = by(&["tried: fixed 1/min shadow", "api: fixed 10/min"], Key::client());
    let app = app().layer(layer.headers(Families::Both));
    ask(&app, "GET /", &[]).await;
    let answer = ask(&app, "GET /", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("ratelimit-policy"), "\"api\";q=10;w=60");
    assert_eq!(answer.header("ratelimit"), "\"api\";r=8;t=60");
    assert_eq!(answer.header("x-ratelimit-limit"), "10");
}

#[tokio::test]
async fn a_key_with_its_own_limit_is_told_of_that() {
    let (limits, _) = limits(&["api: fixed 10/min"]);
    let own = "fixed 50/min".parse().unwrap();
    limits.set_override("api", "ip:192.0.2.1", Some(own)).unwrap();
    let app = app().layer(RateLimitLayer::by(limits, Key::client()).unwrap());
    let answer = ask(&app, "GET /", &[]).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"api\";q=50");
    assert!(
        answer.header("ratelimit").starts_with("\"api\";r=49;"),
        "{}",
        answer.header("ratelimit")
    );
    let other = ask(&app, "GET /", &[("peer", "192.0.2.2:1")]).await;
    assert_eq!(other.header("ratelimit-policy"), "\"api\";q=10;w=60");
}

#[tokio::test]
async fn names_are_quoted_and_impossible_ones_refused() {
    let (layer, _) = by(&["a \"b\" \\c: fixed 10/min"], Key::client());
    let answer = ask(&app().layer(layer), "GET /", &[]).await;
    assert_eq!(answer.header("ratelimit-policy"), r#""a \"b\" \\c";q=10;w=60"#);
    let error = RateLimitLayer::by(limits(&["é: 10/min"]).0, Key::client()).unwrap_err();
    assert_eq!(error.code().as_str(), "HTTP-004");
}

#[tokio::test]
async fn windows_below_a_second_are_told_as_one() {
    let (layer, _) = by(&["api: fixed 5/200ms"], Key::client());
    let answer = ask(&app().layer(layer), "GET /", &[]).await;
    assert_eq!(answer.header("ratelimit-policy"), "\"api\";q=5;w=1");
    assert_eq!(answer.header("ratelimit"), "\"api\";r=4;t=1");
}

#[tokio::test]
async fn violated_policies_are_all_named() {
    let (layer, _) = by(&["one: fixed 1/h", "two: fixed 1/min", "three: fixed 9/h"], Key::client());
    let app = app().layer(layer);
    ask(&app, "GET /", &[]).await;
    let answer = ask(&app, "GET /", &[]).await;
    assert_eq!(answer.json()["violated-policies"], json!(["one", "two"]));
    assert_eq!(answer.header("retry-after"), "3600", "the longest");
}
