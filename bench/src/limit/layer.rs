//! What the layer adds to a request, beside tower_governor's: a router that answers at once, with and
//! without it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::routing::get;
use mainstay::clock::Clock;
use mainstay::http::{Families, Key, RateLimitLayer};
use mainstay::limit::{Limits, Policy};
use tower::ServiceExt;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

use crate::report::{Better, Case, median};

const REQUESTS: usize = 200_000;
const ROUNDS: usize = 5;

pub(crate) async fn run() -> Vec<Case> {
    let layer = |families| {
        let limits = Limits::local(vec![Policy::per_second(1_000_000).named("all")]);
        let layer = RateLimitLayer::by(limits.expect("a policy"), Key::client());
        layer.expect("a layer").headers(families)
    };
    let mut silent = GovernorConfigBuilder::default();
    let silent = silent.per_nanosecond(1_000).burst_size(1_000_000).finish().expect("settings");
    let mut telling = GovernorConfigBuilder::default();
    let mut telling = telling.per_nanosecond(1_000).burst_size(1_000_000).use_headers();
    let telling = telling.finish().expect("settings");
    let routers = [
        plain(),
        plain().layer(layer(Families::None)),
        plain().layer(GovernorLayer::new(Arc::new(silent))),
        plain().layer(layer(Families::Standard)),
        plain().layer(GovernorLayer::new(Arc::new(telling))),
    ];
    // As `axum::serve` does: without it a router puts layers around its handlers for every request.
    let routers = routers.map(|router| router.with_state(()));
    let mut all: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        for (router, all) in routers.iter().zip(&mut all) {
            all.push(time(router).await);
        }
    }
    let [bare, ours, peers, ours_told, peers_told] = all.map(median);
    vec![
        Case::new("a request more by the layer, no headers", "ns", Better::Lower, ours - bare)
            .peer("tower_governor", peers - bare),
        Case::new("a request more by the layer, headers", "ns", Better::Lower, ours_told - bare)
            .peer("tower_governor", peers_told - bare),
    ]
}

fn plain() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn time(router: &Router) -> f64 {
    let begun = Clock::system().now();
    for n in 0..REQUESTS {
        let mut request = Request::new(Body::empty());
        let client = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1));
        request.extensions_mut().insert(ConnectInfo(client));
        let answer = router.clone().oneshot(request).await.expect("an answer");
        assert!(answer.status().is_success());
    }
    Clock::system().now().saturating_duration_since(begun).as_nanos() as f64 / REQUESTS as f64
}
