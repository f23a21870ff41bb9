//! Connections that are held as they should not be.

use std::pin::pin;

use axum::Json;
use axum::extract::State;
use futures_util::TryStreamExt;
use mainstay::clock::Clock;
use mainstay::http::Answer;
use mainstay::scope::Scope;
use mainstay::{Db, Result};
use serde_json::{Value, json};

use super::{Faults, HELD, STEP};

/// DOC-006: rows that nobody reads on keep their connection. It is let go after a while, so that the shop goes on.
pub(super) async fn leak(State(db): State<Db>) -> Answer<Json<Value>> {
    let request = Scope::current();
    let kept = async move {
        let mut rows = pin!(db.query("SELECT id FROM products").stream::<(i64,)>());
        let first = rows.try_next().await;
        Clock::system().sleep(HELD * 4).await;
        first.map(drop)
    };
    match request {
        Some(request) => tokio::spawn(request.run(kept)),
        None => tokio::spawn(kept),
    };
    Ok(Json(json!("kept")))
}

/// DOC-007: the connection is held while a mail is sent for each row.
pub(super) async fn long_hold(State(faults): State<Faults>) -> Answer<Json<Value>> {
    faults.visits().await?;
    let visits = faults.0.db.query("SELECT id FROM faults_visits ORDER BY id LIMIT 10");
    let mut rows = pin!(visits.stream::<(i64,)>());
    let mut sent = 0;
    while rows.try_next().await?.is_some() {
        // The mail.
        Clock::system().sleep(STEP).await;
        sent += 1;
    }
    Ok(Json(json!(sent)))
}

/// DOC-008: a second connection is asked for while the first is held.
pub(super) async fn nested_acquire(State(db): State<Db>) -> Answer<Json<Value>> {
    let mut rows = pin!(db.query("SELECT id FROM products ORDER BY id").stream::<(i64,)>());
    let first = rows.try_next().await?;
    let users = users(&db).await?;
    Ok(Json(json!({"product": first, "users": users})))
}

async fn users(db: &Db) -> Result<i64> {
    db.query("SELECT COUNT(*) FROM users").scalar().await
}
