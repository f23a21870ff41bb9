//! Which version a request is of: ours with all four sources to look at, beside a lookup by hand of the
//! one place where the version is, which knows no other place, no list of types and no contradiction.

use std::hint::black_box;

use axum::http::{HeaderMap, HeaderValue, Uri};
use mainstay::http::{Source, Version, Versions};

use super::time;
use crate::report::{Better, Case, median};

/// Short rounds, and many: on a busy machine most of them are not interrupted.
const CALLS: usize = 2_000;
const ROUNDS: usize = 1_001;
const NEWEST: u32 = 5;

type ByHand = fn(&Uri, &HeaderMap) -> Option<u32>;
/// What it is called, the URI, a header of it, and the lookup by hand.
type Asked = (&'static str, &'static str, Option<(&'static str, &'static str)>, Option<ByHand>);

pub(crate) fn run() -> Vec<Case> {
    let versions = Versions::builder()
        .releases((1..=NEWEST).map(|n| mainstay::http::Release::new(Version::number(n))))
        .under("/api")
        .source(Source::path())
        .source(Source::header("api-version"))
        .source(Source::media("shop"))
        .source(Source::query("version"))
        .default_newest()
        .build()
        .expect("versions");
    let accept = "application/vnd.shop.v2+json, */*;q=0.5";
    let asked: [Asked; 6] = [
        ("the path", "/api/v2/orders/17?a=b", None, Some(in_path)),
        ("a header", "/api/orders/17", Some(("api-version", "2")), Some(in_header)),
        ("Accept", "/api/orders/17", Some(("accept", accept)), Some(in_accept)),
        ("the query", "/api/orders/17?version=2", None, Some(in_query)),
        ("nothing: the default", "/api/orders/17", None, None),
        ("a browser's Accept: the default", "/api/orders/17", Some(("accept", BROWSER)), None),
    ];
    let cases = asked.map(|(name, uri, header, by_hand)| {
        let uri = Uri::from_static(uri);
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com"));
        headers.insert("user-agent", HeaderValue::from_static("curl/8"));
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let (mut ours, mut hands) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            ours.push(time(CALLS, || {
                let found = versions.resolve(black_box(&uri), black_box(&headers));
                assert!(black_box(found).is_ok_and(|version| version.is_some()));
            }));
            if let Some(by_hand) = by_hand {
                hands.push(time(CALLS, || {
                    let found = by_hand(black_box(&uri), black_box(&headers));
                    assert!(black_box(found).is_some_and(|n| n <= NEWEST));
                }));
            }
        }
        let case = Case::new(
            format!("a version by {name}, four sources"),
            "ns",
            Better::Lower,
            median(ours),
        );
        match by_hand {
            Some(_) => case.peer("by hand, one source", median(hands)),
            None => case,
        }
    });
    cases.into()
}

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn in_path(uri: &Uri, _: &HeaderMap) -> Option<u32> {
    uri.path().strip_prefix("/api/v")?.split('/').next()?.parse().ok()
}

fn in_header(_: &Uri, headers: &HeaderMap) -> Option<u32> {
    headers.get("api-version")?.to_str().ok()?.trim().parse().ok()
}

fn in_accept(_: &Uri, headers: &HeaderMap) -> Option<u32> {
    let accept = headers.get("accept")?.to_str().ok()?;
    accept.split(',').find_map(|item| {
        let essence = item.split(';').next()?.trim();
        essence.strip_prefix("application/vnd.shop.v")?.split('+').next()?.parse().ok()
    })
}

fn in_query(uri: &Uri, _: &HeaderMap) -> Option<u32> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("version="))?.parse().ok()
}
