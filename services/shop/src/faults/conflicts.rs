//! Transactions that are in each other's way.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::Json;
use axum::extract::State;
use mainstay::http::Answer;
use mainstay::{Db, Engine, Isolation, Result};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::Faults;

/// Times that two transactions meet at one row.
const ROUNDS: usize = 6;

/// DOC-014: two transactions lock two rows in opposite orders. SQLite lets one write at a time.
pub(super) async fn deadlock(State(db): State<Db>) -> Answer<Json<Value>> {
    let meet = &Barrier::new(if db.engine() == Engine::Sqlite { 1 } else { 2 });
    let both = ["tea", "cup"].map(|first| {
        let second = if first == "tea" { "cup" } else { "tea" };
        let attempts = AtomicU32::new(0);
        let db = db.clone();
        async move {
            db.transaction(|tx| {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                async move {
                    touch(&tx, first).await?;
                    if attempt == 0 {
                        meet.wait().await;
                    }
                    touch(&tx, second).await
                }
            })
            .await
        }
    });
    futures_util::future::try_join_all(both).await?;
    Ok(Json(json!("done")))
}

async fn touch(tx: &Db, sku: &'static str) -> Result<()> {
    let touched = tx.query("UPDATE products SET stock = stock WHERE sku = $1").bind(sku);
    touched.execute().await.map(drop)
}

/// DOC-015: again and again two transactions read a row before the other writes it. SQLite lets one write at a time.
pub(super) async fn serialization_storm(State(faults): State<Faults>) -> Answer<Json<Value>> {
    // MariaDB before 11.6 must be told to refuse what it would else overwrite; the shop's own sessions are not.
    let db = match faults.0.db.engine() {
        Engine::MySql => faults.0.beside.snapshots(&faults.0.doctor).await?,
        _ => &faults.0.db,
    };
    // MariaDB takes no notice of what does not change a row. In the end the stock is what it was.
    for change in [1, -1].into_iter().cycle().take(ROUNDS) {
        let meet = &Barrier::new(if db.engine() == Engine::Sqlite { 1 } else { 2 });
        futures_util::future::try_join(sell(db, meet, change), sell(db, meet, change)).await?;
    }
    Ok(Json(json!("done")))
}

async fn sell(db: &Db, meet: &Barrier, change: i64) -> Result<()> {
    let attempts = &AtomicU32::new(0);
    let isolation = match db.engine() {
        Engine::Sqlite => Isolation::Serializable,
        _ => Isolation::RepeatableRead,
    };
    let sold = db.tx().isolation(isolation).run(|tx| async move {
        if tx.is_mariadb() {
            tx.query("SET SESSION innodb_snapshot_isolation = ON").execute().await?;
        }
        let read = tx.query("SELECT stock FROM products WHERE sku = $1").bind("pot");
        let stock: i64 = read.scalar().await?;
        if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            meet.wait().await;
        }
        let written = tx.query("UPDATE products SET stock = $1 WHERE sku = $2");
        written.bind(stock + change).bind("pot").execute().await.map(drop)
    });
    sold.await
}
