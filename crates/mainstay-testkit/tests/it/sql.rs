//! One statement over a connection of its own.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, Row};

/// Runs it and gives the first column of its rows, numbers. Errors: not reached, refused, or no answer in 10 s.
pub(crate) async fn sql(url: &str, sql: &str) -> Result<Vec<i64>, String> {
    let done = tokio::time::timeout(Duration::from_secs(10), run(url, sql)).await;
    done.map_err(|_| "no answer".to_owned())?.map_err(|e| e.to_string())
}

async fn run(url: &str, sql: &str) -> sqlx::Result<Vec<i64>> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("postgres") {
        let mut connection = sqlx::PgConnection::connect(url).await?;
        let rows = connection.fetch_all(sql).await?;
        return rows.iter().map(|row| row.try_get(0)).collect();
    }
    let mut connection = sqlx::MySqlConnection::connect(url).await?;
    let rows = connection.fetch_all(sql).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
