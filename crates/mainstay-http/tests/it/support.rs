//! Requests and what came back of them, and limits on a clock that a test moves.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use mainstay_core::clock::{Clock, Hand};
use mainstay_http::{Key, RateLimitLayer};
use mainstay_limit::{Limits, Policy};
use serde_json::Value;
use tower::ServiceExt;

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// All values of a header, as one list.
    pub fn header(&self, name: &str) -> String {
        let values: Vec<_> =
            self.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
        values.join(", ")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// `METHOD PATH` with headers, from 192.0.2.1 unless `peer` is among them.
pub fn request(line: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    let mut peer = "192.0.2.1:40000".to_owned();
    for (name, value) in headers {
        match *name {
            "peer" => (*value).clone_into(&mut peer),
            name => request = request.header(name, *value),
        }
    }
    let peer: SocketAddr = peer.parse().unwrap();
    request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()
}

pub async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

pub async fn ask(app: &Router, line: &str, headers: &[(&str, &str)]) -> Answer {
    send(app, request(line, headers)).await
}

/// Policies as `name: policy`, on a clock that stands still.
pub fn limits(policies: &[&str]) -> (Limits, Hand) {
    let (clock, hand) = Clock::manual();
    let policies = policies.iter().map(|text| {
        let (name, policy) = text.split_once(": ").unwrap();
        policy.parse::<Policy>().unwrap().named(name.to_owned())
    });
    (Limits::builder(policies.collect()).clock(clock).build().unwrap(), hand)
}

pub fn by(policies: &[&str], key: Key) -> (RateLimitLayer, Hand) {
    let (limits, hand) = limits(policies);
    (RateLimitLayer::by(limits, key).unwrap(), hand)
}

/// A few routes, and the probes.
pub fn app() -> Router {
    let hello = || get(async || "hello").post(async || "made").options(async || "options");
    Router::new()
        .route("/", hello())
        .route("/users/{id}", hello())
        .route("/livez", hello())
        .route("/readyz", hello())
        .route("/metrics", hello())
}

/// How many of `n` such requests are answered with 200.
pub async fn allowed(app: &Router, n: usize, line: &str, headers: &[(&str, &str)]) -> usize {
    let mut allowed = 0;
    for _ in 0..n {
        let status = ask(app, line, headers).await.status;
        assert!(status == 200 || status == 429, "{status}");
        allowed += usize::from(status == 200);
    }
    allowed
}
