//! The examples of RFC 9745 (Deprecation) and RFC 8594 (Sunset), written and read.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::get;
use mainstay_core::clock::Clock;
use mainstay_http::{Announced, Release, Version, Versions};

use crate::support::{Answer, ask};

async fn written(release: Release) -> Answer {
    let (clock, _hand) = Clock::manual();
    let versions = Versions::builder()
        .release(release)
        .release(Release::new(Version::number(2)))
        .clock(clock)
        .build()
        .unwrap();
    let app = versions.wrap(Router::new().route("/", get(async || "hello")));
    ask(&app, "GET /v1/", &[]).await
}

fn first() -> Release {
    Release::new(Version::number(1))
}

fn read(fields: &[(&'static str, &'static str)]) -> Announced {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Announced::read(&headers)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[tokio::test]
async fn rfc_9745_section_2_1_a_deprecation_is_a_structured_date() {
    let answer = written(first().deprecated("2023-06-30T23:59:59Z")).await;
    assert_eq!(answer.header("deprecation"), "@1688169599");
    assert_eq!(read(&[("deprecation", "@1688169599")]).deprecation, Some(at(1_688_169_599)));
}

#[tokio::test]
async fn rfc_9745_section_3_1_a_page_on_the_deprecation_is_linked_to() {
    const LINK: &str =
        "<https://developer.example.com/deprecation>; rel=\"deprecation\"; type=\"text/html\"";
    let page = "https://developer.example.com/deprecation";
    // Also where nothing is deprecated yet.
    assert_eq!(written(first().docs(page)).await.header("link"), LINK);
    let answer = written(first().docs(page).deprecated("2023-06-30T23:59:59Z")).await;
    assert_eq!(answer.header("deprecation"), "@1688169599");
    assert!(answer.header("link").starts_with(LINK));
    assert_eq!(read(&[("link", LINK)]).docs.as_deref(), Some(page));
}

#[tokio::test]
async fn rfc_9745_section_4_a_deprecation_with_a_sunset() {
    let answer =
        written(first().deprecated("2023-06-30T23:59:59Z").sunset("2024-06-30T23:59:59Z")).await;
    assert_eq!(answer.header("deprecation"), "@1688169599");
    // The RFC writes UTC; an HTTP-date says GMT.
    assert_eq!(answer.header("sunset"), "Sun, 30 Jun 2024 23:59:59 GMT");
    let announced =
        read(&[("deprecation", "@1688169599"), ("sunset", "Sun, 30 Jun 2024 23:59:59 UTC")]);
    assert_eq!(announced.sunset, Some(at(1_719_791_999)));
    assert!(announced.sunset >= announced.deprecation);
}

#[tokio::test]
async fn rfc_8594_section_3_a_sunset_is_an_http_date() {
    // The RFC calls it a Saturday. It was a Monday, and is read all the same.
    let answer = written(first().sunset("2018-12-31T23:59:59Z")).await;
    assert_eq!(answer.header("sunset"), "Mon, 31 Dec 2018 23:59:59 GMT");
    assert_eq!(
        read(&[("sunset", "Sat, 31 Dec 2018 23:59:59 GMT")]).sunset,
        Some(at(1_546_300_799))
    );
    let answer = written(first().sunset("2026-11-11T11:11:11Z")).await;
    assert_eq!(answer.header("sunset"), "Wed, 11 Nov 2026 11:11:11 GMT");
    assert_eq!(
        read(&[("sunset", "Wed, 11 Nov 2026 11:11:11 GMT")]).sunset,
        Some(at(1_794_395_471))
    );
}

#[tokio::test]
async fn rfc_8594_section_6_a_page_on_the_policy_is_linked_to() {
    let answer = written(first().policy("http://example.net/sunset")).await;
    assert_eq!(
        answer.header("link"),
        "<http://example.net/sunset>; rel=\"sunset\"; type=\"text/html\""
    );
    let link = "<http://example.net/sunset>;rel=\"sunset\";type=\"text/html\"";
    assert_eq!(read(&[("link", link)]).policy.as_deref(), Some("http://example.net/sunset"));
}

#[test]
fn links_are_told_apart_as_rfc_8288_has_them() {
    let announced = read(&[
        (
            "link",
            "</a,b>; title=\"x, <y>; rel=\\\"z\\\"\"; rel=\"help SUNSET\" , </c>;rel=successor-version",
        ),
        (
            "link",
            "</d>; rel=deprecation; rel=sunset, </e>; rel=deprecation, broken, <open; rel=sunset",
        ),
    ]);
    assert_eq!(announced.policy.as_deref(), Some("/a,b"));
    assert_eq!(announced.successor.as_deref(), Some("/c"));
    assert_eq!(announced.docs.as_deref(), Some("/d"), "the first");
    assert!(read(&[("deprecation", "true"), ("sunset", "soon"), ("link", "<")]).is_empty());
}
