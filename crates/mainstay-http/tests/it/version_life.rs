//! What callers are told of a version's end, before it and after.

use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use mainstay_core::clock::{Clock, Hand};
use mainstay_http::{ApiVersion, Release, Source, Stage, Version, Versions, VersionsBuilder};

use crate::support::ask;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// On a clock that stands at the epoch: 1 is deprecated on the 11th and ends on the 21st of January 1970.
fn versions() -> (VersionsBuilder, Hand) {
    let (clock, hand) = Clock::manual();
    let first = Release::new(Version::number(1))
        .deprecated("1970-01-11")
        .sunset("1970-01-21")
        .docs("https://example.com/moving");
    let builder = Versions::builder()
        .release(first)
        .release(Release::new(Version::number(2)))
        .release(Release::beta(Version::number(3)))
        .clock(clock);
    (builder, hand)
}

fn routes() -> Router {
    let stage = get(async |version: ApiVersion| version.stage().as_str());
    Router::new().route("/orders/{id}", stage)
}

#[tokio::test]
async fn a_version_is_current_then_deprecated_then_gone() {
    let (builder, hand) = versions();
    let versions = builder.build().unwrap();
    let app = versions.wrap(routes());
    for stage in ["current", "deprecated"] {
        let answer = ask(&app, "GET /v1/orders/7?token=x", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, stage));
        assert_eq!(answer.header("deprecation"), "@864000");
        assert_eq!(answer.header("sunset"), "Wed, 21 Jan 1970 00:00:00 GMT");
        assert_eq!(
            answer.header("link"),
            "<https://example.com/moving>; rel=\"deprecation\"; type=\"text/html\", \
             </v2/orders/7>; rel=\"successor-version\""
        );
        hand.advance(DAY * 10);
    }
    let answer = ask(&app, "GET /v1/orders/7", &[]).await;
    assert_eq!(answer.status, 410);
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["successor"]), (&"HTTP-012".into(), &"2".into()));
    assert_eq!(problem["detail"], "version 1 ended on 1970-01-21 00:00 UTC; move to version 2");
    assert_eq!(problem["versions"], serde_json::json!(["2", "3"]));
    assert!(answer.header("link").contains("</v2/orders/7>; rel=\"successor-version\""));
    assert_eq!(answer.header("sunset"), "Wed, 21 Jan 1970 00:00:00 GMT");
    let stages: Vec<_> = versions.stages().into_iter().map(|(_, stage)| stage).collect();
    assert_eq!(stages, [Stage::Sunset, Stage::Current, Stage::Beta]);
}

#[tokio::test]
async fn the_second_of_the_sunset_is_the_first_that_is_refused() {
    let (builder, hand) = versions();
    let app = builder.build().unwrap().wrap(routes());
    hand.advance(Duration::from_secs(20 * 24 * 3600 - 1));
    assert_eq!(ask(&app, "GET /v1/orders/7", &[]).await.text, "deprecated");
    hand.advance(Duration::from_secs(1));
    assert_eq!(ask(&app, "GET /v1/orders/7", &[]).await.status, 410);
}

#[tokio::test]
async fn others_are_told_nothing() {
    let (builder, _hand) = versions();
    let app = builder.build().unwrap().wrap(routes());
    for (path, stage) in [("/v2/orders/7", "current"), ("/v3/orders/7", "beta")] {
        let answer = ask(&app, &format!("GET {path}"), &[]).await;
        assert_eq!(answer.text, stage);
        for name in ["deprecation", "sunset", "link"] {
            assert_eq!(answer.header(name), "");
        }
    }
}

#[tokio::test]
async fn the_successor_is_linked_to_where_a_uri_can_name_it() {
    let link = async |builder: VersionsBuilder, path: &str| {
        let app = builder.build().unwrap().wrap(routes());
        let answer = ask(&app, &format!("GET {path}"), &[("x-version", "1")]).await;
        let links = answer.header("link");
        links.split(", ").find(|link| link.contains("successor")).unwrap_or("").to_owned()
    };
    let base = || versions().0.source(Source::header("x-version"));
    assert_eq!(link(base(), "/orders/7").await, "");
    let query = base().source(Source::query("version"));
    assert_eq!(
        link(query, "/orders/7?key=secret").await,
        "</orders/7?version=2>; rel=\"successor-version\""
    );
    let path = base().source(Source::path());
    assert_eq!(link(path, "/orders/7").await, "</v2/orders/7>; rel=\"successor-version\"");
    // Would be a link to another host.
    let query = base().source(Source::query("version"));
    assert_eq!(link(query, "//evil.example/7").await, "");
    let named = Release::new(Version::number(0))
        .sunset("2026-01-01")
        .successor_link("https://v2.example.com/");
    let app = base().source(Source::path()).release(named).build().unwrap().wrap(routes());
    let answer = ask(&app, "GET /v0/orders/7", &[]).await;
    assert_eq!(answer.header("link"), "<https://v2.example.com/>; rel=\"successor-version\"");
}

#[tokio::test]
async fn what_a_handler_says_of_its_own_resource_stays() {
    let own = get(async || {
        let mut headers = HeaderMap::new();
        headers.insert("sunset", "Thu, 15 Jan 1970 00:00:00 GMT".parse().unwrap());
        headers.insert("link", "</help>; rel=\"help\"".parse().unwrap());
        headers.insert("vary", "origin".parse().unwrap());
        (headers, "own")
    });
    let (builder, _hand) = versions();
    let app = builder
        .source(Source::path())
        .source(Source::header("api-version"))
        .build()
        .unwrap()
        .wrap(Router::new().route("/own", own));
    let answer = ask(&app, "GET /v1/own", &[]).await;
    assert_eq!(answer.header("sunset"), "Thu, 15 Jan 1970 00:00:00 GMT");
    assert_eq!(answer.header("deprecation"), "@864000");
    assert!(
        answer.header("link").starts_with("</help>; rel=\"help\", <https://example.com/moving>")
    );
    assert_eq!(answer.header("vary"), "origin, api-version");
}

#[tokio::test]
async fn a_handler_that_needs_a_version_and_has_none_says_so() {
    let answer = ask(&routes(), "GET /orders/7", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-004".into()));
}
