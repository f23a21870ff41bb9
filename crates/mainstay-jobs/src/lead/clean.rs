//! What is over goes: ended jobs whose time to be kept is over, keys whose window is, events and messages
//! long since delivered. And what strayed comes back: jobs that a broker lost, jobs that are nowhere.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::Db;

use crate::event::{self, inbox};
use crate::schema::named;
use crate::store::claim::short;
use crate::store::{Sql, ids, json, now, worker};
use crate::wake;
use crate::worker::work::Work;

/// Between two rounds.
pub(crate) const EVERY: Duration = Duration::from_secs(10);
/// Between two looks for jobs that are nowhere.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Rows removed in one statement, and statements a round.
const BATCH_MAX: i64 = 1_000;
const ROUNDS_MAX: usize = 20;
/// A job that a broker has had for so long without its end is handed over again.
const HANDED_FOR: Duration = Duration::from_secs(3_600);
/// Jobs looked at in one statement of the sweep, and statements a sweep.
const SWEEP_BATCH: i64 = 5_000;
const SWEEPS_MAX: usize = 200;
/// A job younger than this may be on its way from one place to another.
const STRAY_AFTER_US: i64 = 600 * 1_000_000;

/// One round.
pub(crate) async fn clean(work: &Arc<Work>) -> Result<()> {
    let db = &work.db;
    for _ in 0..ROUNDS_MAX {
        if expired(db).await? < BATCH_MAX {
            break;
        }
    }
    let sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_unique WHERE until_us < ", now!(sqlite)),
        postgres: concat!("DELETE FROM mainstay_unique WHERE until_us < ", now!(postgres)),
        mysql: concat!("DELETE FROM mainstay_unique WHERE until_us < ", now!(mysql)),
    };
    db.query(sql.on(db.engine())).execute().await?;
    // Asked of jobs that nobody runs any more.
    let sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_cancel WHERE at_us < ", now!(sqlite), " - $1"),
        postgres: concat!(
            "DELETE FROM mainstay_cancel WHERE at_us < ",
            now!(postgres),
            " - CAST($1 AS BIGINT)"
        ),
        mysql: concat!("DELETE FROM mainstay_cancel WHERE at_us < ", now!(mysql), " - $1"),
    };
    db.query(sql.on(db.engine())).bind(crate::options::micros(HANDED_FOR)).execute().await?;
    event::clean(db, event::RETENTION, BATCH_MAX).await?;
    inbox::clean(db, inbox::RETENTION, BATCH_MAX).await?;
    event::resume_replays(db).await?;
    hand_again(db).await
}

/// Removes ended jobs that need not be kept any more.
async fn expired(db: &Db) -> Result<i64> {
    const FIND: Sql = Sql {
        sqlite: concat!(
            "SELECT id FROM mainstay_finished WHERE expire_us < ",
            now!(sqlite),
            " ORDER BY expire_us LIMIT $1"
        ),
        postgres: concat!(
            "SELECT id FROM mainstay_finished WHERE expire_us < ",
            now!(postgres),
            " ORDER BY expire_us LIMIT $1"
        ),
        mysql: concat!(
            "SELECT id FROM mainstay_finished WHERE expire_us < ",
            now!(mysql),
            " ORDER BY expire_us LIMIT $1"
        ),
    };
    let found: Vec<(i64,)> = db.query(FIND.on(db.engine())).bind(BATCH_MAX).all().await?;
    if found.is_empty() {
        return Ok(0);
    }
    let ids = &json(found.iter().map(|(id,)| *id));
    short(db).run(|tx| async move { remove_ended(&tx, ids).await }).await?;
    Ok(found.len() as i64)
}

/// Removes ended jobs, with all that belongs to them. In a transaction.
pub(crate) async fn remove_ended(tx: &Db, ids: &str) -> Result<()> {
    macro_rules! delete {
        ($table:literal, $column:literal) => {
            Sql {
                sqlite: concat!(
                    "DELETE FROM ",
                    $table,
                    " WHERE ",
                    $column,
                    " IN ",
                    ids!(sqlite, "$1")
                ),
                postgres: concat!(
                    "DELETE FROM ",
                    $table,
                    " WHERE ",
                    $column,
                    " = ANY(ARRAY",
                    ids!(postgres, "$1"),
                    ")"
                ),
                mysql: concat!(
                    "DELETE t FROM ",
                    ids!(mysql, "$1"),
                    " AS g JOIN ",
                    $table,
                    " AS t ON t.",
                    $column,
                    " = g.id"
                ),
            }
        };
    }
    const JOBS: Sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_job WHERE state <> 0 AND id IN ", ids!(sqlite, "$1")),
        postgres: concat!(
            "DELETE FROM mainstay_job WHERE state <> 0 AND id = ANY(ARRAY",
            ids!(postgres, "$1"),
            ")"
        ),
        mysql: concat!(
            "DELETE t FROM ",
            ids!(mysql, "$1"),
            " AS g JOIN mainstay_job AS t ON t.id = g.id WHERE t.state <> 0"
        ),
    };
    const FINISHED: Sql = delete!("mainstay_finished", "id");
    const STEPS: Sql = delete!("mainstay_step", "job");
    const SIGNALS: Sql = delete!("mainstay_signal", "job");
    const PROGRESS: Sql = delete!("mainstay_progress", "id");
    for sql in [FINISHED, JOBS, STEPS, SIGNALS, PROGRESS] {
        tx.query(sql.on(tx.engine())).bind(ids).execute().await.map_err(named)?;
    }
    Ok(())
}

/// What a broker has had for too long is ready again; if it comes back from there as well, the second one
/// is told by its record.
async fn hand_again(db: &Db) -> Result<()> {
    const FIND: Sql = Sql {
        sqlite: concat!(
            "SELECT id, queue FROM mainstay_handed WHERE at_us < ",
            now!(sqlite),
            " - $2 LIMIT $1"
        ),
        postgres: concat!(
            "SELECT id, queue FROM mainstay_handed WHERE at_us < ",
            now!(postgres),
            " - CAST($2 AS BIGINT) LIMIT $1"
        ),
        mysql: concat!(
            "SELECT id, queue FROM mainstay_handed WHERE at_us < ",
            now!(mysql),
            " - $2 LIMIT $1"
        ),
    };
    let after = crate::options::micros(HANDED_FOR);
    let query = db.query(FIND.on(db.engine())).bind(BATCH_MAX).bind(after);
    let found: Vec<(i64, String)> = query.all().await?;
    if found.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        "{} jobs were given to a broker over {HANDED_FOR:?} ago, and are handed over again",
        found.len()
    );
    let found = &found;
    short(db)
        .run(|tx| async move {
            for (id, _) in found {
                let delete = tx.query("DELETE FROM mainstay_handed WHERE id = $1").bind(*id);
                delete.execute().await?;
            }
            worker::give_back(&tx, &json(found.iter().map(|(id, _)| *id))).await
        })
        .await?;
    for (_, queue) in found {
        wake::now(db, &wake::Of::Queue(queue.clone()));
    }
    Ok(())
}

/// Live jobs that are nowhere: no path leads there, and should one be found, the job is not lost by it.
pub(crate) async fn sweep(db: &Db) -> Result<()> {
    const FIND: Sql = Sql {
        sqlite: "SELECT id, state, created_us FROM mainstay_job WHERE id > $1 ORDER BY id LIMIT $2",
        postgres: "SELECT id, state, created_us FROM mainstay_job WHERE id > $1 ORDER BY id LIMIT $2",
        mysql: "SELECT id, state, created_us FROM mainstay_job WHERE id > $1 ORDER BY id LIMIT $2",
    };
    let now_us: i64 = db
        .query(
            Sql {
                sqlite: concat!("SELECT ", now!(sqlite)),
                postgres: concat!("SELECT ", now!(postgres)),
                mysql: concat!("SELECT ", now!(mysql)),
            }
            .on(db.engine()),
        )
        .scalar()
        .await?;
    let mut after = 0;
    for _ in 0..SWEEPS_MAX {
        let rows: Vec<(i64, i16, i64)> =
            db.query(FIND.on(db.engine())).bind(after).bind(SWEEP_BATCH).all().await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.0;
        let old = rows.iter().filter(|(_, state, at)| *state == 0 && now_us - at > STRAY_AFTER_US);
        let old: Vec<i64> = old.map(|(id, ..)| *id).collect();
        if !old.is_empty() {
            stray(db, &old).await?;
        }
    }
    Ok(())
}

async fn stray(db: &Db, old: &[i64]) -> Result<()> {
    let leased: Vec<(String,)> = db.query("SELECT ids FROM mainstay_lease").all().await?;
    let mut leased: Vec<i64> = leased
        .into_iter()
        .flat_map(|(ids,)| serde_json::from_str::<Vec<i64>>(&ids).unwrap_or_default())
        .collect();
    leased.sort_unstable();
    let candidates: Vec<i64> =
        old.iter().copied().filter(|id| leased.binary_search(id).is_err()).collect();
    let before = missing(db, &candidates).await?;
    if before.is_empty() {
        return Ok(());
    }
    // One may have moved between the looks: only what is nowhere twice is put back.
    let again: Vec<(String,)> = db.query("SELECT ids FROM mainstay_lease").all().await?;
    let again: Vec<i64> = again
        .into_iter()
        .flat_map(|(ids,)| serde_json::from_str::<Vec<i64>>(&ids).unwrap_or_default())
        .collect();
    let lost: Vec<i64> = before.into_iter().filter(|id| !again.contains(id)).collect();
    let lost = missing(db, &lost).await?;
    if lost.is_empty() {
        return Ok(());
    }
    tracing::error!(
        "jobs {} were live and nowhere, and are ready again",
        json(lost.iter().copied())
    );
    let lost = &json(lost);
    short(db).run(|tx| async move { worker::give_back(&tx, lost).await }).await
}

/// Those of them that are in none of the tables where a live job waits.
async fn missing(db: &Db, ids: &[i64]) -> Result<Vec<i64>> {
    macro_rules! find {
        ($engine:ident) => {
            concat!(
                "SELECT j.id FROM ", ids!($engine, "$1"), " AS g JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 \
                 AND NOT EXISTS (SELECT 1 FROM mainstay_ready AS r WHERE r.queue = j.queue AND r.lane = j.lane \
                   AND r.priority = j.priority AND r.id = j.id) \
                 AND NOT EXISTS (SELECT 1 FROM mainstay_scheduled AS s WHERE s.id = j.id) \
                 AND NOT EXISTS (SELECT 1 FROM mainstay_parked AS p WHERE p.id = j.id) \
                 AND NOT EXISTS (SELECT 1 FROM mainstay_handed AS h WHERE h.id = j.id)"
            )
        };
    }
    const FIND: Sql = Sql { sqlite: find!(sqlite), postgres: find!(postgres), mysql: find!(mysql) };
    let query = db.query(FIND.on(db.engine())).bind(json(ids.iter().copied()));
    Ok(query.all::<(i64,)>().await?.into_iter().map(|(id,)| id).collect())
}
