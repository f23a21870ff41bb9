//! Workers in the database: that they are there, what they have, and taking it from those that died.

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use super::claim::short;
use super::{Sql, ids, json};
use crate::schema::named;

/// Deaths after which a job goes to the dead letters, the first among all, the second in a group, the last
/// three alone: it is what its workers die of. One that happened to be there when they were killed is most
/// unlikely to be there so often.
pub(crate) const CRASHES_MAX: i32 = 5;

/// Registers a worker. `locked` tells whether a lock of the server's tells that it lives.
pub(crate) async fn register(db: &Db, name: &str, queues: &[String], locked: bool) -> Result<i64> {
    const INSERT: Sql = Sql {
        sqlite: concat!(
            "INSERT INTO mainstay_worker (name, queues, started_us, locked) VALUES ($1, $2, ",
            super::now!(sqlite),
            ", $3)"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_worker (name, queues, started_us, locked) VALUES ($1, $2, ",
            super::now!(postgres),
            ", $3) RETURNING id"
        ),
        mysql: concat!(
            "INSERT INTO mainstay_worker (name, queues, started_us, locked) VALUES ($1, $2, ",
            super::now!(mysql),
            ", $3)"
        ),
    };
    let queues = serde_json::to_string(queues).expect("names");
    let locked = i16::from(locked);
    let query = db.query(INSERT.on(db.engine())).bind(name).bind(queues).bind(locked);
    let id = match db.engine() {
        Engine::Postgres => query.scalar().await,
        Engine::Sqlite | Engine::MySql => {
            query.execute().await.map(|done| done.last_insert_id().unwrap_or_default())
        }
    };
    id.map_err(named)
}

/// Makes the queues known, so that they can be paused and locked.
pub(crate) async fn know_queues(db: &Db, queues: &[String]) -> Result<()> {
    const INSERT: Sql = Sql {
        sqlite: "INSERT INTO mainstay_queue (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
        postgres: "INSERT INTO mainstay_queue (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
        mysql: "INSERT IGNORE INTO mainstay_queue (name) VALUES ($1)",
    };
    for queue in queues {
        db.query(INSERT.on(db.engine())).bind(queue.as_str()).execute().await.map_err(named)?;
    }
    Ok(())
}

/// The lock that tells that a worker lives.
pub(crate) fn lock_name(id: i64) -> String {
    format!("mainstay jobs worker {id}")
}

/// A registered worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) id: i64,
    pub(crate) locked: bool,
    pub(crate) beat: i64,
    pub(crate) draining: bool,
}

/// All that are registered.
pub(crate) async fn all(db: &Db) -> Result<Vec<Registered>> {
    let rows: Vec<(i64, i16, i64, i16)> = db
        .query("SELECT id, locked, beat, draining FROM mainstay_worker ORDER BY id")
        .all()
        .await?;
    let read = |(id, locked, beat, draining)| Registered {
        id,
        locked: locked != 0,
        beat,
        draining: draining != 0,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Moves the beat; tells whether the worker is to drain, and nothing if it was taken for dead.
pub(crate) async fn beat(db: &Db, id: i64, moves: bool) -> Result<Option<bool>> {
    if moves {
        let update = db.query("UPDATE mainstay_worker SET beat = beat + 1 WHERE id = $1").bind(id);
        update.execute().await?;
    }
    let found: Option<(i16,)> =
        db.query("SELECT draining FROM mainstay_worker WHERE id = $1").bind(id).optional().await?;
    Ok(found.map(|(draining,)| draining != 0))
}

/// Leases of a worker.
pub(crate) async fn leases(db: &Db, worker: i64) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> =
        db.query("SELECT id FROM mainstay_lease WHERE worker = $1").bind(worker).all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What a dead worker had.
#[derive(Debug, Default)]
pub(crate) struct Rescued {
    /// The queues in which something is ready again.
    pub(crate) queues: Vec<String>,
    pub(crate) jobs: usize,
    /// Jobs that went to the dead letters, since their workers keep dying.
    pub(crate) dead: usize,
}

/// Takes a worker for dead: it is no worker any more, and what it had is ready again. Tells nothing if
/// somebody else did that.
pub(crate) async fn bury(db: &Db, worker: i64) -> Result<Rescued> {
    short(db)
        .run(|tx| async move {
            let gone = tx.query("DELETE FROM mainstay_worker WHERE id = $1").bind(worker);
            if gone.execute().await?.rows_affected() == 0 {
                return Ok(Rescued::default());
            }
            rescue(&tx, leases(&tx, worker).await?, true).await
        })
        .await
}

/// Makes what is in these leases ready again; `died` says that their worker did, and counts it.
pub(crate) async fn rescue(tx: &Db, leases: Vec<i64>, died: bool) -> Result<Rescued> {
    let mut rescued = Rescued::default();
    let mut all = Vec::new();
    for lease in leases {
        let found: Option<(String, String)> = tx
            .query("SELECT queue, ids FROM mainstay_lease WHERE id = $1")
            .bind(lease)
            .optional()
            .await?;
        // Deleted before the jobs are looked at: who ends one of them at this moment has it in a
        // transaction that comes wholly before this or finds the lease gone.
        let deleted = tx.query("DELETE FROM mainstay_lease WHERE id = $1").bind(lease);
        if deleted.execute().await?.rows_affected() == 0 {
            continue;
        }
        let Some((queue, ids)) = found else { continue };
        let ids: Vec<i64> = serde_json::from_str(&ids).unwrap_or_default();
        all.extend(ids);
        if !rescued.queues.contains(&queue) {
            rescued.queues.push(queue);
        }
    }
    if all.is_empty() {
        return Ok(rescued);
    }
    if died {
        rescued.dead = blame(tx, &all).await?;
    }
    rescued.jobs = all.len();
    give_back(tx, &json(all)).await?;
    Ok(rescued)
}

/// Counts the death against the suspects if there were some, otherwise against all: they then run apart from
/// the others, in groups and then each alone, until it is known which it was.
async fn blame(tx: &Db, ids: &[i64]) -> Result<usize> {
    const SUSPECTS: Sql = Sql {
        sqlite: concat!(
            "SELECT j.id, j.crashes, j.queue, j.errors, j.attempt FROM ",
            ids!(sqlite, "$1"),
            " AS g JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 AND j.crashes > 0"
        ),
        postgres: concat!(
            "SELECT j.id, j.crashes, j.queue, j.errors, j.attempt FROM ",
            ids!(postgres, "$1"),
            " AS g JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 AND j.crashes > 0"
        ),
        mysql: concat!(
            "SELECT j.id, j.crashes, j.queue, j.errors, j.attempt FROM ",
            ids!(mysql, "$1"),
            " AS g JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 AND j.crashes > 0"
        ),
    };
    const ALL: Sql = Sql {
        sqlite: concat!(
            "UPDATE mainstay_job SET crashes = crashes + 1, lane = 2 WHERE state = 0 AND id IN ",
            ids!(sqlite, "$1")
        ),
        postgres: concat!(
            "UPDATE mainstay_job SET crashes = crashes + 1, lane = 2 WHERE state = 0 AND id = ANY(ARRAY",
            ids!(postgres, "$1"),
            ")"
        ),
        mysql: concat!(
            "UPDATE ",
            ids!(mysql, "$1"),
            " AS g JOIN mainstay_job AS j ON j.id = g.id SET j.crashes = j.crashes + 1, j.lane = 2 \
             WHERE j.state = 0"
        ),
    };
    let engine = tx.engine();
    let all = json(ids.iter().copied());
    let suspects: Vec<(i64, i32, String, Option<String>, i32)> =
        tx.query(SUSPECTS.on(engine)).bind(all.as_str()).all().await?;
    if suspects.is_empty() {
        tx.query(ALL.on(engine)).bind(all).execute().await?;
        return Ok(0);
    }
    let of_them = json(suspects.iter().map(|suspect| suspect.0));
    tx.query(ALL.on(engine)).bind(of_them).execute().await?;
    let mut dead = 0;
    for (id, crashes, queue, errors, attempt) in suspects {
        if crashes + 1 < CRASHES_MAX {
            continue;
        }
        crate::worker::verdict::crashed(tx, id, &queue, errors.as_deref(), attempt).await?;
        dead += 1;
    }
    Ok(dead)
}

/// What is live and nowhere else is ready again.
pub(crate) async fn give_back(tx: &Db, ids: &str) -> Result<()> {
    const READY: Sql = Sql {
        sqlite: concat!(
            "INSERT OR IGNORE INTO mainstay_ready (queue, lane, priority, id) \
             SELECT j.queue, j.lane, j.priority, j.id FROM ",
            ids!(sqlite, "$1"),
            " AS g \
             JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 \
             AND NOT EXISTS (SELECT 1 FROM mainstay_scheduled AS s WHERE s.id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM mainstay_parked AS p WHERE p.id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM mainstay_handed AS h WHERE h.id = j.id)"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_ready (queue, lane, priority, id) \
             SELECT j.queue, j.lane, j.priority, j.id FROM ",
            ids!(postgres, "$1"),
            " AS g \
             JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 \
             AND NOT EXISTS (SELECT 1 FROM mainstay_scheduled AS s WHERE s.id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM mainstay_parked AS p WHERE p.id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM mainstay_handed AS h WHERE h.id = j.id) ON CONFLICT DO NOTHING"
        ),
        mysql: concat!(
            "INSERT IGNORE INTO mainstay_ready (queue, lane, priority, id) \
             SELECT j.queue, j.lane, j.priority, j.id FROM ",
            ids!(mysql, "$1"),
            " AS g \
             JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0 \
             AND NOT EXISTS (SELECT 1 FROM mainstay_scheduled AS s WHERE s.id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM mainstay_parked AS p WHERE p.id = j.id) \
             AND NOT EXISTS (SELECT 1 FROM mainstay_handed AS h WHERE h.id = j.id)"
        ),
    };
    tx.query(READY.on(tx.engine())).bind(ids).execute().await?;
    Ok(())
}

/// Removes a worker that ends in order; it has nothing any more.
pub(crate) async fn leave(db: &Db, id: i64) -> Result<Rescued> {
    short(db)
        .run(|tx| async move {
            let found = leases(&tx, id).await?;
            let rescued = rescue(&tx, found, false).await?;
            tx.query("DELETE FROM mainstay_worker WHERE id = $1").bind(id).execute().await?;
            Ok(rescued)
        })
        .await
}
