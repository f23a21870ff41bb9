//! Requests that are not as they should be, and services that are not: the same on every engine.

use std::net::SocketAddr;
use std::sync::Mutex;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::State;
use axum::response::Response;
use axum::{Router, routing::post};
use mainstay_db::Db;
use mainstay_http::{Answer, IdempotencyLayer, Idempotent, Key};

use super::shop::{Shop, layer};
use crate::support;

/// In memory: what is tested here does not depend on it.
async fn db() -> Db {
    let db = Db::connect("sqlite::memory:").await.unwrap();
    mainstay_http::idempotency::install(&db).await.unwrap();
    mainstay_jobs::install(&db).await.unwrap();
    db.query("CREATE TABLE effects (item VARCHAR(100) NOT NULL)").execute().await.unwrap();
    db
}

async fn effects(db: &Db) -> i64 {
    db.query("SELECT COUNT(*) FROM effects").scalar().await.unwrap()
}

#[tokio::test]
async fn a_missing_key_is_refused_where_it_is_required() {
    let db = db().await;
    let shop = Shop::new(&db);
    for line in ["POST /orders", "PUT /orders"] {
        let answer = shop.ask(line, &[], "tea").await;
        assert_eq!(answer.status, 400, "{line}");
        assert_eq!(answer.json()["code"], "HTTP-020");
        assert_eq!(answer.json()["header"], "Idempotency-Key");
    }
    assert_eq!(effects(&db).await, 0);
    // Safe methods have no effect that could come twice: a key of theirs means nothing.
    assert_eq!(shop.ask("GET /orders", &[], "tea").await.status, 201);
    assert_eq!(shop.ask("GET /orders", &[("idempotency-key", "k")], "tea").await.text, "order 2");
    assert_eq!(shop.ask("GET /orders", &[("idempotency-key", "k")], "tea").await.text, "order 3");
}

#[tokio::test]
async fn without_a_key_it_runs_each_time() {
    let db = db().await;
    let shop = Shop::with(&db, layer());
    for n in 1..=3 {
        assert_eq!(shop.ask("POST /orders", &[], "tea").await.text, format!("order {n}"));
    }
    assert_eq!(effects(&db).await, 3);
}

#[tokio::test]
async fn malformed_oversized_and_repeated_keys_are_refused() {
    let db = db().await;
    let shop = Shop::new(&db);
    let (long, longest) = ("k".repeat(256), format!("\"{}\"", "k".repeat(255)));
    for key in ["", "\"\"", "\"open", "a b", "a, b", "\"a\", \"b\"", "\"a\";p", &long] {
        let answer = shop.post(key, "tea").await;
        assert_eq!(answer.status, 400, "{key}");
        assert_eq!(answer.json()["code"], "HTTP-021");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    let answer = shop.ask("POST /orders", &twice, "tea").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &"HTTP-021".into()));
    assert!(answer.json()["detail"].as_str().unwrap().contains("more than once"));
    assert_eq!(effects(&db).await, 0);
    assert_eq!(shop.post(&longest, "tea").await.status, 201);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let db = db().await;
    let shop = Shop::with(&db, layer().request_max(10));
    assert_eq!(shop.post("k", "eleven char").await.status, 413);
    assert_eq!(shop.post("k", "ten chars.").await.status, 201);
    assert_eq!(effects(&db).await, 1);
}

#[tokio::test]
async fn where_nobody_knows_the_client_a_key_is_nobodys() {
    let db = db().await;
    let shop = Shop::with(&db, IdempotencyLayer::by(Key::client()).unwrap());
    let mut request = support::request("POST /orders", &[("idempotency-key", "k")]);
    request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
    let answer = shop.send(request).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-004".into()));
    assert_eq!(shop.post("k", "tea").await.status, 201);
    assert!(IdempotencyLayer::by(Key::header("no header")).is_err());
}

async fn bare(State(db): State<Db>, once: Idempotent) -> Answer<Response> {
    let once = Mutex::new(Some(once));
    db.transaction(|tx| {
        let once = once.lock().unwrap().take().unwrap();
        async move { Ok(once.run(&tx, |_| async { Ok("never") }).await) }
    })
    .await?
}

#[tokio::test]
async fn what_a_service_does_wrong_is_told_its_operator() {
    let db = db().await;
    let app = Router::new().route("/", post(bare)).with_state(db);
    for app in [app.clone(), app.layer(layer())] {
        let answer = support::ask(&app, "POST /", &[("idempotency-key", "k")]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-004".into()));
    }
}

#[tokio::test]
async fn an_empty_answer_is_replayed_too() {
    let db = db().await;
    let empty = async |State(db): State<Db>, once: Idempotent, body: Body| {
        drop(body);
        once.run(&db, |_| async { Ok(axum::http::StatusCode::NO_CONTENT) }).await
    };
    let app = Router::new().route("/", post(empty)).layer(layer()).with_state(db);
    for replayed in ["", "true"] {
        let answer = support::ask(&app, "POST /", &[("idempotency-key", "k")]).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.header("idempotency-replayed")),
            (204, replayed)
        );
    }
}
