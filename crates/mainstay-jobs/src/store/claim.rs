//! Claiming: from ready to a worker, many at once, with a lease that tells whose they are.

use mainstay_core::Result;
use mainstay_db::{Db, Durability, Engine, Isolation};

use super::{Sql, ids, json};
use crate::options::Options;
use crate::schema::named;

/// A job that a worker has.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: i64,
    /// The batch that it was claimed in; 0 where a broker brought it.
    pub(crate) lease: i64,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) lane: i16,
    /// Claimed with care: it may have keys to let go of.
    pub(crate) careful: bool,
    pub(crate) priority: i16,
    pub(crate) created_us: i64,
    pub(crate) run_us: Option<i64>,
    /// Attempts that failed so far.
    pub(crate) attempt: u32,
    /// Workers that died with it so far.
    pub(crate) crashes: u32,
    pub(crate) payload: String,
    pub(crate) options: Option<Box<Options>>,
    /// The errors of its last attempts, as JSON.
    pub(crate) errors: Option<String>,
}

/// The columns of [`Claimed`], save the lease, of a table called `j`.
macro_rules! body {
    () => {
        "j.id, j.name, j.version, j.lane, j.priority, j.created_us, j.run_us, j.attempt, j.crashes, \
         j.payload, j.options, j.errors"
    };
}

/// What [`body!`] selects.
pub(crate) type Body = (
    i64,
    String,
    i32,
    i16,
    i16,
    i64,
    Option<i64>,
    i32,
    i32,
    String,
    Option<String>,
    Option<String>,
);

impl Claimed {
    pub(crate) fn of(lease: i64, body: Body) -> Self {
        let (id, name, version, lane, priority, created_us, run_us, attempt, crashes, ..) = body;
        let (.., payload, options, errors) = body;
        // What cannot be read was written by a later release: it runs by the defaults of its type.
        let options = options.and_then(|text| serde_json::from_str(&text).ok()).map(Box::new);
        let (attempt, crashes) = (attempt.unsigned_abs(), crashes.unsigned_abs());
        let version = version.unsigned_abs();
        Self {
            id,
            lease,
            name,
            version,
            lane,
            careful: false,
            priority,
            created_us,
            run_us,
            attempt,
            crashes,
            payload,
            options,
            errors,
        }
    }
}

/// Where a claim begins to look: behind what was claimed before, since what was deleted there has to be
/// stepped over as long as some old transaction might still see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    pub(crate) priority: i16,
    pub(crate) id: i64,
}

impl Hint {
    pub(crate) const START: Self = Self { priority: i16::MIN, id: i64::MIN };
}

/// One statement: taken, leased and read. It need not reach the disk: what a crash of the server
/// forgets is claimed again.
const POSTGRES: &str = concat!(
    "WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS off), \
     taken AS (DELETE FROM mainstay_ready WHERE ctid = ANY(ARRAY( \
       SELECT ctid FROM mainstay_ready WHERE queue = $1 AND lane = 0 AND (priority, id) > ($2, $3) \
       AND NOT EXISTS (SELECT 1 FROM mainstay_queue WHERE name = $1 AND paused = 1) \
       ORDER BY priority, id LIMIT $4 FOR UPDATE SKIP LOCKED)) RETURNING id), \
     body AS MATERIALIZED (SELECT ",
    body!(),
    " FROM taken JOIN mainstay_job AS j ON j.id = taken.id AND j.state = 0), \
     lease AS (INSERT INTO mainstay_lease (worker, queue, ids) \
       SELECT $5, $1, CAST(json_agg(body.id) AS TEXT) FROM body, quick HAVING COUNT(*) > 0 RETURNING id) \
     SELECT lease.id, j.* FROM lease, body AS j ORDER BY j.priority, j.id"
);

const LOOK: &str = "SELECT COUNT(*) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 AND lane = 0 \
     AND NOT EXISTS (SELECT 1 FROM mainstay_queue WHERE name = $1 AND paused = 1) LIMIT 1) AS one";

/// On SQLite the first ones are nobody else's: there is one writer.
const FIRST: &str = concat!(
    "SELECT ",
    body!(),
    " FROM mainstay_ready AS r JOIN mainstay_job AS j ON j.id = r.id AND j.state = 0 \
     WHERE r.queue = $1 AND r.lane = 0 \
     AND NOT EXISTS (SELECT 1 FROM mainstay_queue WHERE name = $1 AND paused = 1) \
     ORDER BY r.priority, r.id LIMIT $2"
);
const TAKE_FIRST: &str = "DELETE FROM mainstay_ready WHERE queue = $1 AND lane = 0 \
     AND (priority, id) <= ($2, $3)";

const CANDIDATES: &str = "SELECT id, priority FROM mainstay_ready WHERE queue = $1 AND lane = 0 \
     AND NOT EXISTS (SELECT 1 FROM mainstay_queue WHERE name = $1 AND paused = 1) \
     ORDER BY priority, id LIMIT $2 FOR UPDATE SKIP LOCKED";

/// Removes from ready: the queue, the lane, and `[[id, priority], ..]`.
pub(crate) const TAKE: Sql = Sql {
    sqlite: "DELETE FROM mainstay_ready WHERE (queue, lane, priority, id) IN \
             (SELECT $1, CAST($2 AS INTEGER), value->>1, value->>0 FROM json_each($3))",
    postgres: "DELETE FROM mainstay_ready AS r USING json_array_elements(CAST($3 AS JSON)) AS g(value) \
               WHERE r.queue = $1 AND r.lane = $2 AND r.priority = CAST(g.value->>1 AS SMALLINT) \
               AND r.id = CAST(g.value->>0 AS BIGINT)",
    mysql: "DELETE r FROM JSON_TABLE($3, '$[*]' COLUMNS (id BIGINT PATH '$[0]', priority SMALLINT PATH '$[1]')) AS g \
            JOIN mainstay_ready AS r ON r.queue = $1 AND r.lane = $2 AND r.priority = g.priority AND r.id = g.id",
};

/// The bodies of a JSON list of ids.
pub(crate) const BODIES: Sql = Sql {
    sqlite: concat!(
        "SELECT ",
        body!(),
        " FROM ",
        ids!(sqlite, "$1"),
        " AS g JOIN mainstay_job AS j ON j.id = g.id \
         WHERE j.state = 0 ORDER BY j.priority, j.id"
    ),
    postgres: concat!(
        "SELECT ",
        body!(),
        " FROM ",
        ids!(postgres, "$1"),
        " AS g JOIN mainstay_job AS j ON j.id = g.id \
         WHERE j.state = 0 ORDER BY j.priority, j.id"
    ),
    mysql: concat!(
        "SELECT ",
        body!(),
        " FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_job AS j ON j.id = g.id \
         WHERE j.state = 0 ORDER BY j.priority, j.id"
    ),
};

/// Claims up to `max` free jobs of `queue` for `worker`, in order of priority and age. None where the
/// queue is paused. On PostgreSQL it looks behind `hint`.
///
/// Dropped half-way, what was claimed is in the lease, which is given back when the worker's leases are
/// compared with what it knows, or when it ends.
pub(crate) async fn claim(
    db: &Db,
    worker: i64,
    queue: &str,
    hint: Hint,
    max: usize,
) -> Result<Vec<Claimed>> {
    let claimed = match db.engine() {
        Engine::Postgres => on_postgres(db, worker, queue, hint, max).await,
        // Looking costs no lock, and most looks of an idle worker find nothing.
        _ if db.query(LOOK).bind(queue).scalar::<i64>().await.map_err(named)? == 0 => {
            return Ok(Vec::new());
        }
        Engine::Sqlite => on_sqlite(db, worker, queue, max).await,
        Engine::MySql => on_mysql(db, worker, queue, max).await,
    };
    claimed.map_err(named)
}

async fn on_postgres(
    db: &Db,
    worker: i64,
    queue: &str,
    hint: Hint,
    max: usize,
) -> Result<Vec<Claimed>> {
    let rows = db
        .query(POSTGRES)
        .bind(queue)
        .bind(hint.priority)
        .bind(hint.id)
        .bind(max as i64)
        .bind(worker)
        .rows()
        .await?;
    rows.iter()
        .map(|row| {
            let body = (
                row.at(1)?,
                row.at(2)?,
                row.at(3)?,
                row.at(4)?,
                row.at(5)?,
                row.at(6)?,
                row.at(7)?,
                row.at(8)?,
                row.at(9)?,
                row.at(10)?,
                row.at(11)?,
                row.at(12)?,
            );
            Ok(Claimed::of(row.at(0)?, body))
        })
        .collect()
}

async fn on_sqlite(db: &Db, worker: i64, queue: &str, max: usize) -> Result<Vec<Claimed>> {
    // As on PostgreSQL it need not reach the disk.
    short(db)
        .durability(Durability::Async)
        .run(|tx| async move {
            let bodies: Vec<Body> = tx.query(FIRST).bind(queue).bind(max as i64).all().await?;
            let Some(last) = bodies.last() else { return Ok(Vec::new()) };
            let (id, priority) = (last.0, last.4);
            tx.query(TAKE_FIRST).bind(queue).bind(priority).bind(id).execute().await?;
            let ids = json(bodies.iter().map(|body| body.0));
            let lease = insert_lease(&tx, worker, queue, ids).await?;
            Ok(bodies.into_iter().map(|body| Claimed::of(lease, body)).collect())
        })
        .await
}

async fn on_mysql(db: &Db, worker: i64, queue: &str, max: usize) -> Result<Vec<Claimed>> {
    short(db)
        .run(|tx| async move {
            let candidates: Vec<(i64, i16)> =
                tx.query(CANDIDATES).bind(queue).bind(max as i64).all().await?;
            if candidates.is_empty() {
                return Ok(Vec::new());
            }
            take(&tx, queue, 0, &candidates).await?;
            lease(&tx, worker, queue, candidates.iter().map(|(id, _)| *id)).await
        })
        .await
}

/// A transaction of ours: each statement sees what was committed before it.
pub(crate) fn short(db: &Db) -> mainstay_db::Tx<'_> {
    match db.engine() {
        Engine::Sqlite => db.tx(),
        Engine::Postgres | Engine::MySql => db.tx().isolation(Isolation::ReadCommitted),
    }
}

/// Removes these from ready. In a transaction.
pub(crate) async fn take(db: &Db, queue: &str, lane: i16, rows: &[(i64, i16)]) -> Result<u64> {
    let rows = serde_json::to_string(rows).expect("numbers");
    let done = db.query(TAKE.on(db.engine())).bind(queue).bind(lane).bind(rows).execute().await?;
    Ok(done.rows_affected())
}

/// Writes a lease of those that are live, and reads them. In a transaction.
pub(crate) async fn lease(
    db: &Db,
    worker: i64,
    queue: &str,
    ids: impl Iterator<Item = i64>,
) -> Result<Vec<Claimed>> {
    let bodies: Vec<Body> = db.query(BODIES.on(db.engine())).bind(json(ids)).all().await?;
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let live = json(bodies.iter().map(|body| body.0));
    let lease = insert_lease(db, worker, queue, live).await?;
    Ok(bodies.into_iter().map(|body| Claimed::of(lease, body)).collect())
}

async fn insert_lease(db: &Db, worker: i64, queue: &str, ids: String) -> Result<i64> {
    let sql = Sql {
        sqlite: "INSERT INTO mainstay_lease (worker, queue, ids) VALUES ($1, $2, $3)",
        postgres: "INSERT INTO mainstay_lease (worker, queue, ids) VALUES ($1, $2, $3) RETURNING id",
        mysql: "INSERT INTO mainstay_lease (worker, queue, ids) VALUES ($1, $2, $3)",
    };
    let query = db.query(sql.on(db.engine())).bind(worker).bind(queue).bind(ids);
    match db.engine() {
        Engine::Postgres => query.scalar().await,
        Engine::Sqlite | Engine::MySql => {
            Ok(query.execute().await?.last_insert_id().unwrap_or_default())
        }
    }
}
