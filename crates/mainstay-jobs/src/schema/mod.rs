//! The tables of jobs and events.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Tables};

const TABLES: Tables = Tables {
    what: "the tables of jobs and events",
    version: 1,
    known_by: "mainstay_jobs_version",
    parts: |engine| vec![schema(engine)],
    code: Code::JobTables,
};

/// The statements that make the tables, for who puts them into a migration of their own.
pub fn schema(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => include_str!("sqlite.sql"),
        Engine::Postgres => include_str!("postgres.sql"),
        Engine::MySql => include_str!("mysql.sql"),
    }
}

/// Makes the tables of jobs and events, unless they are there, as [`Tables::install`] does. A worker calls
/// it when it starts.
///
/// Errors: JOB-001 (tables of another version), and those of a statement.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// mainstay_jobs::install(&db).await?;
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
pub async fn install(db: &Db) -> Result<()> {
    TABLES.install(db).await
}

/// See [`Tables::named`].
pub(crate) fn named(error: Error) -> Error {
    TABLES.named(error)
}
