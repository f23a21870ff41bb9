//! The tables of caches, sessions and leaderboards.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Tables};

const TABLES: Tables = Tables {
    what: "the tables of caches, sessions and leaderboards",
    version: 1,
    known_by: "mainstay_cache_version",
    parts,
    code: Code::CacheSchema,
};

fn parts(engine: Engine) -> Vec<&'static str> {
    let entries = match engine {
        Engine::Sqlite => include_str!("sqlite.sql"),
        Engine::Postgres => include_str!("postgres.sql"),
        Engine::MySql => include_str!("mysql.sql"),
    };
    let mut all = vec![entries];
    all.extend(crate::session::schema::statements(engine));
    all.extend(crate::board::schema::statements(engine));
    all.push("INSERT INTO mainstay_cache_version (version) VALUES (1);");
    all
}

/// The statements that make the tables, for who puts them into a migration of their own.
pub fn schema(engine: Engine) -> String {
    TABLES.schema(engine)
}

/// Makes the tables of caches, sessions and leaderboards, unless they are there, as [`Tables::install`] does.
///
/// Errors: CACHE-005 (tables of another version), and those of a statement.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// mainstay_cache::install(&db).await?;
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
pub async fn install(db: &Db) -> Result<()> {
    TABLES.install(db).await
}

/// See [`Tables::named`].
pub(crate) fn named(error: Error) -> Error {
    TABLES.named(error)
}
