//! The tables of idempotency keys.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Tables};

const TABLES: Tables = Tables {
    what: "the tables of idempotency keys",
    version: 1,
    known_by: "mainstay_idempotency_version",
    parts,
    code: Code::HttpKeySchema,
};

fn parts(engine: Engine) -> Vec<&'static str> {
    let keys = match engine {
        Engine::Sqlite => include_str!("sqlite.sql"),
        Engine::Postgres => include_str!("postgres.sql"),
        Engine::MySql => include_str!("mysql.sql"),
    };
    vec![keys, "INSERT INTO mainstay_idempotency_version (version) VALUES (1);"]
}

/// The statements that make the tables, for who puts them into a migration of their own.
pub fn schema(engine: Engine) -> String {
    TABLES.schema(engine)
}

/// Makes the tables of idempotency keys, unless they are there, as [`Tables::install`] does.
///
/// Errors: HTTP-025 (tables of another version), and those of a statement.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// mainstay_http::idempotency::install(&db).await?;
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
pub async fn install(db: &Db) -> Result<()> {
    TABLES.install(db).await
}

/// See [`Tables::named`].
pub(super) fn named(error: Error) -> Error {
    TABLES.named(error)
}
