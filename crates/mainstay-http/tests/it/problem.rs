//! Problems: what is told of errors, and how.

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::routing::{get, post};
use mainstay_core::{Code, Error};
use mainstay_http::{Answer, Problem};
use serde::Deserialize;
use serde_json::json;

use crate::support::ask;

async fn answer(
    problem: impl Fn() -> Problem + Clone + Send + Sync + 'static,
) -> crate::support::Answer {
    let handler = async move || -> Answer<()> { Err(problem()) };
    ask(&Router::new().route("/", get(handler)), "GET /", &[]).await
}

#[tokio::test]
async fn a_problem_is_rfc_9457s() {
    let told = answer(|| {
        Problem::conflict("Out of stock", "3 are left")
            .with_type("https://example.com/out-of-stock")
            .with("left", 3)
            .with("status", 200)
            .with("code", "mine")
    })
    .await;
    assert_eq!(told.status, 409);
    assert_eq!(told.header("content-type"), "application/problem+json");
    assert_eq!(
        told.text,
        r#"{"type":"https://example.com/out-of-stock","title":"Out of stock","status":409,"#
            .to_owned()
            + r#""detail":"3 are left","code":"APP-001","left":3}"#
    );
}

#[tokio::test]
async fn retry_after_is_rounded_up_and_never_missing_from_a_503() {
    let busy = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", "try again");
    assert_eq!(answer(busy).await.header("retry-after"), "1");
    let later = answer(move || busy().retry_after(Duration::from_millis(2001))).await;
    assert_eq!(later.header("retry-after"), "3");
}

#[tokio::test]
async fn an_error_is_told_by_its_code_and_says_nothing_secret() {
    for (code, status) in [
        (Code::Unique, 409),
        (Code::ForeignKey, 409),
        (Code::Conflict, 409),
        (Code::Check, 422),
        (Code::RowNotFound, 404),
        (Code::PoolTimeout, 503),
        (Code::LimitStore, 503),
        (Code::CacheStore, 503),
        (Code::Deadline, 504),
        (Code::Syntax, 500),
    ] {
        let told = answer(move || Error::new(code, "SELECT secret").why("hunter2").into()).await;
        assert_eq!(told.status.as_u16(), status, "{code}");
        assert_eq!(told.json()["code"], code.as_str());
        assert!(!told.text.contains("secret") && !told.text.contains("hunter2"), "{}", told.text);
    }
    let refusal = answer(|| Error::user("insufficient funds").into()).await;
    assert_eq!(
        (refusal.status.as_u16(), &refusal.json()["detail"]),
        (400, &json!("insufficient funds"))
    );
}

#[test]
fn a_problem_comes_out_of_an_error_as_it_was() {
    let problem = Problem::conflict("Out of stock", "3 are left").with("left", 3);
    let written = serde_json::to_value(&problem).unwrap();
    let error: Error = problem.into_error();
    assert_eq!(error.to_string(), "Out of stock: 3 are left");
    assert_eq!(serde_json::to_value(Problem::from(error)).unwrap(), written);
}

#[derive(Debug, Deserialize)]
struct Order {
    amount: u32,
}

#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
struct Body<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
struct Params<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
struct Id<T>(T);

#[tokio::test]
async fn rejections_of_extractors_are_problems() {
    let app = Router::new()
        .route("/body", post(async |Body(order): Body<Order>| order.amount.to_string()))
        .route("/query", get(async |Params(order): Params<Order>| order.amount.to_string()))
        .route("/{id}", get(async |Id(id): Id<u32>| id.to_string()));
    for (line, status, title) in [
        ("POST /body", 415, "JSON expected"),
        ("GET /query?amount=x", 400, "Invalid query"),
        ("GET /seven", 404, "Not found"),
    ] {
        let told = ask(&app, line, &[]).await;
        assert_eq!(
            (told.status.as_u16(), &told.json()["title"]),
            (status, &json!(title)),
            "{line}"
        );
    }
    assert_eq!(ask(&app, "GET /query?amount=7", &[]).await.text, "7");
    assert_eq!(ask(&app, "GET /7", &[]).await.text, "7");
}
