//! What layers add to a request: an empty route that is called in process, without and with each of them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use mainstay::clock::Clock;
use mainstay::http::service::TraceContextLayer;
use mainstay::http::{
    Families, IdempotencyLayer, Key, RateLimitLayer, Release, ScopeLayer, ShedLayer, Source,
    TrustedProxies, Version, Versions,
};
use mainstay::limit::{Limits, Policy};
use tower::{BoxError, Service, ServiceBuilder};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use super::each;
use crate::report::{Better, Case, median};

/// Short rounds, and many: on a busy machine most of them are not interrupted.
const REQUESTS: usize = 200;
const ROUNDS: usize = 1_001;
const DEADLINE: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 1024;

/// What is measured, ours and what others have for it.
struct Row {
    name: &'static str,
    path: &'static str,
    ours: Router,
    peers: Vec<(&'static str, &'static str, Router)>,
}

pub(crate) async fn run() -> Vec<Case> {
    let mut bare = plain().with_state(());
    let mut rows = rows();
    // As `axum::serve` does: without it a router puts layers around its handlers for every request.
    for row in &mut rows {
        row.ours = row.ours.clone().with_state(());
        for (.., peer) in &mut row.peers {
            *peer = peer.clone().with_state(());
        }
    }
    let mut bares = vec![];
    let mut ours: Vec<Vec<f64>> = rows.iter().map(|_| vec![]).collect();
    let mut peers: Vec<Vec<Vec<f64>>> =
        rows.iter().map(|row| row.peers.iter().map(|_| vec![]).collect()).collect();
    for _ in 0..ROUNDS {
        bares.push(measure(&mut bare, "/").await);
        for (at, row) in rows.iter_mut().enumerate() {
            ours[at].push(measure(&mut row.ours, row.path).await);
            for (peer, (_, path, router)) in row.peers.iter_mut().enumerate() {
                peers[at][peer].push(measure(router, path).await);
            }
        }
    }
    let bare = median(bares);
    let mut cases = vec![Case::new("an empty axum route, bare", "ns", Better::Lower, bare)];
    for ((row, ours), peers) in rows.iter().zip(ours).zip(peers) {
        let name = format!("a request more by {}", row.name);
        let mut case = Case::new(name, "ns", Better::Lower, median(ours) - bare);
        for ((name, ..), all) in row.peers.iter().zip(peers) {
            case = case.peer(name, median(all) - bare);
        }
        cases.push(case);
    }
    cases
}

fn plain() -> Router {
    Router::new().route("/", get(async || StatusCode::OK))
}

fn rows() -> Vec<Row> {
    let row = |name, ours, peers| Row { name, path: "/", ours, peers };
    let nested = Router::new().nest("/v2", plain());
    vec![
        row(
            "the scope and its deadline",
            plain().layer(ScopeLayer::new()),
            vec![("tower-http timeout", "/", plain().layer(timeout()))],
        ),
        row("the client's address", plain().layer(TrustedProxies::hops(1)), vec![]),
        row(
            "limits, no headers",
            plain().layer(limits(Families::None)),
            vec![("tower_governor", "/", governed(plain(), false))],
        ),
        row(
            "limits, headers",
            plain().layer(limits(Families::Standard)),
            vec![("tower_governor", "/", governed(plain(), true))],
        ),
        row(
            "versions",
            versions().wrap(plain()),
            vec![("axum nest, by path alone", "/v2", nested)],
        ),
        row("shedding", plain().layer(ShedLayer::new()), vec![("tower", "/", shed(plain()))]),
        row(
            "the trace",
            plain().layer(TraceContextLayer::new()),
            vec![
                ("tower-http trace", "/", plain().layer(TraceLayer::new_for_http())),
                ("tower-http request id", "/", identified(plain())),
            ],
        ),
        row("idempotency keys, a GET", plain().layer(idempotency()), vec![]),
        row(
            "the whole edge",
            edge(),
            vec![(
                "tower-http, tower_governor, tower",
                "/",
                identified(
                    governed(shed(plain()), true)
                        .layer(timeout())
                        .layer(TraceLayer::new_for_http()),
                ),
            )],
        ),
    ]
}

/// All of ours, in their order.
fn edge() -> Router {
    let routes = plain()
        .layer(idempotency())
        .layer(ShedLayer::new())
        .layer(limits(Families::Standard))
        .layer(TrustedProxies::hops(1))
        .layer(TraceContextLayer::new())
        .layer(ScopeLayer::new());
    versions().wrap(routes)
}

fn limits(families: Families) -> RateLimitLayer {
    let limits = Limits::local(vec![Policy::per_second(1_000_000).named("all")]);
    let layer = RateLimitLayer::by(limits.expect("a policy"), Key::client());
    layer.expect("a layer").headers(families)
}

fn versions() -> Versions {
    Versions::builder()
        .releases((1..=3).map(|n| Release::new(Version::number(n))))
        .source(Source::header("api-version"))
        .default_newest()
        .build()
        .expect("versions")
}

fn idempotency() -> IdempotencyLayer {
    IdempotencyLayer::by(Key::client()).expect("a layer")
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, DEADLINE)
}

fn governed(router: Router, headers: bool) -> Router {
    let mut config = GovernorConfigBuilder::default();
    let config = config.per_nanosecond(1_000).burst_size(1_000_000);
    if headers {
        let telling = config.use_headers().finish().expect("settings");
        router.layer(GovernorLayer::new(Arc::new(telling)))
    } else {
        router.layer(GovernorLayer::new(Arc::new(config.finish().expect("settings"))))
    }
}

/// tower's load shedding: as many at once as ours at most, in as much time.
fn shed(router: Router) -> Router {
    let refused = async |_: BoxError| StatusCode::SERVICE_UNAVAILABLE;
    router.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(refused))
            .load_shed()
            .concurrency_limit(AT_ONCE)
            .timeout(DEADLINE),
    )
}

fn identified(router: Router) -> Router {
    router
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

async fn measure(router: &mut Router, path: &'static str) -> f64 {
    let begun = Clock::system().now();
    for n in 0..REQUESTS {
        let mut request = Request::get(path).body(Body::empty()).expect("a request");
        let client = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 1));
        request.extensions_mut().insert(ConnectInfo(client));
        let answer: Result<_, Infallible> = Service::call(router, request).await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    }
    each(begun, REQUESTS)
}
