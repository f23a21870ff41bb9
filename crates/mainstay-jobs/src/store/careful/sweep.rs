//! What no note tells of: limits that were raised or dropped, and keys of jobs that have ended. It runs now
//! and then and finds nothing in a fleet whose processes all have the same limits.

use std::collections::BTreeSet;

use mainstay_core::Result;
use mainstay_db::Db;

use super::{keys, rates, release};
use crate::schema::named;
use crate::store::claim::short;
use crate::store::{Sql, json};
use crate::worker::queue::Limits;

/// Keys looked at in one statement, and statements a sweep.
const PAGE: i64 = 1_000;
const PAGES_MAX: usize = 20;

/// Waits for the claim that has the lock: it is short, and whoever passed it by would pass by a busy queue
/// each time.
const LOCK: Sql = Sql {
    sqlite: "SELECT paused FROM mainstay_queue WHERE name = $1",
    postgres: "SELECT paused FROM mainstay_queue WHERE name = $1 FOR UPDATE",
    mysql: "SELECT paused FROM mainstay_queue WHERE name = $1 FOR UPDATE",
};

const LOOK: &str = "SELECT (SELECT COUNT(*) FROM (SELECT id FROM mainstay_parked WHERE queue = $1 LIMIT 1) AS a) \
     + (SELECT COUNT(*) FROM (SELECT id FROM mainstay_holding WHERE queue = $1 LIMIT 1) AS b) \
     + (SELECT COUNT(*) FROM (SELECT next_us FROM mainstay_rate WHERE queue = $1 LIMIT 1) AS c)";

const ORPHANS: &str = "SELECT h.id FROM mainstay_holding AS h \
     LEFT JOIN mainstay_job AS j ON j.id = h.id AND j.state = 0 \
     WHERE h.queue = $1 AND j.id IS NULL GROUP BY h.id LIMIT $2";

/// Keys after `$2` that somebody waits for and that have room: `$3` is how many may have a limit key.
const WITH_ROOM: &str = "SELECT k.key_text FROM \
     (SELECT DISTINCT key_text FROM mainstay_parked WHERE queue = $1 AND key_text > $2) AS k \
     LEFT JOIN (SELECT key_text, COUNT(*) AS n FROM mainstay_holding WHERE queue = $1 GROUP BY key_text) AS h \
     ON h.key_text = k.key_text \
     WHERE COALESCE(h.n, 0) < CASE WHEN k.key_text LIKE 'o:%' THEN 1 ELSE $3 END \
     ORDER BY k.key_text LIMIT $4";

/// Makes ready again whoever waits for a key that has room, and forgets what is kept of jobs that have
/// ended. Gives of how many: the queue is to be woken if there are any.
///
/// To be called now and then for each queue, by a worker that knows the queue's limits.
pub(crate) async fn unpark(db: &Db, queue: &str, limits: &Limits) -> Result<usize> {
    if db.query(LOOK).bind(queue).scalar::<i64>().await.map_err(named)? == 0 {
        return Ok(0);
    }
    short(db).run(|tx| async move { sweep(&tx, queue, limits).await }).await.map_err(named)
}

async fn sweep(tx: &Db, queue: &str, limits: &Limits) -> Result<usize> {
    let locked: Option<(i16,)> = tx.query(LOCK.on(tx.engine())).bind(queue).optional().await?;
    if locked.is_none() {
        return Ok(0);
    }
    let orphans: Vec<(i64,)> = tx.query(ORPHANS).bind(queue).bind(PAGE).all().await?;
    if !orphans.is_empty() {
        let orphans = json(orphans.iter().map(|(id,)| *id));
        release::release_all(tx, &orphans, false).await?;
    }
    rates::forget(tx, queue).await?;
    let most = limits.key_concurrency.map_or(i64::MAX, i64::from);
    let (mut count, mut after) = (orphans.len(), String::new());
    for _ in 0..PAGES_MAX {
        let query = tx.query(WITH_ROOM).bind(queue).bind(after.as_str()).bind(most).bind(PAGE);
        let found: Vec<(String,)> = query.all().await?;
        let Some((last,)) = found.last() else { break };
        after.clone_from(last);
        let found: BTreeSet<String> = found.into_iter().map(|(key,)| key).collect();
        count += keys::hand_on(tx, queue, limits, &found).await?;
    }
    Ok(count)
}
