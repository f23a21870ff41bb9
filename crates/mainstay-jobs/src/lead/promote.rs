//! What was to run later, and is due: from scheduled to ready, some at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use crate::store::claim::short;
use crate::store::{Sql, json, now, worker};
use crate::wake;

const BATCH_MAX: i64 = 1_000;
/// A bound of what is looked ahead: nothing that is planned later matters now.
const FAR: Duration = Duration::from_secs(3600);

const POSTGRES: &str = concat!(
    "WITH due AS (DELETE FROM mainstay_scheduled WHERE ctid = ANY(ARRAY( \
       SELECT ctid FROM mainstay_scheduled WHERE run_us <= ",
    now!(postgres),
    " \
       ORDER BY run_us, id LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING id), \
     moved AS (INSERT INTO mainstay_ready (queue, lane, priority, id) \
       SELECT j.queue, j.lane, j.priority, j.id FROM due JOIN mainstay_job AS j ON j.id = due.id AND j.state = 0 \
       ON CONFLICT DO NOTHING RETURNING queue) \
     SELECT queue, (SELECT COUNT(*) FROM due) FROM moved GROUP BY queue"
);

const DUE: Sql = Sql {
    sqlite: concat!(
        "SELECT id, queue FROM mainstay_scheduled WHERE run_us <= ",
        now!(sqlite),
        " ORDER BY run_us, id LIMIT $1"
    ),
    postgres: "",
    mysql: concat!(
        "SELECT id, queue FROM mainstay_scheduled WHERE run_us <= ",
        now!(mysql),
        " ORDER BY run_us, id LIMIT $1 FOR UPDATE SKIP LOCKED"
    ),
};

const NEXT: Sql = Sql {
    sqlite: concat!("SELECT MIN(run_us) - ", now!(sqlite), " FROM mainstay_scheduled"),
    postgres: concat!("SELECT MIN(run_us) - ", now!(postgres), " FROM mainstay_scheduled"),
    mysql: concat!("SELECT MIN(run_us) - ", now!(mysql), " FROM mainstay_scheduled"),
};

/// Makes ready what is due, and tells in how long the next will be.
pub(crate) async fn promote(db: &Db) -> Result<Duration> {
    loop {
        let (count, queues) = match db.engine() {
            Engine::Postgres => on_postgres(db).await?,
            Engine::Sqlite | Engine::MySql => step_by_step(db).await?,
        };
        for queue in queues {
            wake::now(db, &wake::Of::Queue(queue));
        }
        if count < BATCH_MAX {
            break;
        }
    }
    let next: Option<i64> = db.query(NEXT.on(db.engine())).scalar().await?;
    let next = next.map(|us| Duration::from_micros(u64::try_from(us).unwrap_or_default()));
    Ok(next.unwrap_or(FAR).min(FAR))
}

async fn on_postgres(db: &Db) -> Result<(i64, BTreeSet<String>)> {
    let rows: Vec<(String, i64)> = db.query(POSTGRES).bind(BATCH_MAX).all().await?;
    let count = rows.first().map_or(0, |(_, count)| *count);
    Ok((count, rows.into_iter().map(|(queue, _)| queue).collect()))
}

async fn step_by_step(db: &Db) -> Result<(i64, BTreeSet<String>)> {
    let next: Option<i64> = db.query(NEXT.on(db.engine())).scalar().await?;
    if next.is_none_or(|us| us > 0) {
        return Ok((0, BTreeSet::new()));
    }
    short(db)
        .run(|tx| async move {
            let due: Vec<(i64, String)> =
                tx.query(DUE.on(tx.engine())).bind(BATCH_MAX).all().await?;
            let ids = json(due.iter().map(|(id, _)| *id));
            tx.query(crate::store::DELETE_SCHEDULED.on(tx.engine()))
                .bind(ids.as_str())
                .execute()
                .await?;
            worker::give_back(&tx, &ids).await?;
            Ok((due.len() as i64, due.into_iter().map(|(_, queue)| queue).collect()))
        })
        .await
}
