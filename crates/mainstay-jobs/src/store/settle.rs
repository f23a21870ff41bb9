//! What became of claimed jobs, written down: many completions in one statement, everything else one by
//! one in the same transaction.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

use super::claim::short;
use crate::options::Options;
use crate::schema::named;

use super::{Sql, careful, ids, json, now, unique};

/// A job and what became of it.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) id: i64,
    /// 0 where a broker brought it.
    pub(crate) lease: i64,
    pub(crate) queue: String,
    pub(crate) end: End,
    /// What else its end touches.
    pub(crate) ties: Ties,
}

/// What a job has beside its own row and its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ties {
    /// Rows in `mainstay_holding`.
    pub(crate) keys: bool,
    pub(crate) unique: bool,
    /// Remembered steps and signals.
    pub(crate) steps: bool,
    pub(crate) progress: bool,
}

impl Ties {
    fn any(self) -> bool {
        self != Self::default()
    }
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum End {
    /// Done; kept with its result for so long.
    Completed { result: Option<String>, keep_us: Option<i64> },
    /// Done in a transaction of its handler, which has written that down.
    AlreadyCompleted,
    /// Again after that time.
    Later { after_us: i64, attempt: u32, errors: Option<String>, options: Option<Box<Options>> },
    /// Given back as it was: not begun, or to be undone.
    Back { options: Option<Box<Options>> },
    /// Given to a broker.
    Handed,
    /// Ended otherwise; state 2 cancelled or 3 dead, kept for so long.
    Ended {
        state: i16,
        attempt: u32,
        errors: Option<String>,
        keep_us: i64,
        /// What its steps did is undone: it has none any more, and these are its options now.
        undone: Option<Box<Options>>,
    },
}

/// What remains of a lease: nothing, or these.
pub(crate) type Leases = Vec<(i64, Vec<i64>)>;

const DELETE: Sql = Sql {
    sqlite: concat!("DELETE FROM mainstay_job WHERE state = 0 AND id IN ", ids!(sqlite, "$1")),
    postgres: concat!(
        "WITH gone AS (DELETE FROM mainstay_lease WHERE id = ANY(ARRAY",
        ids!(postgres, "$2"),
        ")), \
         given AS (DELETE FROM mainstay_handed WHERE id = ANY(ARRAY",
        ids!(postgres, "$3"),
        ")) \
         DELETE FROM mainstay_job WHERE state = 0 AND id = ANY(ARRAY",
        ids!(postgres, "$1"),
        ")"
    ),
    mysql: concat!(
        "DELETE j FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_job AS j ON j.id = g.id AND j.state = 0"
    ),
};

const DELETE_LEASES: Sql = Sql {
    sqlite: concat!("DELETE FROM mainstay_lease WHERE id IN ", ids!(sqlite, "$1")),
    postgres: concat!("DELETE FROM mainstay_lease WHERE id = ANY(ARRAY", ids!(postgres, "$1"), ")"),
    mysql: concat!(
        "DELETE l FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_lease AS l ON l.id = g.id"
    ),
};

const DELETE_HANDED: Sql = Sql {
    sqlite: concat!("DELETE FROM mainstay_handed WHERE id IN ", ids!(sqlite, "$1")),
    postgres: concat!(
        "DELETE FROM mainstay_handed WHERE id = ANY(ARRAY",
        ids!(postgres, "$1"),
        ")"
    ),
    mysql: concat!(
        "DELETE h FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_handed AS h ON h.id = g.id"
    ),
};

/// Writes all of it down, or nothing. `leases` is what remains of those that changed; what left them for
/// another place than the end must be among `settled`. Tells the jobs whose lease was lost: they are
/// somebody else's by now, and nothing was done about them.
pub(crate) async fn settle(db: &Db, settled: &[Settled], leases: &Leases) -> Result<Vec<i64>> {
    let plain =
        |s: &Settled| !s.ties.any() && matches!(s.end, End::Completed { result: _, keep_us: None });
    let (emptied, kept): (Vec<_>, Vec<_>) = leases.iter().partition(|(_, left)| left.is_empty());
    let emptied = json(emptied.iter().map(|(id, _)| *id));
    if settled.iter().all(|s| plain(s) || (matches!(s.end, End::AlreadyCompleted) && !s.ties.any()))
    {
        // Leases that are not empty yet may name jobs that have ended: those are looked for in vain.
        let done = json(settled.iter().filter(|s| plain(s)).map(|s| s.id));
        let handed = json(settled.iter().filter(|s| s.lease == 0).map(|s| s.id));
        delete(db, done, emptied, handed).await?;
        return Ok(Vec::new());
    }
    let kept: Vec<(i64, String)> =
        kept.iter().map(|(id, left)| (*id, json(left.iter().copied()))).collect();
    let (kept, emptied) = (&kept, &emptied);
    short(db)
        .run(|tx| async move { in_transaction(&tx, settled, kept, emptied, plain).await })
        .await
        .map_err(named)
}

async fn delete(db: &Db, done: String, leases: String, handed: String) -> Result<()> {
    if db.engine() == Engine::Postgres {
        let query = db.query(DELETE.postgres).bind(done).bind(leases).bind(handed);
        query.execute().await.map_err(named)?;
        return Ok(());
    }
    let (done, leases, handed) = (&done, &leases, &handed);
    db.transaction(|tx| async move {
        let engine = tx.engine();
        tx.query(DELETE.on(engine)).bind(done).execute().await?;
        if leases != "[]" {
            tx.query(DELETE_LEASES.on(engine)).bind(leases).execute().await?;
        }
        if handed != "[]" {
            tx.query(DELETE_HANDED.on(engine)).bind(handed).execute().await?;
        }
        Ok(())
    })
    .await
    .map_err(named)
}

async fn in_transaction(
    tx: &Db,
    settled: &[Settled],
    kept: &[(i64, String)],
    emptied: &str,
    plain: impl Fn(&Settled) -> bool + Send,
) -> Result<Vec<i64>> {
    let engine = tx.engine();
    let mut held: Vec<i64> = Vec::new();
    for (lease, left) in kept {
        let update = tx.query("UPDATE mainstay_lease SET ids = $1 WHERE id = $2");
        if update.bind(left.as_str()).bind(*lease).execute().await?.rows_affected() == 1 {
            held.push(*lease);
        }
    }
    let gone: Vec<i64> = serde_json::from_str(emptied).unwrap_or_default();
    for lease in gone {
        let delete = tx.query("DELETE FROM mainstay_lease WHERE id = $1").bind(lease);
        if delete.execute().await?.rows_affected() == 1 {
            held.push(lease);
        }
    }
    // Completions with keys and nothing else beside them: keyed queues end by the hundred too.
    let keyed = |s: &Settled| {
        s.ties == Ties { keys: true, ..Ties::default() }
            && matches!(s.end, End::Completed { result: _, keep_us: None })
    };
    let at_once = |s: &Settled| plain(s) || keyed(s);
    let done = json(settled.iter().filter(|s| at_once(s)).map(|s| s.id));
    if done != "[]" {
        let handed = json(settled.iter().filter(|s| at_once(s) && s.lease == 0).map(|s| s.id));
        let query = tx.query(DELETE.on(engine)).bind(done);
        match engine {
            Engine::Postgres => query.bind("[]").bind(handed).execute().await?,
            _ => {
                tx.query(DELETE_HANDED.on(engine)).bind(handed).execute().await?;
                query.execute().await?
            }
        };
    }
    let freed = json(settled.iter().filter(|s| keyed(s)).map(|s| s.id));
    if freed != "[]" {
        careful::release_all(tx, &freed, false).await?;
    }
    let mut lost = Vec::new();
    for one in settled.iter().filter(|s| !at_once(s)) {
        let ours = if one.lease == 0 {
            let delete = tx.query("DELETE FROM mainstay_handed WHERE id = $1").bind(one.id);
            delete.execute().await?.rows_affected() == 1
        } else {
            held.contains(&one.lease)
        };
        let ends = matches!(one.end, End::Completed { .. } | End::AlreadyCompleted);
        if !ours && !ends {
            lost.push(one.id);
            continue;
        }
        write(tx, one).await?;
    }
    Ok(lost)
}

async fn write(tx: &Db, one: &Settled) -> Result<()> {
    let id = one.id;
    match &one.end {
        End::AlreadyCompleted => Ok(()),
        End::Completed { result, keep_us } => {
            complete(tx, id, &one.queue, result.as_deref(), *keep_us).await?;
            untie(tx, id, one.ties, false).await
        }
        End::Ended { state, attempt, errors, keep_us, undone } => {
            let ended = tx
                .query(
                    "UPDATE mainstay_job SET attempt = $2, errors = $3 WHERE id = $1 AND state = 0",
                )
                .bind(id)
                .bind(*attempt as i32)
                .bind(errors.as_deref());
            if ended.execute().await?.rows_affected() == 1 {
                set_options(tx, id, undone.as_deref()).await?;
                finish(tx, id, &one.queue, *state, None, *keep_us).await?;
            }
            // What a saga did stays to be looked at as long as the job does, unless it is undone.
            untie(tx, id, Ties { steps: one.ties.steps && undone.is_some(), ..one.ties }, false)
                .await
        }
        End::Later { after_us, attempt, errors, options } => {
            let update = tx
                .query(
                    "UPDATE mainstay_job SET attempt = $2, errors = $3 WHERE id = $1 AND state = 0",
                )
                .bind(id)
                .bind(*attempt as i32)
                .bind(errors.as_deref());
            if update.execute().await?.rows_affected() == 1 {
                set_options(tx, id, options.as_deref()).await?;
                // What was sent to it meanwhile is looked at now.
                let signals =
                    tx.query("SELECT COUNT(*) FROM mainstay_signal WHERE job = $1").bind(id);
                if one.ties.steps && signals.scalar::<i64>().await? > 0 {
                    ready(tx, id).await?;
                } else {
                    schedule(tx, id, *after_us).await?;
                }
            }
            untie(tx, id, Ties { keys: one.ties.keys, ..Ties::default() }, true).await
        }
        End::Back { options } => {
            set_options(tx, id, options.as_deref()).await?;
            ready(tx, id).await?;
            untie(tx, id, Ties { keys: one.ties.keys, ..Ties::default() }, true).await
        }
        End::Handed => hand(tx, id).await,
    }
}

async fn set_options(tx: &Db, id: i64, options: Option<&Options>) -> Result<()> {
    if let Some(options) = options {
        let update = tx.query("UPDATE mainstay_job SET options = $2 WHERE id = $1");
        update.bind(id).bind(options.to_text()).execute().await?;
    }
    Ok(())
}

/// Ends a live job as completed, in the transaction given; true unless it was not live any more.
pub(crate) async fn complete(
    tx: &Db,
    id: i64,
    queue: &str,
    result: Option<&str>,
    keep_us: Option<i64>,
) -> Result<bool> {
    match keep_us {
        None => {
            let delete = tx.query("DELETE FROM mainstay_job WHERE id = $1 AND state = 0").bind(id);
            Ok(delete.execute().await?.rows_affected() == 1)
        }
        Some(keep_us) => finish(tx, id, queue, 1, result, keep_us).await,
    }
}

/// Marks a live job as ended and remembers until when it is kept; true unless it was not live any more.
pub(crate) async fn finish(
    tx: &Db,
    id: i64,
    queue: &str,
    state: i16,
    result: Option<&str>,
    keep_us: i64,
) -> Result<bool> {
    const FINISH: Sql = Sql {
        sqlite: concat!(
            "UPDATE mainstay_job SET state = $2, result = $3, finished_us = ",
            now!(sqlite),
            " WHERE id = $1 AND state = 0"
        ),
        postgres: concat!(
            "UPDATE mainstay_job SET state = $2, result = $3, finished_us = ",
            now!(postgres),
            " WHERE id = $1 AND state = 0"
        ),
        mysql: concat!(
            "UPDATE mainstay_job SET state = $2, result = $3, finished_us = ",
            now!(mysql),
            " WHERE id = $1 AND state = 0"
        ),
    };
    let update = tx.query(FINISH.on(tx.engine())).bind(id).bind(state).bind(result);
    if update.execute().await?.rows_affected() == 0 {
        return Ok(false);
    }
    tx.query(
        "INSERT INTO mainstay_finished (state, queue, at_us, id, expire_us) \
         SELECT state, $2, finished_us, id, finished_us + $3 FROM mainstay_job WHERE id = $1",
    )
    .bind(id)
    .bind(queue)
    .bind(keep_us)
    .execute()
    .await?;
    Ok(true)
}

/// Puts a live job where it waits for its time; nothing where it is there already.
pub(crate) async fn schedule(tx: &Db, id: i64, after_us: i64) -> Result<()> {
    const SCHEDULE: Sql = Sql {
        sqlite: concat!(
            "INSERT OR IGNORE INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
             SELECT ",
            now!(sqlite),
            " + $2, id, queue, lane, priority FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
             SELECT ",
            now!(postgres),
            " + CAST($2 AS BIGINT), id, queue, lane, priority FROM mainstay_job \
             WHERE id = $1 AND state = 0 ON CONFLICT DO NOTHING"
        ),
        mysql: concat!(
            "INSERT IGNORE INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
             SELECT ",
            now!(mysql),
            " + $2, id, queue, lane, priority FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
    };
    tx.query(SCHEDULE.on(tx.engine())).bind(id).bind(after_us).execute().await?;
    Ok(())
}

/// Makes a live job ready again; nothing where it is that already.
pub(crate) async fn ready(tx: &Db, id: i64) -> Result<()> {
    const READY: Sql = Sql {
        sqlite: "INSERT OR IGNORE INTO mainstay_ready (queue, lane, priority, id) \
                 SELECT queue, lane, priority, id FROM mainstay_job WHERE id = $1 AND state = 0",
        postgres: "INSERT INTO mainstay_ready (queue, lane, priority, id) \
                   SELECT queue, lane, priority, id FROM mainstay_job WHERE id = $1 AND state = 0 \
                   ON CONFLICT DO NOTHING",
        mysql: "INSERT IGNORE INTO mainstay_ready (queue, lane, priority, id) \
                SELECT queue, lane, priority, id FROM mainstay_job WHERE id = $1 AND state = 0",
    };
    tx.query(READY.on(tx.engine())).bind(id).execute().await?;
    Ok(())
}

async fn hand(tx: &Db, id: i64) -> Result<()> {
    const HAND: Sql = Sql {
        sqlite: concat!(
            "INSERT OR IGNORE INTO mainstay_handed (id, queue, at_us) \
             SELECT id, queue, ",
            now!(sqlite),
            " FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_handed (id, queue, at_us) \
             SELECT id, queue, ",
            now!(postgres),
            " FROM mainstay_job WHERE id = $1 AND state = 0 ON CONFLICT DO NOTHING"
        ),
        mysql: concat!(
            "INSERT IGNORE INTO mainstay_handed (id, queue, at_us) \
             SELECT id, queue, ",
            now!(mysql),
            " FROM mainstay_job WHERE id = $1 AND state = 0"
        ),
    };
    tx.query(HAND.on(tx.engine())).bind(id).execute().await?;
    Ok(())
}

/// Lets go of what a job had beside its row; one that is run again keeps its place in its order.
pub(crate) async fn untie(tx: &Db, id: i64, ties: Ties, again: bool) -> Result<()> {
    if ties.keys {
        careful::release_keys(tx, id, again).await?;
    }
    if ties.unique {
        tx.query(unique::RELEASE.on(tx.engine())).bind(json([id])).execute().await?;
    }
    if ties.steps {
        tx.query("DELETE FROM mainstay_step WHERE job = $1").bind(id).execute().await?;
        tx.query("DELETE FROM mainstay_signal WHERE job = $1").bind(id).execute().await?;
    }
    if ties.progress {
        tx.query("DELETE FROM mainstay_progress WHERE id = $1").bind(id).execute().await?;
    }
    Ok(())
}

/// Ends a job in the transaction of its handler: what that does and the job's end are committed together.
///
/// Errors: JOB-009 where it is not the caller's any more, which rolls the transaction back.
pub(crate) async fn complete_within(
    tx: &Db,
    id: i64,
    queue: &str,
    result: Option<&str>,
    keep_us: Option<i64>,
    ties: Ties,
) -> Result<()> {
    if !complete(tx, id, queue, result, keep_us).await? {
        let what = format!("job {id} was ended or taken over while its handler ran");
        return Err(Error::new(Code::JobLost, what)
            .why("its transaction was rolled back, so that nothing is done twice"));
    }
    untie(tx, id, ties, false).await
}
