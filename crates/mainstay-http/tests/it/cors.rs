//! What a browser's script can read of a refusal.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use mainstay_http::{Cors, Families, Key};

use crate::support::{Answer, allowed, app, ask, by};

const ORIGIN: &str = "access-control-allow-origin";
const EXPOSED: &str = "access-control-expose-headers";

/// Of which one request has been allowed.
async fn used_up(cors: Option<Cors>, families: Families) -> Router {
    let (layer, _) = by(&["api: fixed 1/min"], Key::client());
    let layer = layer.headers(families);
    let app = app().layer(match cors {
        Some(cors) => layer.cors(cors),
        None => layer,
    });
    assert_eq!(allowed(&app, 1, "GET /", &[]).await, 1);
    app
}

async fn refused(cors: Option<Cors>, origin: &str) -> Answer {
    let app = used_up(cors, Families::Standard).await;
    let headers = [("origin", origin)];
    let answer = ask(&app, "GET /", if origin.is_empty() { &[] } else { &headers }).await;
    assert_eq!(answer.status, 429);
    answer
}

#[tokio::test]
async fn allowed_origins_can_read_a_refusal() {
    let cors = || Some(Cors::origins(["https://a.example", "https://b.example"]));
    let answer = refused(cors(), "https://b.example").await;
    assert_eq!(answer.header(ORIGIN), "https://b.example");
    assert_eq!(answer.header(EXPOSED), "RateLimit, RateLimit-Policy, Retry-After");
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    for origin in ["https://evil.example", "https://a.example.evil.example", "null", ""] {
        let answer = refused(cors(), origin).await;
        assert_eq!((answer.header(ORIGIN), answer.header(EXPOSED)), Default::default(), "{origin}");
        assert_eq!(answer.header("vary"), "Origin");
    }
}

#[tokio::test]
async fn any_origin_can_be_mirrored_save_nobodys() {
    let answer = refused(Some(Cors::mirror().credentials()), "https://x.example").await;
    assert_eq!(answer.header(ORIGIN), "https://x.example");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(refused(Some(Cors::mirror()), "null").await.header(ORIGIN), "");
}

#[tokio::test]
async fn without_the_option_nothing_is_said() {
    let answer = refused(None, "https://a.example").await;
    assert_eq!((answer.header(ORIGIN), answer.header("vary")), Default::default());
}

#[tokio::test]
async fn older_headers_are_exposed_where_they_are_told() {
    let app = used_up(Some(Cors::mirror()), Families::Both).await;
    let answer = ask(&app, "GET /", &[("origin", "https://a.example")]).await;
    assert_eq!(
        answer.header(EXPOSED),
        "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, \
         Retry-After"
    );
}

/// A layer around it that speaks of CORS itself, as tower-http's does: it sets what is its own to say.
#[tokio::test]
async fn inside_a_cors_layer_nothing_is_said_twice() {
    let outer = middleware::from_fn(async |request: Request, next: Next| {
        let mut response = next.run(request).await;
        let any = HeaderValue::from_static("*");
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        response
    });
    let app = used_up(Some(Cors::mirror()), Families::Standard).await.layer(outer);
    let answer = ask(&app, "GET /", &[("origin", "https://a.example")]).await;
    assert_eq!((answer.status.as_u16(), answer.header(ORIGIN)), (429, "*".to_owned()));
    assert_eq!(answer.headers.get_all(ORIGIN).iter().count(), 1);
}
