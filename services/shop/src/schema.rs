//! The tables, which migrations make, and a few products to begin with.

use mainstay::migrate::{Migrator, Options, Started, migrations};
use mainstay::{Db, Engine, Result};

/// What an amount of money may be at most, in cents: far from where integers end, on every engine.
pub const CENTS_MAX: i64 = 1_000_000_000_000_000;

/// Does about the migrations what `migrate.on_start` says: applies what is pending, by default; and makes
/// the tables of jobs and events.
///
/// Errors: those of [`Migrator::start`].
pub async fn migrate(db: &Db, options: &Options) -> Result<Started> {
    let migrations = migrations!("$CARGO_MANIFEST_DIR/migrations");
    let started = Migrator::new(db, migrations).options(options.clone()).start().await?;
    mainstay::jobs::install(db).await?;
    Ok(started)
}

/// Inserts one row and returns the key it was given: `returning` is the same statement for
/// PostgreSQL, which tells the key in no other way.
pub(crate) async fn insert<const N: usize>(
    db: &Db,
    sql: &'static str,
    returning: &'static str,
    values: [mainstay::db::Value; N],
) -> Result<i64> {
    let returns = db.engine() == Engine::Postgres;
    let mut query = db.query(if returns { returning } else { sql });
    for value in values {
        query = query.bind(value);
    }
    if returns {
        return query.scalar().await;
    }
    Ok(query.execute().await?.last_insert_id().unwrap_or_default())
}
