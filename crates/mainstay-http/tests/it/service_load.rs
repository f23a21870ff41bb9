//! Calls to services under stress: budgets, breakers, bulkheads, hedges, outliers, dropped futures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::future::join_all;
use mainstay_core::clock::Clock;
use mainstay_core::inspect::{Health, Inspect};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error};
use mainstay_http::service::{
    Breaker, Builder, Failure, Hedge, Outliers, Policy, Service, Trace, TraceContextLayer,
};
use mainstay_http::{ScopeLayer, ShedLayer};

use crate::backend::{Act, Backend, answer, dead, ok, status};

const MS: Duration = Duration::from_millis(1);

fn to(urls: &[String]) -> Builder {
    Service::builder("inventory", urls).timeout(5000 * MS).backoff(MS, MS).bulkhead_wait(2000 * MS)
}

fn failure(error: &Error) -> &Failure {
    error.detail().expect("no failure attached")
}

/// A thousand calls, 50 at a time.
async fn thousand(service: &Service) -> Vec<Error> {
    let mut errors = Vec::new();
    for _ in 0..20 {
        let calls = (0..50).map(|_| service.get("/x").into_future());
        errors.extend(join_all(calls).await.into_iter().filter_map(Result::err));
    }
    errors
}

#[tokio::test]
async fn a_dead_backend_gets_a_tenth_more_at_most() {
    let backend = Backend::start(|_, _| status("503 Unavailable", "")).await;
    let service = to(&[backend.url()]).breaker(None).build().unwrap();
    let errors = thousand(&service).await;
    assert_eq!(errors.len(), 1000);
    assert!((1050..=1100).contains(&backend.asked()), "{} for 1000 calls", backend.asked());
    let stopped = |policy| errors.iter().filter(|e| failure(e).policy == policy).count();
    assert!(stopped(Policy::Budget) > 900, "{}", stopped(Policy::Budget));
    let budget = errors.iter().find(|e| failure(e).policy == Policy::Budget).unwrap();
    assert_eq!(budget.code(), Code::ServiceBudget);
    assert_eq!(failure(budget).reply.as_ref().unwrap().status().as_u16(), 503);
    // One that refuses connections is no better off.
    let service = to(&[format!("http://{}", dead().await)]).breaker(None).build().unwrap();
    let attempts: u32 = thousand(&service).await.iter().map(|e| failure(e).attempts).sum();
    assert!(attempts <= 1100, "{attempts} for 1000 calls");
}

#[tokio::test]
async fn a_breaker_spares_a_dead_backend_and_finds_it_when_it_is_back() {
    let address = dead().await;
    let (clock, hand) = Clock::manual();
    let breaker = Breaker::new().open_for(5000 * MS);
    let url = format!("http://{address}");
    let service = to(std::slice::from_ref(&url)).clock(clock).attempts(1).breaker(breaker);
    let service = service.build().unwrap();
    let errors = thousand(&service).await;
    let attempts: u32 = errors.iter().map(|e| failure(e).attempts).sum();
    assert!(attempts <= 50, "{attempts} for 1000 calls");
    let error = errors.last().unwrap();
    assert_eq!((error.code(), failure(error).policy), (Code::ServiceBreaker, Policy::Breaker));
    let told = "HTTP-030: GET inventory /x: the breaker is open, after 0 attempts at ";
    assert_eq!(error.to_string(), format!("{told}{url}"));
    assert_eq!(service.inspect().health, Health::Bad);
    // Still dead when it is asked again: one call finds that out.
    hand.advance(5000 * MS);
    let attempts: u32 = thousand(&service).await.iter().map(|e| failure(e).attempts).sum();
    assert_eq!(attempts, 1);
    let backend = Backend::at(address, |_, _| ok("")).await;
    hand.advance(5000 * MS);
    // Half open: the first is asked alone, the others are refused meanwhile.
    let calls = (0..10).map(|_| service.get("/x").into_future());
    let answered = join_all(calls).await.into_iter().flatten().count();
    assert_eq!((answered, backend.asked()), (1, 1));
    service.get("/x").await.unwrap();
    assert!(thousand(&service).await.is_empty());
    assert_eq!(service.inspect().health, Health::Good);
}

#[tokio::test]
async fn a_hedge_takes_the_faster_and_is_paid_for() {
    let slow = Backend::start(|_, _| Act::Late(500 * MS, answer("200 OK", "slow"))).await;
    let fast = Backend::start(|_, _| ok("fast")).await;
    let service = to(&[slow.url(), fast.url()]).hedge_after(30 * MS).build().unwrap();
    for _ in 0..8 {
        assert_eq!(service.get("/x").await.unwrap().text(), "fast");
    }
    assert!(slow.asked() > 0, "chance never chose the slow one");
    assert_eq!(fast.asked(), 8);
    // Without a key a POST is asked once.
    let alone = to(&[slow.url()]).hedge_after(MS).build().unwrap();
    let before = slow.asked();
    alone.post("/x").await.unwrap();
    assert_eq!(slow.asked() - before, 1);
    // Nor is anything where the budget is used up.
    let poor = to(&[slow.url()]).hedge_after(Hedge::After(MS)).retry_budget(0.0, 0.0);
    poor.build().unwrap().get("/x").await.unwrap();
    assert_eq!(slow.asked() - before, 2);
}

#[tokio::test]
async fn a_target_that_hedges_overtake_is_left_out() {
    let slow = Backend::start(|_, _| Act::Never).await;
    let fast = Backend::start(|_, _| ok("fast")).await;
    let service = to(&[slow.url(), fast.url()]).hedge_after(50 * MS).retry_budget(1.0, 10.0);
    let service = service.outliers(Outliers::new().in_a_row(2)).build().unwrap();
    for _ in 0..40 {
        service.get("/x").await.unwrap();
    }
    assert!((2..10).contains(&slow.asked()), "{} of 40", slow.asked());
    assert_eq!(service.inspect().health, Health::Degraded);
}

#[tokio::test]
async fn one_bad_target_of_several_is_left_out() {
    let bad = Backend::start(|_, _| status("502 Bad Gateway", "")).await;
    let good = Backend::start(|_, _| ok("")).await;
    let service = to(&[bad.url(), good.url()]).retry_budget(1.0, 10.0).breaker(None);
    let service = service.outliers(Outliers::new().in_a_row(3)).build().unwrap();
    // Tried again, it is tried at the other.
    for _ in 0..100 {
        service.get("/x").await.unwrap();
    }
    assert_eq!(bad.asked(), 3);
    assert_eq!(service.inspect().health, Health::Degraded);
}

#[tokio::test]
async fn places_come_back_when_futures_are_dropped() {
    let backend = Backend::start(|n, _| if n < 3 { Act::Never } else { ok("") }).await;
    let service = to(&[backend.url()]).concurrency(1, 1).bulkhead_wait(20 * MS).build().unwrap();
    for round in 1..=3 {
        let call = tokio::spawn(service.get("/x").into_future());
        while backend.asked() < round {
            tokio::time::sleep(MS).await;
        }
        // One waits for the place and is dropped too.
        let waits = tokio::time::timeout(5 * MS, service.get("/x").into_future()).await;
        assert!(waits.is_err());
        let full = service.get("/x").await.unwrap_err();
        assert_eq!((full.code(), failure(&full).attempts), (Code::ServiceBulkhead, 0));
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    service.get("/x").await.unwrap();
    assert_eq!(service.inspect().facts[0].value as usize, 0);
}

#[tokio::test]
async fn who_waits_for_a_place_gets_it_in_time() {
    let backend = Backend::start(|_, _| Act::Late(5 * MS, answer("200 OK", ""))).await;
    let service = to(&[backend.url()]).concurrency(2, 2).build().unwrap();
    let calls = (0..40).map(|_| service.get("/x").into_future());
    assert!(join_all(calls).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn deadline_and_trace_arrive_at_a_service_of_ours() {
    let done = Arc::new(AtomicBool::new(false));
    let reached = Arc::clone(&done);
    let tell = get(async || {
        let left = Scope::current().unwrap().deadline().unwrap() - Clock::system().now();
        format!("{} {:032x}", left.as_millis(), Trace::current().unwrap().id())
    });
    let slow = get(async move || {
        tokio::time::sleep(300 * MS).await;
        reached.store(true, Ordering::SeqCst);
    });
    let app = Router::new()
        .route("/tell", tell)
        .route("/slow", slow)
        .layer(ShedLayer::new())
        .layer(TraceContextLayer::new())
        .layer(ScopeLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let service = to(&[url]).build().unwrap();
    let trace = Trace::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    let told =
        trace.run(service.get("/tell").timeout(900 * MS).into_future()).await.unwrap().text();
    let (left, id) = told.split_once(' ').unwrap();
    assert!((1..=900).contains(&left.parse::<u64>().unwrap()), "{told}");
    assert_eq!(id, "0af7651916cd43dd8448eb211c80319c");
    // The caller's patience ends the handler there.
    let error = service.get("/slow").timeout(50 * MS).await.unwrap_err();
    assert_eq!(error.code(), Code::ServiceDeadline);
    tokio::time::sleep(400 * MS).await;
    assert!(!done.load(Ordering::SeqCst));
    server.abort();
}
