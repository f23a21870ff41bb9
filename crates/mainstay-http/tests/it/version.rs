//! Which version a request is of, wherever it says so, and what it gets that says it badly.

use axum::Router;
use axum::extract::Request;
use axum::routing::{any, get};
use mainstay_http::{
    ApiVersion, Contradiction, Release, Since, Source, Version, Versions, VersionsBuilder,
};

use crate::support::{Answer, ask};

pub fn numbers(newest: u32) -> VersionsBuilder {
    Versions::builder().releases((1..=newest).map(|n| Release::new(Version::number(n))))
}

fn every() -> VersionsBuilder {
    numbers(3)
        .under("/api")
        .source(Source::path())
        .source(Source::header("api-version"))
        .source(Source::media("shop"))
        .source(Source::query("version"))
}

/// Tells the version and what the route saw.
fn app(builder: VersionsBuilder) -> Router {
    let tell = any(async |request: Request| {
        let version = request.extensions().get::<ApiVersion>().map(|v| v.version().to_string());
        format!("{} {}", version.unwrap_or("-".to_owned()), request.uri())
    });
    builder.build().unwrap().wrap(Router::new().fallback_service(tell))
}

async fn told(builder: VersionsBuilder, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(&app(builder), &format!("GET {path}"), headers).await
}

#[tokio::test]
async fn a_version_is_read_wherever_it_is_named() {
    for (path, headers, expected) in [
        ("/api/v2/orders?a=b", &[][..], "2 /api/orders?a=b"),
        ("/api/v2", &[], "2 /api"),
        ("/api/v2/", &[], "2 /api/"),
        ("/api/v2//x", &[], "2 /api//x"),
        ("/api/orders", &[("api-version", "2")], "2 /api/orders"),
        ("/api/orders", &[("api-version", " v3 ")], "3 /api/orders"),
        ("/api/orders", &[("accept", "application/vnd.shop.v2+json")], "2 /api/orders"),
        ("/api/orders", &[("content-type", "application/vnd.shop.v1+json")], "1 /api/orders"),
        ("/api/orders?x=1&version=3", &[], "3 /api/orders?x=1&version=3"),
        (
            "/api/v2/orders?version=2",
            &[("api-version", "2"), ("api-version", "v2")],
            "2 /api/orders?version=2",
        ),
        ("/other/v2/orders", &[], "- /other/v2/orders"),
        ("/apis/v2/orders", &[], "- /apis/v2/orders"),
    ] {
        let answer = told(every(), path, headers).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, expected), "{path}");
    }
}

#[tokio::test]
async fn without_a_prefix_the_version_is_the_first_segment() {
    for (path, expected) in [("/v2/orders", "2 /orders"), ("/v2", "2 /"), ("/v2?x", "2 /?x")] {
        assert_eq!(told(numbers(2), path, &[]).await.text, expected);
    }
    // What merely looks like one belongs to the router.
    for path in ["/2/orders", "/videos", "/vat", "/orders/v2"] {
        let answer = told(numbers(2).default_newest(), path, &[]).await;
        assert_eq!(answer.text, format!("2 {path}"));
    }
}

#[tokio::test]
async fn contradictions_are_refused_by_both_names() {
    for (path, headers, names) in [
        ("/api/v1/x", &[("api-version", "2")][..], ["the path", "the header api-version"]),
        ("/api/v1/x?version=2", &[], ["the path", "the query parameter version"]),
        ("/api/x", &[("api-version", "1"), ("api-version", "2")], ["the header api-version", ""]),
        ("/api/x?version=1&version=2", &[], ["the query parameter version", ""]),
        (
            "/api/x",
            &[
                ("accept", "application/vnd.shop.v2+json"),
                ("content-type", "application/vnd.shop.v1+json"),
            ],
            ["the header accept", "the header content-type"],
        ),
        (
            "/api/v1/x",
            &[("accept", "application/vnd.shop.v2+json")],
            ["the path", "the header accept"],
        ),
    ] {
        let answer = told(every(), path, headers).await;
        assert_eq!(answer.status, 400, "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], "HTTP-011");
        let detail = problem["detail"].as_str().unwrap();
        assert!(names.iter().all(|name| detail.contains(name)), "{detail}");
    }
}

#[tokio::test]
async fn precedence_decides_where_it_is_told_to() {
    let first = || every().on_contradiction(Contradiction::First);
    let both = [("api-version", "2")];
    assert_eq!(told(first(), "/api/v1/x", &both).await.text, "1 /api/x");
    assert_eq!(told(first(), "/api/x?version=3", &both).await.text, "2 /api/x?version=3");
    let header = numbers(3)
        .source(Source::header("api-version"))
        .source(Source::path())
        .on_contradiction(Contradiction::First);
    assert_eq!(
        told(header, "/v1/x", &both).await.text,
        "2 /x",
        "the path is rewritten all the same"
    );
    let sent = [
        ("accept", "application/vnd.shop.v2+json"),
        ("content-type", "application/vnd.shop.v1+json"),
    ];
    assert_eq!(told(first(), "/api/x", &sent).await.text, "2 /api/x");
}

#[tokio::test]
async fn an_unknown_version_is_refused_with_those_that_exist() {
    for (path, headers, status) in [
        ("/api/v9/x", &[][..], 400),
        ("/api/x", &[("api-version", "9")], 400),
        ("/api/x?version=9", &[], 400),
        ("/api/x", &[("content-type", "application/vnd.shop.v9+json")], 400),
        ("/api/x", &[("accept", "application/vnd.shop.v9+json")], 406),
    ] {
        let answer = told(every(), path, headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("vary"), "api-version, accept");
        let problem = answer.json();
        assert_eq!(problem["code"], "HTTP-010");
        assert_eq!(problem["versions"], serde_json::json!(["1", "2", "3"]));
    }
}

#[tokio::test]
async fn what_is_no_version_is_refused() {
    for (path, headers, code) in [
        ("/api/v1x/x", &[][..], "HTTP-010"),
        ("/api/v99999999999/x", &[], "HTTP-010"),
        ("/api/v01/x", &[], "HTTP-010"),
        ("/api/x?version=", &[], "HTTP-010"),
        ("/api/x?version=%32", &[], "HTTP-010"),
        ("/api/x", &[("api-version", "")], "HTTP-002"),
        ("/api/x", &[("api-version", "1, 2")], "HTTP-002"),
        ("/api/x", &[("api-version", "two")], "HTTP-002"),
        ("/api/x", &[("api-version", "\u{e9}")], "HTTP-002"),
        ("/api/x", &[("accept", "application/vnd.shop.vX+json")], "HTTP-002"),
        ("/api/x", &[("accept", "application/vnd.shop.v1+json;q=high")], "HTTP-002"),
        ("/api/x", &[("content-type", "application/vnd.shop.+json")], "HTTP-002"),
    ] {
        let answer = told(every(), path, headers).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (400, &code.into()),
            "{path} {headers:?}"
        );
    }
}

#[tokio::test]
async fn what_is_written_back_is_bounded() {
    let long = "x".repeat(5000);
    let answer = told(every(), "/api/x", &[("api-version", &long)]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.len() < 500, "{}", answer.text.len());
}

#[tokio::test]
async fn no_version_is_the_default_or_a_refusal() {
    let answer = told(every(), "/api/x", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["title"]), (400, &"Version needed".into()));
    let second = every().default_version(Version::number(2));
    assert_eq!(told(second, "/api/x", &[]).await.text, "2 /api/x");
    let newest = every().release(Release::beta(Version::number(4))).default_newest();
    assert_eq!(
        told(newest, "/api/x", &[]).await.text,
        "3 /api/x",
        "nobody is given a beta unasked"
    );
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(told(numbers(2), path, &[]).await.text, format!("- {path}"));
    }
}

#[tokio::test]
async fn a_preflight_is_never_refused() {
    let preflight = [("access-control-request-method", "GET"), ("origin", "https://a.example")];
    for (path, seen) in
        [("/api/x", "- /api/x"), ("/api/v9/x", "- /api/x"), ("/api/v1/x", "1 /api/x")]
    {
        let answer = ask(&app(every()), &format!("OPTIONS {path}"), &preflight).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, seen));
    }
    assert_eq!(ask(&app(every()), "OPTIONS /api/x", &[]).await.status, 400);
}

#[tokio::test]
async fn dates_are_versions_too_and_round_down_if_asked_to() {
    let dates = || {
        let release = |month| Release::new(Version::date(2026, month, 1));
        Versions::builder()
            .releases([release(1), release(3)])
            .release(Release::beta(Version::date(2026, 4, 1)))
            .source(Source::path())
            .source(Source::header("api-version"))
    };
    assert_eq!(told(dates(), "/2026-03-01/x", &[]).await.text, "2026-03-01 /x");
    assert_eq!(told(dates(), "/v2026-03-01/x", &[]).await.text, "2026-03-01 /x");
    let asked = |day| [("api-version", day)];
    assert_eq!(told(dates(), "/x", &asked("2026-02-01")).await.status, 400);
    for (day, expected) in
        [("2026-02-15", "2026-01-01"), ("2026-04-01", "2026-04-01"), ("2030-01-01", "2026-03-01")]
    {
        let answer = told(dates().nearest_older(), "/x", &asked(day)).await;
        assert_eq!(answer.text, format!("{expected} /x"), "{day}");
    }
    assert_eq!(told(dates().nearest_older(), "/x", &asked("2025-12-31")).await.status, 400);
}

#[tokio::test]
async fn answers_say_which_version_they_are() {
    let answer = told(every(), "/api/v2/x", &[]).await;
    assert_eq!(answer.header("api-version"), "2");
    assert_eq!(answer.header("vary"), "api-version, accept");
    let path = told(numbers(2), "/v2/x", &[]).await;
    assert_eq!((path.header("api-version"), path.header("vary")), Default::default());
    let json = Router::new().route("/x", get(async || axum::Json(1)));
    let app = every().under("/").build().unwrap().wrap(json);
    let accept = [("accept", "application/vnd.shop.v2+json, */*;q=0.1")];
    let answer = ask(&app, "GET /x", &accept).await;
    assert_eq!(answer.header("content-type"), "application/vnd.shop.v2+json");
    assert_eq!(
        ask(&app, "GET /v2/x", &accept).await.header("content-type"),
        "application/vnd.shop.v2+json"
    );
    assert_eq!(ask(&app, "GET /v2/x", &[]).await.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_route_is_answered_by_the_nearest_older_handler() {
    let route = Since::new(Version::number(4), get(async || "four"))
        .then(Version::number(2), get(async || "two"));
    let app = numbers(5).build().unwrap().wrap(Router::new().route_service("/x", route.clone()));
    for (version, text) in [(2, "two"), (3, "two"), (4, "four"), (5, "four")] {
        assert_eq!(ask(&app, &format!("GET /v{version}/x"), &[]).await.text, text);
    }
    let answer = ask(&app, "GET /v1/x", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["since"]), (404, &"2".into()));
    assert_eq!(ask(&app, "POST /v2/x", &[]).await.status, 405);
    let bare = Router::new().route_service("/x", route);
    assert_eq!(ask(&bare, "GET /x", &[]).await.json()["code"], "HTTP-004");
}
