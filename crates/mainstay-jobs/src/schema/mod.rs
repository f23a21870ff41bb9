//! The tables: made once, by whoever comes first, and known by their version.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

/// Of the tables that this release works with.
const VERSION: i64 = 1;
/// Who makes the tables has it.
const LOCK: &str = "mainstay jobs tables";

/// The statements that make the tables, for who puts them into a migration of their own.
pub fn schema(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => include_str!("sqlite.sql"),
        Engine::Postgres => include_str!("postgres.sql"),
        Engine::MySql => include_str!("mysql.sql"),
    }
}

/// Makes the tables of jobs and events, unless they are there. Several processes may call it at once.
/// A worker calls it when it starts.
///
/// Cancel safe: dropped half-way, it is all undone; on MySQL what was made stays, and the next call
/// goes on from there.
///
/// Errors: JOB-001 (tables of a newer version), and those of a statement.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// mainstay_jobs::install(&db).await?;
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
pub async fn install(db: &Db) -> Result<()> {
    if version(db).await?.is_some() {
        return check(db).await;
    }
    let outcome = match db.engine() {
        // It commits each CREATE at once; what is there is passed over.
        Engine::MySql => {
            let lock = db.advisory_lock(LOCK).acquire().await?;
            let made = make(db).await;
            lock.release().await.and(made)
        }
        Engine::Sqlite | Engine::Postgres => {
            db.transaction(|tx| async move {
                let _turn = tx.advisory_lock(LOCK).acquire().await?;
                make(&tx).await
            })
            .await
        }
    };
    match outcome {
        Ok(()) => check(db).await,
        // Two processes at once, where the lock could not be had.
        Err(error) if version(db).await?.is_some() => {
            drop(error);
            check(db).await
        }
        Err(error) => Err(error),
    }
}

async fn make(db: &Db) -> Result<()> {
    match version(db).await? {
        Some(_) => Ok(()),
        None => db.script(schema(db.engine())).await,
    }
}

/// Errors: JOB-001 where the tables are not ours to work with.
pub(crate) async fn check(db: &Db) -> Result<()> {
    match version(db).await? {
        Some(VERSION) => Ok(()),
        Some(other) => Err(Error::new(
            Code::JobTables,
            format!("the tables of jobs are of version {other}, and this program knows {VERSION}"),
        )
        .fix("deploy the release that made them, or a newer one")),
        None => Err(missing()),
    }
}

/// Tells whoever enqueues before the tables are there.
pub(crate) fn missing() -> Error {
    Error::new(Code::JobTables, "the tables of jobs and events are not there")
}

async fn version(db: &Db) -> Result<Option<i64>> {
    let there: i64 = db.query(exists(db.engine())).scalar().await?;
    if there == 0 {
        return Ok(None);
    }
    let found: Option<(i64,)> =
        db.query("SELECT version FROM mainstay_jobs_version").optional().await?;
    Ok(found.map(|(version,)| version))
}

fn exists(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'mainstay_jobs_version'"
        }
        Engine::Postgres => {
            "SELECT CASE WHEN to_regclass('mainstay_jobs_version') IS NULL THEN 0::bigint ELSE 1 END"
        }
        Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 'mainstay_jobs_version'"
        }
    }
}
