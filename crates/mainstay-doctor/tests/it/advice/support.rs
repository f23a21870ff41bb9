//! What the suite's modules share.

use std::time::Duration;

use mainstay_db::Db;
use mainstay_testkit::{Engine, Fresh};

pub(crate) use super::statements::{rows, run};

/// A database of its own with what `schema` makes.
pub(crate) async fn fresh(engine: Engine, schema: &str) -> (Fresh, Db) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    run(&db, schema).await;
    (fresh, db)
}

pub(crate) async fn done(fresh: Fresh, db: Db) {
    db.close(Duration::from_secs(10)).await.unwrap();
    fresh.remove().await;
}
