//! The tables, which migrations make, and a few products to begin with: the same in each database. What is not used there
//! stays empty.

use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::migrate::{Migrator, Options, Started, migrations};
use mainstay::route::Databases;
use mainstay::route::topology::MAIN;
use mainstay::{Db, Engine, Result, Retry};

/// What an amount of money may be at most, in cents: far from where integers end, on every engine.
pub const CENTS_MAX: i64 = 1_000_000_000_000_000;

/// Between two tries of a shard that was down.
const AGAIN: Duration = Duration::from_secs(2);

/// Does about the migrations what `migrate.on_start` says, on the main database and on each shard: applies what is pending,
/// by default; and makes the tables of jobs, events and idempotency keys. It tells of each shard.
///
/// A shard that is down does not stop the others: it is tried again until it is there.
///
/// Errors: those of [`Migrator::start`]; of shards ROUTE-027, telling of each.
pub async fn migrate(databases: &Databases, options: &Options) -> Result<()> {
    one(&databases.primary(MAIN)?, options).await?;
    if !databases.is_sharded() {
        return Ok(());
    }
    let report = databases
        .shards()
        .each(|name, _| async move { one(&databases.primary(&name)?, options).await })
        // Something may be moved to them while this process runs.
        .also_unmapped()
        .report()
        .await;
    for line in report.to_string().lines() {
        tracing::info!("migrations of the shards: {line}");
    }
    let away = |error: &mainstay::Error| error.retryability() == Retry::Later;
    if !report.failed.iter().all(|(_, error)| away(error)) {
        return report.into_result().map(drop);
    }
    for (name, _) in report.failed {
        tokio::spawn(later(databases.primary(&name)?, name, options.clone()));
    }
    Ok(())
}

async fn one(db: &Db, options: &Options) -> Result<Started> {
    let migrations = migrations!("$CARGO_MANIFEST_DIR/migrations");
    let started = Migrator::new(db, migrations).options(options.clone()).start().await?;
    mainstay::jobs::install(db).await?;
    mainstay::http::idempotency::install(db).await?;
    Ok(started)
}

async fn later(db: Db, name: String, options: Options) {
    loop {
        Clock::system().sleep(AGAIN).await;
        match one(&db, &options).await {
            Ok(_) => return tracing::info!(shard = name, "the shard is there, and migrated"),
            Err(error) if error.retryability() == Retry::Later => {}
            Err(error) => return tracing::error!(shard = name, "{}", error.report()),
        }
    }
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
