//! Who still uses what, and since when.

use std::time::Duration;

use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use mainstay_core::clock::{Clock, Hand};
use mainstay_core::inspect::{Health, Inspect};
use mainstay_http::{Consumer, Release, UsageReport, Version, Versions, VersionsBuilder};

use crate::support::ask;

fn builder() -> (VersionsBuilder, Hand) {
    let (clock, hand) = Clock::manual();
    let old = Release::new(Version::number(1)).deprecated("1970-01-01").sunset("1970-01-11");
    let builder =
        Versions::builder().release(old).release(Release::new(Version::number(2))).clock(clock);
    (builder, hand)
}

fn routes() -> Router {
    let hello = || get(async || "hello");
    let known = get(async || Extension(Consumer("acme".into())).into_response());
    let known = known.layer(axum::middleware::map_response(
        async |mut response: axum::response::Response| {
            response.extensions_mut().insert(Consumer("acme".into()));
            response
        },
    ));
    Router::new().route("/", hello()).route("/orders/{id}", hello()).route("/known", known)
}

/// `version route client requests/refused first-last`.
fn lines(report: &UsageReport) -> Vec<String> {
    let line = |u: &mainstay_http::Used| {
        format!(
            "{} {} {} {}/{} {}-{}",
            u.version, u.route, u.client, u.requests, u.refused, u.first_s, u.last_s
        )
    };
    report.used.iter().map(line).collect()
}

#[tokio::test]
async fn uses_are_counted_by_version_route_and_client() {
    let (builder, hand) = builder();
    let versions = builder.build().unwrap();
    let app = versions.wrap(routes());
    let phone = [("user-agent", "shop-phone/3.1 (something else)")];
    ask(&app, "GET /v1/orders/7", &phone).await;
    hand.advance(Duration::from_secs(60));
    ask(&app, "GET /v1/orders/8", &phone).await;
    ask(&app, "GET /v1/nowhere", &phone).await;
    ask(&app, "GET /v2/orders/8", &[]).await;
    ask(&app, "GET /v2/known", &phone).await;
    ask(&app, "FOO /v2/", &[]).await;
    hand.advance(Duration::from_secs(10 * 24 * 3600));
    assert_eq!(ask(&app, "GET /v1/orders/7", &phone).await.status, 410);
    assert_eq!(
        lines(&versions.usage().report()),
        [
            "1 GET /orders/{id} shop-phone/3.1 2/0 0-60",
            "1 GET unknown shop-phone/3.1 2/1 60-864060",
            "2 GET /known acme 1/0 60-60",
            "2 GET /orders/{id} (unnamed) 1/0 60-60",
            "2 OTHER / (unnamed) 1/0 60-60",
        ]
    );
}

#[tokio::test]
async fn clients_are_bounded_and_none_is_lost_from_the_sum() {
    let (builder, _hand) = builder();
    let versions = builder.clients_max(3).build().unwrap();
    let app = versions.wrap(routes());
    for n in 0..10 {
        ask(&app, "GET /v1/", &[("user-agent", &format!("client-{n}"))]).await;
    }
    ask(&app, "GET /v1/", &[("user-agent", "client-0")]).await;
    ask(&app, "GET /v2/", &[("user-agent", &"x".repeat(1000))]).await;
    let report = versions.usage().report();
    assert_eq!(versions.usage().clients(), 3);
    assert_eq!(report.used.iter().map(|used| used.requests).sum::<u64>(), 12);
    let others: Vec<_> = report.used.iter().filter(|used| used.client == "(others)").collect();
    assert_eq!(others.iter().map(|used| used.requests).collect::<Vec<_>>(), [7, 1]);
}

#[tokio::test]
async fn a_service_says_who_its_clients_are() {
    let (builder, _hand) = builder();
    let versions = builder
        .client(|parts| {
            Some(parts.headers.get("x-account")?.to_str().ok()?.chars().rev().collect())
        })
        .build()
        .unwrap();
    let app = versions.wrap(routes());
    ask(&app, "GET /v2/", &[("x-account", "abc"), ("user-agent", "x")]).await;
    ask(&app, "GET /v2/", &[("user-agent", "x")]).await;
    let clients: Vec<_> =
        versions.usage().report().used.into_iter().map(|used| used.client).collect();
    assert_eq!(clients, ["(unnamed)", "cba"]);
}

#[tokio::test]
async fn a_report_survives_the_process_and_adds_up() {
    let (first, _hand) = builder();
    let first = first.build().unwrap();
    ask(&first.wrap(routes()), "GET /v1/", &[("user-agent", "a")]).await;
    let json = serde_json::to_string(&first.usage().report()).unwrap();
    let (second, hand) = builder();
    hand.advance(Duration::from_secs(100));
    let second = second.build().unwrap();
    ask(&second.wrap(routes()), "GET /v1/", &[("user-agent", "a")]).await;
    second.usage().absorb(&serde_json::from_str(&json).unwrap());
    assert_eq!(lines(&second.usage().report()), ["1 GET / a 2/0 0-100"]);
}

#[tokio::test]
async fn the_report_is_served_where_the_service_puts_it() {
    let (builder, _hand) = builder();
    let versions = builder.build().unwrap();
    let admin = Router::new().route("/who", versions.usage_route());
    ask(&versions.wrap(routes()), "GET /v1/", &[("user-agent", "a")]).await;
    let answer = ask(&admin, "GET /who", &[]).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let report: UsageReport = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(lines(&report), ["1 GET / a 1/0 0-0"]);
    assert_eq!(ask(&admin, "POST /who", &[]).await.status, 405);
}

#[tokio::test]
async fn an_operator_sees_who_has_not_moved() {
    let (builder, hand) = builder();
    let versions = builder.named("shop").build().unwrap();
    let app = versions.wrap(routes());
    assert_eq!(versions.inspect().health, Health::Good);
    ask(&app, "GET /v1/", &[("user-agent", "laggard")]).await;
    ask(&app, "GET /v2/", &[("user-agent", "moved")]).await;
    let snapshot = versions.inspect();
    assert_eq!(
        (snapshot.kind, snapshot.name.as_str(), snapshot.health),
        ("versions", "shop", Health::Degraded)
    );
    assert_eq!(
        snapshot.notes,
        ["version 1 ends on 1970-01-11 00:00 UTC, and 1 clients still use it"]
    );
    assert_eq!(
        snapshot.tables[0].rows[0],
        ["1", "deprecated", "1970-01-01 00:00 UTC", "1970-01-11 00:00 UTC", "1", "0", "1"]
    );
    let who = ["1", "laggard", "GET /", "1", "1970-01-01 00:00 UTC", "1970-01-01 00:00 UTC"];
    assert_eq!(snapshot.tables[1].rows, [who]);
    hand.advance(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(versions.inspect().health, Health::Good, "nobody was seen for a week");
}
