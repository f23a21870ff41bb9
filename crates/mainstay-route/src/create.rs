//! Making the tables that this crate keeps in its user's databases. It knows of no versions: those tables are small, and
//! have none.

use mainstay_core::{Code, Result};
use mainstay_db::{AssertSqlSafe, Db};

/// Runs `sql`, a `CREATE TABLE IF NOT EXISTS`. Several processes may do so at once: on PostgreSQL all but one of them fail
/// then, by a unique index of the catalogue, once the table is there.
///
/// Cancel safe: it is made or not. Errors: those of the database.
pub(crate) async fn create(db: &Db, sql: String) -> Result<()> {
    match db.query(AssertSqlSafe(sql)).execute().await {
        Err(error) if matches!(error.code(), Code::Exists | Code::Unique) => Ok(()),
        other => other.map(drop),
    }
}
