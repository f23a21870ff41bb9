//! A statement that lacks its index.

use axum::Json;
use axum::extract::State;
use mainstay::db::AssertSqlSafe;
use mainstay::http::Answer;
use mainstay::{Db, Engine, Error, Result};
use serde_json::{Value, json};

use super::Faults;

const ROWS: i64 = 40_000;

/// DOC-020: a table is read from end to end for a few of its rows.
pub(super) async fn missing_index(State(faults): State<Faults>) -> Answer<Json<Value>> {
    faults.parcels().await?;
    let db = &faults.0.db;
    let mut found = 0;
    for receiver in 0..12_i64 {
        let parcels: Vec<(i64,)> = db
            .query("SELECT id FROM faults_parcels WHERE receiver = $1 ORDER BY weight DESC LIMIT 5")
            .bind(receiver * 7)
            .all()
            .await?;
        found += parcels.len();
    }
    // It is looked at each minute; who asks here does not want to wait for that.
    Box::pin(faults.0.doctor.advise()).await;
    Ok(Json(json!(found)))
}

impl Faults {
    /// Makes the table, once.
    async fn parcels(&self) -> Result<()> {
        let fill = async || {
            let db = &self.0.db;
            db.script(
                "CREATE TABLE IF NOT EXISTS faults_parcels (id BIGINT PRIMARY KEY, receiver BIGINT NOT NULL, weight BIGINT NOT NULL)",
            )
            .await?;
            let there: i64 = db.query("SELECT COUNT(*) FROM faults_parcels").scalar().await?;
            if there == 0 {
                let rows = (1..=ROWS).map(|n| (n, n * 7919 % 4_000, n % 900));
                db.bulk_insert("faults_parcels", &["id", "receiver", "weight"], rows).await?;
                analyze(db).await?;
            }
            Ok::<(), Error>(())
        };
        self.0.parcels.get_or_try_init(fill).await.map(drop)
    }
}

async fn analyze(db: &Db) -> Result<()> {
    let table = if db.engine() == Engine::MySql { "TABLE " } else { "" };
    let sql = format!("ANALYZE {table}faults_parcels");
    db.query(AssertSqlSafe(sql)).execute().await.map(drop)
}
