//! Calls to services that answer, that fail, and that do neither, over real sockets.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::error::Retry;
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::{Code, Error};
use mainstay_http::service::{Builder, Endpoint, Failure, Policy, Service, Trace};
use serde_json::{Value, json};

use crate::backend::{Act, Backend, dead, ok, status};

const MS: Duration = Duration::from_millis(1);

fn at(url: impl Into<String>) -> Builder {
    Service::builder("inventory", [url.into()]).timeout(2000 * MS).backoff(MS, MS)
}

fn failure(error: &Error) -> &Failure {
    error.detail().expect("no failure attached")
}

#[tokio::test]
async fn an_answer_is_typed_and_its_path_is_filled() {
    const STOCK: Endpoint<Value> = Endpoint::get("/stock/{sku}");
    const TAKE: Endpoint<(), Value> = Endpoint::post("/stock/{sku}");
    let backend = Backend::start(|_, head| {
        if head.starts_with("get") { ok(r#"{"left":3}"#) } else { status("204 No Content", "") }
    })
    .await;
    let service =
        at(format!("{}/api/", backend.url())).header("authorization", "b").build().unwrap();
    let stock = service.call(&STOCK).arg("sku", "a/1").query("at", 7).send().await.unwrap();
    assert_eq!(stock, json!({ "left": 3 }));
    let head = backend.heads().pop().unwrap();
    assert!(head.starts_with("get /api/stock/a%2f1?at=7 http/1.1\r\n"), "{head}");
    assert_eq!(backend.header("authorization").as_deref(), Some("b"));
    service.call_with(&TAKE, &json!({ "n": 1 })).arg("sku", 1).send().await.unwrap();
    assert_eq!(backend.header("content-length").as_deref(), Some("7"));
    let reply = service.get("/stock/{sku}").arg("sku", 1).await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.text().as_str()), (200, r#"{"left":3}"#));
    assert_eq!(reply.target(), backend.url());
}

#[tokio::test]
async fn a_refusal_is_a_reply_and_no_value() {
    let backend = Backend::start(|_, _| {
        let body = r#"{"title":"Out of stock","detail":"3 are left","code":"APP-001"}"#;
        let head = "409 Conflict\r\ncontent-type: application/problem+json";
        status(head, body)
    })
    .await;
    let service = at(backend.url()).build().unwrap();
    assert_eq!(service.get("/x").await.unwrap().status().as_u16(), 409);
    let error = service.get("/x").send::<Value>().await.unwrap_err();
    assert_eq!(error.code(), Code::ServiceRefused);
    assert_eq!(error.reason(), Some("APP-001: Out of stock: 3 are left"));
    let told = "HTTP-036: GET inventory /x: the answer is final, after 1 attempt at ";
    assert_eq!(error.to_string(), format!("{told}{}: it refused: 409 Conflict", backend.url()));
    let failed = failure(&error);
    assert_eq!((failed.policy, failed.attempts), (Policy::Answer, 1));
    assert_eq!(failed.reply.as_ref().unwrap().status().as_u16(), 409);
    assert_eq!(backend.asked(), 2);
}

#[tokio::test]
async fn a_target_that_never_answers_costs_no_more_than_the_time_given() {
    let backend = Backend::start(|_, _| Act::Never).await;
    let service = at(backend.url()).build().unwrap();
    let error = service.get("/x").timeout(80 * MS).await.unwrap_err();
    assert_eq!(error.code(), Code::ServiceDeadline);
    let failed = failure(&error);
    assert_eq!((failed.policy, failed.attempts), (Policy::Deadline, 1));
    assert_eq!((failed.service.as_str(), &failed.target), ("inventory", &backend.url()));
    let told = format!(
        "HTTP-033: GET inventory /x: no time is left, after 1 attempt at {}",
        backend.url()
    );
    assert_eq!(error.to_string(), told);
    assert!(error.place().unwrap().file().ends_with("service.rs"));
    let left = backend.header("x-request-timeout").unwrap();
    let left: u64 = left.strip_suffix("ms").unwrap().parse().unwrap();
    assert!((1..=80).contains(&left), "{left}");
    // With a bound on each attempt there is time for another.
    let service = at(backend.url()).attempt_timeout(20 * MS).attempts(2).build().unwrap();
    let error = service.get("/x").await.unwrap_err();
    assert_eq!((failure(&error).policy, failure(&error).attempts), (Policy::Attempts, 2));
    assert_eq!((error.code(), error.retryability()), (Code::ServiceDeadline, Retry::Later));
}

#[tokio::test]
async fn garbage_and_bodies_without_end_are_not_understood() {
    let garbage = ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 abc\r\n\r\n", "\0\0\0\0\r\n\r\n"];
    let backend = Backend::start(move |n, _| Act::Raw(garbage[n % 3].to_owned())).await;
    let service = at(backend.url()).build().unwrap();
    for _ in 0..3 {
        let error = service.post("/x").await.unwrap_err();
        assert_eq!(error.code(), Code::ServiceAnswer, "{error:?}");
        assert_eq!(failure(&error).policy, Policy::Safety);
        assert_eq!(error.retryability(), Retry::Unknown);
    }
    let large = Backend::start(|n, _| match n {
        0 => Act::Raw("HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n".to_owned()),
        _ => Act::Raw(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000))),
    })
    .await;
    let service = at(large.url()).max_body(10_000).build().unwrap();
    for _ in 0..2 {
        let error = service.get("/x").await.unwrap_err();
        assert_eq!((error.code(), failure(&error).policy), (Code::ServiceAnswer, Policy::Answer));
        assert!(error.report().contains("larger than 10000 bytes"), "{error:?}");
    }
    let json = Backend::start(|n, _| match n {
        0 => status("503 Service Unavailable", ""),
        _ => ok(r#"{"password":"hunter2"}"#),
    })
    .await;
    let error = at(json.url()).build().unwrap().get("/x").send::<u32>().await.unwrap_err();
    assert_eq!((error.code(), failure(&error).policy), (Code::ServiceAnswer, Policy::Answer));
    let told = "GET inventory /x: the answer is final, after 2 attempts at ";
    assert_eq!(
        error.to_string(),
        format!("HTTP-035: {told}{}: it is not the JSON expected", json.url())
    );
    assert!(!error.report().contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn redirects_are_followed_only_if_asked_and_not_without_end() {
    let backend = Backend::start(|_, head| {
        let to = if head.contains("/away") { "http://192.0.2.1/" } else { "/loop" };
        status(&format!("302 Found\r\nlocation: {to}"), "")
    })
    .await;
    let off = at(backend.url()).build().unwrap();
    assert_eq!(off.get("/loop").await.unwrap().status().as_u16(), 302);
    let error = off.get("/loop").send::<Value>().await.unwrap_err();
    assert_eq!(error.code(), Code::ServiceAnswer);
    let on = at(backend.url()).redirects(99).build().unwrap();
    let before = backend.asked();
    let error = on.get("/loop").await.unwrap_err();
    assert_eq!((error.code(), failure(&error).policy), (Code::ServiceAnswer, Policy::Answer));
    assert!(error.report().contains("it redirected 3 times and would again"), "{error:?}");
    assert_eq!(backend.asked() - before, 4);
    let error = on.get("/away").await.unwrap_err();
    assert!(error.report().contains("somewhere else"), "{error:?}");
}

#[tokio::test]
async fn only_what_is_safe_is_tried_again() {
    let backend = Backend::start(|n, _| match n % 2 {
        0 => Act::Hang,
        _ => ok("1"),
    })
    .await;
    let service = at(backend.url()).build().unwrap();
    assert_eq!(service.get("/x").send::<u8>().await.unwrap(), 1);
    let key = service.post("/x").idempotency_key("k-1").send::<u8>().await;
    assert_eq!(key.unwrap(), 1);
    assert_eq!(backend.header("idempotency-key").as_deref(), Some("k-1"));
    assert_eq!(backend.asked(), 4);
    let error = service.post("/x").await.unwrap_err();
    assert_eq!((error.code(), failure(&error).policy), (Code::ServiceFailed, Policy::Safety));
    assert_eq!((backend.asked(), error.retryability()), (5, Retry::Unknown));
    // Where there is no connection nothing was done.
    let service = at(format!("http://{}", dead().await)).build().unwrap();
    let error = service.post("/x").await.unwrap_err();
    assert_eq!((failure(&error).policy, failure(&error).attempts), (Policy::Attempts, 3));
    assert_eq!((error.code(), error.retryability()), (Code::ServiceFailed, Retry::Later));
}

#[tokio::test]
async fn what_was_shed_was_not_begun_and_may_be_asked_for_again() {
    let problem = |line: &str, code: &str| {
        let head = format!("{line}\r\ncontent-type: application/problem+json");
        status(&head, &format!(r#"{{"title":"Overloaded","code":"{code}"}}"#))
    };
    let backend = Backend::start(move |n, _| match n {
        1 => problem("504 Gateway Timeout", "HTTP-041"),
        2 => ok("1"),
        // Its own handler's deadline: it may have done anything.
        3 => problem("504 Gateway Timeout", "HTTP-003"),
        4 => status("503 Service Unavailable", r#"{"code":"HTTP-040"}"#),
        // Not a status that goes with the code.
        5 => problem("502 Bad Gateway", "HTTP-040"),
        _ => problem("503 Service Unavailable", "HTTP-040"),
    })
    .await;
    let service = at(backend.url()).build().unwrap();
    assert_eq!(service.post("/x").send::<u8>().await.unwrap(), 1);
    assert_eq!(backend.asked(), 3);
    for asked in 4..=6 {
        let error = service.post("/x").await.unwrap_err();
        assert_eq!(failure(&error).policy, Policy::Safety);
        assert_eq!((backend.asked(), error.retryability()), (asked, Retry::Unknown));
    }
    let error = service.post("/x").await.unwrap_err();
    assert_eq!((failure(&error).policy, failure(&error).attempts), (Policy::Attempts, 3));
    assert_eq!(error.retryability(), Retry::Later);
    // It is paid for out of the same budget.
    let poor = at(backend.url()).retry_budget(0.0, 0.0).build().unwrap();
    let error = poor.post("/x").await.unwrap_err();
    assert_eq!((failure(&error).policy, failure(&error).attempts), (Policy::Budget, 1));
}

#[tokio::test]
async fn the_deadline_of_the_scope_is_the_calls() {
    let backend = Backend::start(|n, _| match n {
        0 => ok(""),
        _ => status("503 Unavailable\r\nretry-after: 30", ""),
    })
    .await;
    let (clock, hand) = Clock::manual();
    let service = at(backend.url()).clock(clock.clone()).build().unwrap();
    let scope = Scope::new(Kind::Request, "GET /").with_deadline(clock.now() + 700 * MS);
    scope.clone().run(service.get("/x").into_future()).await.unwrap();
    assert_eq!(backend.header("x-request-timeout").as_deref(), Some("700ms"));
    // Retry-After is after the deadline.
    let error = scope.clone().run(service.get("/x").into_future()).await.unwrap_err();
    assert_eq!((error.code(), failure(&error).policy), (Code::ServiceDeadline, Policy::Deadline));
    assert_eq!(failure(&error).reply.as_ref().unwrap().status().as_u16(), 503);
    hand.advance(700 * MS);
    let error = scope.run(service.get("/x").into_future()).await.unwrap_err();
    assert_eq!((error.code(), failure(&error).attempts), (Code::ServiceDeadline, 0));
    assert_eq!((error.retryability(), backend.asked()), (Retry::Later, 2));
}

#[tokio::test]
async fn the_trace_is_passed_on_or_begun() {
    let backend = Backend::start(|_, _| ok("")).await;
    let service = at(backend.url()).build().unwrap();
    service.get("/x").await.unwrap();
    assert!(Trace::parse(&backend.header("traceparent").unwrap()).is_some());
    let trace = Trace::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap();
    trace.clone().run(service.get("/x").into_future()).await.unwrap();
    let sent = backend.header("traceparent").unwrap();
    assert_eq!(Trace::parse(&sent).unwrap().id(), trace.id());
    assert!(!sent.contains("b7ad6b7169203331") && sent.ends_with("-00"), "{sent}");
}

#[tokio::test]
async fn a_call_that_is_written_wrongly_is_told_before_it_is_made() {
    let backend = Backend::start(|_, _| ok("")).await;
    let service = at(backend.url()).build().unwrap();
    let calls = [
        service.get("/stock/{sku}"),
        service.get("/x").header("a b", "c"),
        service.post("/x").idempotency_key(""),
        service.post("/x").idempotency_key("a\nb"),
    ];
    for call in calls {
        assert_eq!(call.await.unwrap_err().code(), Code::ServiceCall);
    }
    assert_eq!(backend.asked(), 0);
    for url in ["inventory:80", "/x", "http://a:b@c", "ftp://a", "http://a/?b", ""] {
        let error = at(url).build().unwrap_err();
        assert_eq!(error.code(), Code::HttpOption, "{url}");
        assert!(!error.report().contains("a:b"), "{url}");
    }
    let none = Service::builder("inventory", [""; 0]).build().unwrap_err();
    assert_eq!(none.to_string(), "HTTP-004: the service inventory has no address");
}
