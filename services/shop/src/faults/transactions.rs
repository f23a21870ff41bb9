//! Transactions that are open for too long, or in which too much is done or too little.

use axum::Json;
use axum::extract::State;
use mainstay::Db;
use mainstay::clock::Clock;
use mainstay::http::Answer;
use mainstay::http::service::Service;
use mainstay::jobs::Jobs;
use serde_json::{Value, json};

use super::{HELD, STEP};
use crate::events::WelcomeMail;

/// DOC-009: a transaction that waits for something else than the database.
pub(super) async fn idle_transaction(State(db): State<Db>) -> Answer<Json<Value>> {
    let waited = db.transaction(|tx| async move {
        tx.query("UPDATE products SET stock = stock WHERE sku = $1").bind("tea").execute().await?;
        Clock::system().sleep(HELD * 4).await;
        Ok(())
    });
    waited.await?;
    Ok(Json(json!("done")))
}

/// DOC-010: a transaction that goes on and on, and is never idle for long.
pub(super) async fn long_transaction(State(db): State<Db>) -> Answer<Json<Value>> {
    let reported = db.transaction(|tx| async move {
        let mut sum: i64 = 0;
        for sku in ["tea", "cup", "pot"].into_iter().cycle().take(10) {
            let stock = tx.query("SELECT stock FROM products WHERE sku = $1").bind(sku);
            sum += stock.scalar::<i64>().await?;
            // What is reckoned with it.
            Clock::system().sleep(STEP).await;
        }
        Ok(sum)
    });
    Ok(Json(json!(reported.await?)))
}

/// DOC-011: a statement on the handle outside, while a transaction is open.
pub(super) async fn escape(State(db): State<Db>) -> Answer<Json<Value>> {
    let outer = &db;
    let escaped = db.transaction(|tx| async move {
        tx.query("SELECT stock FROM products WHERE sku = $1").bind("cup").execute().await?;
        outer.query("SELECT price FROM products WHERE sku = $1").bind("cup").scalar::<i64>().await
    });
    Ok(Json(json!(escaped.await?)))
}

/// DOC-012: another service is called while a transaction is open; nobody listens there.
pub(super) async fn network_call(State(db): State<Db>) -> Answer<Json<Value>> {
    let elsewhere = Service::builder("elsewhere", ["http://127.0.0.1:9"]).build()?;
    let elsewhere = &elsewhere;
    let called = db.transaction(|tx| async move {
        tx.query("SELECT stock FROM products WHERE sku = $1").bind("pot").execute().await?;
        Ok(elsewhere.get("/payments").await.is_ok())
    });
    Ok(Json(json!(called.await?)))
}

/// DOC-013: a row and a message that one crash between them takes apart.
pub(super) async fn dual_write(State(db): State<Db>) -> Answer<Json<Value>> {
    db.query("UPDATE products SET stock = stock WHERE sku = $1").bind("tea").execute().await?;
    // Nobody is user 0, so nobody gets a mail.
    db.enqueue(&WelcomeMail { user: 0 }).await?;
    Ok(Json(json!("done")))
}
