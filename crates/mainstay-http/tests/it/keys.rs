//! Whom a policy counts.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use mainstay_http::{Key, RateLimitLayer, TrustedProxies};

use crate::support::{allowed, app, ask, by, limits};

fn limited(key: Key) -> Router {
    app().layer(by(&["api: fixed 2/min"], key).0)
}

#[tokio::test]
async fn clients_are_counted_apart() {
    let app = limited(Key::client());
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[("peer", "192.0.2.2:1")]).await, 2);
    // Another port is the same client.
    assert_eq!(allowed(&app, 1, "GET /", &[("peer", "192.0.2.1:9")]).await, 0);
}

#[tokio::test]
async fn clients_behind_a_proxy_are_counted_apart_and_forged_ones_are_not() {
    for app in [
        limited(Key::client()).layer(TrustedProxies::hops(1)),
        app().layer(by(&["api: fixed 2/min"], Key::client()).0.proxies(TrustedProxies::hops(1))),
    ] {
        let mut passed = 0;
        for n in 0..5 {
            let forged = format!("198.51.100.{n}, 203.0.113.7");
            passed += allowed(&app, 1, "GET /", &[("x-forwarded-for", &forged)]).await;
        }
        assert_eq!(passed, 2);
        assert_eq!(allowed(&app, 3, "GET /", &[("x-forwarded-for", "203.0.113.8")]).await, 2);
    }
}

#[tokio::test]
async fn without_trusted_proxies_a_forwarded_address_is_not_believed() {
    let app = limited(Key::client());
    let mut passed = 0;
    for n in 0..5 {
        let forged = format!("198.51.100.{n}");
        passed += allowed(&app, 1, "GET /", &[("x-forwarded-for", &forged)]).await;
    }
    assert_eq!(passed, 2);
}

#[tokio::test]
async fn a_header_is_a_key_and_without_it_the_client_is() {
    let app = limited(Key::header("x-api-key"));
    assert_eq!(allowed(&app, 3, "GET /", &[("x-api-key", "one")]).await, 2);
    assert_eq!(
        allowed(&app, 3, "GET /", &[("x-api-key", "two"), ("peer", "192.0.2.2:1")]).await,
        2
    );
    assert_eq!(
        allowed(&app, 3, "GET /", &[("x-api-key", "two")]).await,
        0,
        "wherever it comes from"
    );
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[("peer", "192.0.2.2:1")]).await, 2);
    // A key that looks like a client is none.
    let app = limited(Key::header("x-api-key"));
    assert_eq!(allowed(&app, 3, "GET /", &[("x-api-key", "ip:192.0.2.1")]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 2);
}

#[tokio::test]
async fn routes_are_counted_apart_and_their_paths_are_not() {
    let app = limited(Key::route());
    assert_eq!(allowed(&app, 1, "GET /users/1", &[]).await, 1);
    assert_eq!(allowed(&app, 2, "GET /users/2", &[("peer", "192.0.2.2:1")]).await, 1);
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 2);
    assert_eq!(allowed(&app, 3, "POST /", &[]).await, 2);
}

#[tokio::test]
async fn all_can_be_counted_together() {
    let app = limited(Key::global());
    assert_eq!(allowed(&app, 1, "GET /users/1", &[]).await, 1);
    assert_eq!(allowed(&app, 3, "POST /", &[("peer", "192.0.2.2:1")]).await, 1);
}

#[derive(Clone)]
struct User(String);

fn by_user(key: impl FnOnce(Key) -> Key) -> Router {
    let user = Key::with(|parts| parts.extensions.get::<User>().map(|user| user.0.clone()));
    limited(key(user)).layer(middleware::from_fn(async |mut request: Request, next: Next| {
        if let Some(user) = request.headers().get("user") {
            let user = User(user.to_str().unwrap().to_owned());
            request.extensions_mut().insert(user);
        }
        next.run(request).await
    }))
}

#[tokio::test]
async fn a_service_names_its_users() {
    let app = by_user(|user| user);
    assert_eq!(allowed(&app, 3, "GET /", &[("user", "ada")]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[("user", "ada"), ("peer", "192.0.2.2:1")]).await, 0);
    assert_eq!(allowed(&app, 3, "GET /", &[("user", "bob")]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 2, "without a user the client is counted");
    let (long, longer) = ("x".repeat(5000), "x".repeat(5001));
    assert_eq!(allowed(&app, 3, "GET /", &[("user", &long)]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[("user", &longer)]).await, 2);
}

#[tokio::test]
async fn combined_keys_count_each_pair() {
    let app = by_user(|user| user.and(Key::route()));
    for (line, user) in [("GET /", "ada"), ("POST /", "ada"), ("GET /", "bob")] {
        assert_eq!(allowed(&app, 3, line, &[("user", user)]).await, 2, "{line} {user}");
    }
    let named = |name: &'static str| {
        Key::with(move |parts| Some(parts.headers.get(name)?.to_str().ok()?.to_owned()))
    };
    // Nobody can be called so that a pair is another one's.
    let pairs = limited(named("one").and(named("two")));
    assert_eq!(allowed(&pairs, 3, "GET /", &[("one", "a"), ("two", "b|own:c")]).await, 2);
    assert_eq!(allowed(&pairs, 3, "GET /", &[("one", "a|own:b"), ("two", "c")]).await, 2);
    let app = by_user(|user| user.clone().and(user));
    assert_eq!(allowed(&app, 3, "GET /", &[("user", "a|own:a")]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[("user", "a")]).await, 2);
    assert_eq!(allowed(&app, 3, "GET /", &[("user", "a%7Cown:a")]).await, 2);
}

#[tokio::test]
async fn each_policy_has_its_key_and_all_allow_or_none_counts() {
    let (limits, _) = limits(&["client: fixed 2/min", "all: fixed 3/min"]);
    let layer = RateLimitLayer::new(limits, [Key::client(), Key::global()]).unwrap();
    let app = app().layer(layer);
    assert_eq!(allowed(&app, 10, "GET /", &[]).await, 2);
    let other = [("peer", "192.0.2.2:1")];
    assert_eq!(allowed(&app, 1, "GET /", &other).await, 1, "what was refused must not count");
    let refused = ask(&app, "GET /", &other).await;
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["all"]));
}

#[test]
fn keys_must_fit_their_policies() {
    let limits = || limits(&["one: 2/min", "two: 2/h"]).0;
    let few = RateLimitLayer::new(limits(), [Key::client()]).unwrap_err();
    assert_eq!(few.to_string(), "HTTP-004: 1 keys are given for 2 policies");
    let wrong =
        RateLimitLayer::by(limits(), Key::global().and(Key::header("no header"))).unwrap_err();
    assert_eq!(wrong.to_string(), "HTTP-004: no header can be called \"no header\"");
}

/// Whoever prints a layer prints no secret: a value never gets that far.
#[test]
fn keys_print_what_they_are() {
    let key = Key::header("X-Api-Key").and(Key::client()).and(Key::with(|_| None));
    assert_eq!(format!("{key:?}"), "header x-api-key and client and with");
}
