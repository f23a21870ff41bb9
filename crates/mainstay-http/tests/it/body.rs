//! A request is under way until its answer's body has ended or is dropped.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::routing::get;
use futures_util::StreamExt;
use mainstay_http::Key;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::support::{allowed, ask, by, request};

/// `/stream` is one byte and then whatever is sent; `/` is short.
fn app(policy: &str) -> (Router, mpsc::Sender<&'static str>) {
    let (sender, receiver) = mpsc::channel::<&'static str>(4);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
    let stream = async move || {
        let rest = futures_util::stream::unfold(receiver, async |receiver| {
            let part = receiver.lock().await.recv().await?;
            Some((Ok::<_, Infallible>(Bytes::from_static(part.as_bytes())), receiver))
        });
        Body::from_stream(rest)
    };
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/stream", get(stream))
        .layer(by(&[policy], Key::global()).0);
    (app, sender)
}

async fn head(app: &Router) -> Response<Body> {
    app.clone().oneshot(request("GET /stream", &[])).await.unwrap()
}

#[tokio::test]
async fn a_stream_keeps_its_place_until_its_end() {
    let (app, sender) = app("busy: concurrency 1");
    let response = head(&app).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_data_stream();
    sender.send("part").await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "part");
    let refused = ask(&app, "GET /", &[]).await;
    assert_eq!(refused.status, 429, "the stream is still under way");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit-policy"), "\"busy\";q=1;qu=\"concurrent-requests\"");
    assert_eq!(refused.header("ratelimit"), "\"busy\";r=0");
    drop(sender);
    assert!(body.next().await.is_none());
    assert_eq!(
        allowed(&app, 1, "GET /", &[]).await,
        1,
        "its end is enough, it need not be dropped"
    );
    drop(body);
}

#[tokio::test]
async fn a_stream_that_is_dropped_gives_its_place_back() {
    let (app, _sender) = app("busy: concurrency 1");
    let response = head(&app).await;
    assert_eq!(allowed(&app, 1, "GET /", &[]).await, 0);
    drop(response);
    assert_eq!(allowed(&app, 3, "GET /", &[]).await, 3);
}

#[tokio::test]
async fn a_short_answer_keeps_its_length() {
    let (app, _sender) = app("busy: concurrency 1");
    let response = app.clone().oneshot(request("GET /", &[])).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(allowed(&app, 1, "GET /", &[]).await, 0, "it was not read yet");
    let bytes = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!((&bytes[..], allowed(&app, 1, "GET /", &[]).await), (&b"hello"[..], 1));
}

#[tokio::test]
async fn a_handler_that_is_dropped_gives_its_place_back() {
    let waits = get(async || std::future::pending::<()>().await);
    let app = Router::new()
        .route("/waits", waits)
        .route("/", get(async || "hello"))
        .layer(by(&["busy: concurrency 1"], Key::global()).0);
    let task = tokio::spawn(app.clone().oneshot(request("GET /waits", &[])));
    tokio::task::yield_now().await;
    assert_eq!(allowed(&app, 1, "GET /", &[]).await, 0);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(allowed(&app, 1, "GET /", &[]).await, 1);
}
