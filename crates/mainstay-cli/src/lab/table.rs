//! The lab's own table: no table of the user's is touched.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use mainstay_core::Result;
use mainstay_db::{AssertSqlSafe, Db, Engine};

/// A table with the rows (1, 10) and (2, 20). To be [dropped](Table::drop): nothing else does.
pub(crate) struct Table<'d> {
    db: &'d Db,
    name: String,
}

impl<'d> Table<'d> {
    /// Its name is this process's alone.
    pub(crate) async fn create(db: &'d Db) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let name = format!("mainstay_lab_{process}_{number}");
        let engine = if db.engine() == Engine::MySql { " ENGINE=InnoDB" } else { "" };
        let create =
            format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, value BIGINT NOT NULL){engine}");
        db.query(AssertSqlSafe(create)).execute().await?;
        let table = Self { db, name };
        let insert = format!("INSERT INTO {} (id, value) VALUES (1, 10), (2, 20)", table.name);
        match db.query(AssertSqlSafe(insert)).execute().await {
            Ok(_) => Ok(table),
            Err(error) => {
                table.drop().await?;
                Err(error)
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn rows(&self) -> Result<Vec<(i64, i64)>> {
        let sql = format!("SELECT id, value FROM {} ORDER BY id", self.name);
        self.db.query(AssertSqlSafe(sql)).all().await
    }

    pub(crate) async fn drop(self) -> Result<()> {
        let sql = format!("DROP TABLE {}", self.name);
        self.db.query(AssertSqlSafe(sql)).execute().await.map(drop)
    }
}

/// Drops what a run that was cut off has left, of this process.
pub(crate) async fn sweep(db: &Db) -> Result<()> {
    let sql = match db.engine() {
        Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE $1",
        Engine::Postgres => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name LIKE $1"
        }
        Engine::MySql => {
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE $1"
        }
    };
    let left: Vec<(String,)> = db.query(sql).bind("mainstay_lab_%").all().await?;
    // LIKE takes `_` for any character: what is another process's is told apart here.
    let ours = format!("mainstay_lab_{}_", std::process::id());
    for (name,) in left.into_iter().filter(|(name,)| name.starts_with(&ours)) {
        db.query(AssertSqlSafe(format!("DROP TABLE {name}"))).execute().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_this_process_has_made_is_swept() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let process = std::process::id();
        let others = format!("mainstay_lab_{process}7_0");
        for name in [format!("mainstay_lab_{process}_999"), others.clone()] {
            let create = format!("CREATE TABLE {name} (id BIGINT)");
            db.query(AssertSqlSafe(create)).execute().await.unwrap();
        }
        sweep(&db).await.unwrap();
        let left = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        let left: Vec<(String,)> = db.query(left).all().await.unwrap();
        assert_eq!(left, [(others,)]);
    }
}
