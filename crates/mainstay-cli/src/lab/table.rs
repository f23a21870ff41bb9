//! The lab's own table: no table of the user's is touched.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use mainstay_core::Result;
use mainstay_db::{AssertSqlSafe, Db, Engine};

/// A table of the lab's. To be [dropped](Table::drop): nothing else does.
pub(crate) struct Table<'d> {
    db: &'d Db,
    name: String,
}

impl<'d> Table<'d> {
    /// With the rows (1, 10) and (2, 20).
    pub(crate) async fn create(db: &'d Db) -> Result<Self> {
        let table = Self::make(db, "rows", "id BIGINT PRIMARY KEY, value BIGINT NOT NULL").await?;
        let insert = format!("INSERT INTO {} (id, value) VALUES (1, 10), (2, 20)", table.name);
        match db.query(AssertSqlSafe(insert)).execute().await {
            Ok(_) => Ok(table),
            Err(error) => {
                table.drop().await?;
                Err(error)
            }
        }
    }

    /// Without rows. Its name is this process's alone, and ends in `what`.
    pub(crate) async fn make(db: &'d Db, what: &str, columns: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let name = format!("mainstay_lab_{process}_{number}_{what}");
        let how = match db.engine() {
            Engine::MySql => " ENGINE=InnoDB",
            // What is shown is not to depend on when the server looks after the table.
            Engine::Postgres => " WITH (autovacuum_enabled = false)",
            Engine::Sqlite => "",
        };
        let create = format!("CREATE TABLE {name} ({columns}){how}");
        db.query(AssertSqlSafe(create)).execute().await?;
        Ok(Self { db, name })
    }

    /// Runs `sql`, whose `{t}` is the table, on a session of its own, so that anything may be sent. Returns the rows
    /// changed.
    pub(crate) async fn run(&self, sql: &str) -> Result<u64> {
        self.db.session().await?.run(&self.sql(sql)).await
    }

    /// `sql` with the table's name for `{t}`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        sql.replace("{t}", &self.name)
    }

    /// Inserts `count` rows, the numbers from 0 on: `values` are expressions of `n`.
    pub(crate) async fn fill(&self, columns: &str, values: &str, count: u32) -> Result<()> {
        let numbers = numbers(count);
        let insert = format!("INSERT INTO {{t}} ({columns}) SELECT {values} FROM {numbers}");
        self.run(&insert).await.map(drop)
    }

    /// Has the planner know what is in it; on PostgreSQL also which pages all may see. Not on SQLite, where ANALYZE leaves
    /// tables behind, and which does without.
    pub(crate) async fn analyze(&self) -> Result<()> {
        let sql = match self.db.engine() {
            Engine::Postgres => "VACUUM (ANALYZE) {t}",
            Engine::MySql => "ANALYZE TABLE {t}",
            Engine::Sqlite => return Ok(()),
        };
        let sql = self.sql(sql);
        // MySQL answers with rows.
        self.db.session().await?.rows(&sql, Vec::new()).await.map(drop)
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

/// A table expression whose column `n` has the numbers from 0 to below `count`, in order, on any engine.
pub(crate) fn numbers(count: u32) -> String {
    let digit =
        (1..10).fold("SELECT 0 AS d".to_owned(), |all, d| format!("{all} UNION ALL SELECT {d}"));
    let places = count.max(2).saturating_sub(1).ilog10() + 1;
    let each =
        |of: &dyn Fn(u32) -> String, by: &str| (0..places).map(of).collect::<Vec<_>>().join(by);
    let n = each(&|place| format!("{} * d{place}.d", 10_u32.pow(place)), " + ");
    let digits = each(&|place| format!("({digit}) d{place}"), ", ");
    format!("(SELECT {n} AS n FROM {digits}) numbers WHERE n < {count} ORDER BY n")
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
