//! Many statements where one would do, and one that returns too much.

use axum::Json;
use axum::extract::State;
use mainstay::http::Answer;
use mainstay::{Db, Result};
use serde_json::{Value, json};

use super::Faults;

async fn products(db: &Db) -> Result<Vec<(i64, String)>> {
    db.query("SELECT id, sku FROM products ORDER BY id LIMIT 20").all().await
}

/// DOC-001: a query for each row of a list.
pub(super) async fn n_plus_one(State(db): State<Db>) -> Answer<Json<Value>> {
    let mut sold = Vec::new();
    for (id, sku) in products(&db).await? {
        let price: i64 =
            db.query("SELECT price FROM products WHERE id = $1").bind(id).scalar().await?;
        sold.push(json!({"sku": sku, "price": price}));
    }
    Ok(Json(json!(sold)))
}

/// DOC-003: the same question again and again.
pub(super) async fn repeat(State(db): State<Db>) -> Answer<Json<Value>> {
    let mut stock: i64 = 0;
    for _ in 0..6 {
        stock += db
            .query("SELECT stock FROM products WHERE sku = $1")
            .bind("tea")
            .scalar::<i64>()
            .await?;
    }
    Ok(Json(json!(stock)))
}

/// DOC-002: row by row what one statement could write.
pub(super) async fn write_loop(State(db): State<Db>) -> Answer<Json<Value>> {
    let all = products(&db).await?;
    for (id, _) in &all {
        db.query("UPDATE products SET stock = stock WHERE id = $1").bind(*id).execute().await?;
    }
    Ok(Json(json!(all.len())))
}

/// DOC-004: one by one what a client has a list of.
pub(super) async fn query_loop(State(db): State<Db>) -> Answer<Json<Value>> {
    let mut prices = Vec::new();
    for sku in (1..=12).map(|n| format!("sku-{n:06}")) {
        let price = db.query("SELECT price FROM products WHERE sku = $1").bind(sku);
        prices.push(price.optional::<(i64,)>().await?.map(|(price,)| price));
    }
    Ok(Json(json!(prices)))
}

/// DOC-005: every row there is.
pub(super) async fn unbounded(State(faults): State<Faults>) -> Answer<Json<Value>> {
    faults.visits().await?;
    let db = &faults.0.db;
    let all: Vec<(i64, String)> = db.query("SELECT id, page FROM faults_visits").all().await?;
    Ok(Json(json!(all.len())))
}
