//! What a version costs: no allocation, and (by hand, in release) how long it takes.

use axum::http::{HeaderMap, Uri};
use mainstay_core::clock::Clock;
use mainstay_http::{Answer, Change, Changes, Reader, Source, Version, Versions, Writer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::version::numbers;

fn versions() -> Versions {
    numbers(5)
        .under("/api")
        .source(Source::path())
        .source(Source::header("api-version"))
        .source(Source::media("shop"))
        .source(Source::query("version"))
        .default_newest()
        .build()
        .unwrap()
}

fn asked() -> Vec<(&'static str, Uri, HeaderMap)> {
    let one = |name: &'static str, path: &'static str, header: Option<(&'static str, &str)>| {
        let mut headers = HeaderMap::new();
        headers.insert("host", "example.com".parse().unwrap());
        headers.insert("user-agent", "curl/8".parse().unwrap());
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        (name, Uri::from_static(path), headers)
    };
    vec![
        one("path", "/api/v2/orders/17?a=b", None),
        one("header", "/api/orders/17", Some(("api-version", "2"))),
        one("media", "/api/orders/17", Some(("accept", "application/vnd.shop.v2+json, */*;q=0.5"))),
        one("query", "/api/orders/17?version=2", None),
        one("default", "/api/orders/17", None),
    ]
}

#[test]
fn resolving_allocates_nothing() {
    let versions = versions();
    for (name, uri, headers) in asked() {
        let info = allocation_counter::measure(|| {
            for _ in 0..100 {
                assert!(versions.resolve(&uri, &headers).is_ok_and(|version| version.is_some()));
            }
        });
        assert_eq!(info.count_total, 0, "{name}");
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Line {
    product: String,
    amount: u32,
    cents: u64,
}

struct CentsAreCounted;

impl Change for CentsAreCounted {
    const SINCE: Version = Version::number(2);
    type OldRequest = Vec<Line>;
    type NewRequest = Vec<Line>;
    type OldResponse = Vec<Line>;
    type NewResponse = Vec<Line>;

    fn lift(mut old: Vec<Line>) -> Answer<Vec<Line>> {
        for line in &mut old {
            line.cents *= 100;
        }
        Ok(old)
    }

    fn lower(mut new: Vec<Line>) -> Answer<Vec<Line>> {
        for line in &mut new {
            line.cents /= 100;
        }
        Ok(new)
    }
}

struct Json<'a>(&'a [u8]);

impl Reader for Json<'_> {
    fn read<T: DeserializeOwned>(self) -> Answer<T> {
        Ok(serde_json::from_slice(self.0).unwrap())
    }
}

impl Writer for Json<'_> {
    type Written = usize;

    fn write<T: Serialize>(self, value: &T) -> Answer<usize> {
        Ok(serde_json::to_vec(value).unwrap().len())
    }
}

/// Nanoseconds a call, the best of many short rounds: some of them are not interrupted.
fn ns(mut work: impl FnMut()) -> f64 {
    let (clock, n) = (Clock::system(), 200);
    let round = |_| {
        let start = clock.now();
        (0..n).for_each(|_| work());
        start.elapsed().as_nanos() as f64 / f64::from(n)
    };
    (0..2000).map(round).fold(f64::MAX, f64::min)
}

#[test]
#[ignore = "prints figures: cargo test --release -p mainstay-http -- --ignored --nocapture version_cost"]
fn figures() {
    let versions = versions();
    for (name, uri, headers) in asked() {
        let ns = ns(|| drop(std::hint::black_box(versions.resolve(&uri, &headers))));
        println!("resolve by {name}: {ns:.0} ns");
    }
    let alone = [
        ("header", versions_by(Source::header("api-version"))),
        ("path", versions_by(Source::path())),
    ];
    for (name, versions) in alone {
        let (_, uri, headers) = asked().into_iter().find(|asked| asked.0 == name).unwrap();
        let uri = if name == "path" { Uri::from_static("/v2/orders/17") } else { uri };
        let ns = ns(|| drop(std::hint::black_box(versions.resolve(&uri, &headers))));
        println!("resolve by {name} alone: {ns:.0} ns");
    }
    let line = Line { product: "a product of usual length".into(), amount: 3, cents: 1250 };
    let json = serde_json::to_vec(&vec![line; 100]).unwrap();
    let kb = json.len() as f64 / 1000.0;
    let round = ns(|| {
        let read = <(CentsAreCounted,)>::read(Version::number(2), Json(&json)).unwrap();
        let written = <(CentsAreCounted,)>::write(Version::number(2), read, Json(&[]));
        std::hint::black_box(written.unwrap());
    });
    let mut lines: Vec<Line> = serde_json::from_slice(&json).unwrap();
    let change = ns(|| {
        let lifted = CentsAreCounted::lift(std::mem::take(&mut lines)).unwrap();
        lines = CentsAreCounted::lower(std::hint::black_box(lifted)).unwrap();
    });
    println!("a body read and written: {:.0} ns per KB", round / kb);
    println!("a change, lifted and lowered: {:.1} ns per KB", change / kb);
}

fn versions_by(source: Source) -> Versions {
    numbers(5).source(source).build().unwrap()
}
