//! New jobs into their tables, many at once: one parameter carries them all, as JSON, so that the
//! statement is the same for any number.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use mainstay_core::Result;
use mainstay_db::{Db, Engine};
use serde::Serialize;

use super::{Sql, ids, json, now};
use crate::enqueue::Enqueued;
use crate::job::JobId;
use crate::options::Options;
use crate::schema::named;
use crate::tokens;
use crate::wake;

/// Jobs in one statement: a few hundred kilobytes at most of what is usual.
const BATCH_MAX: usize = 500;

/// A job that is to be enqueued.
#[derive(Clone, Debug, Default)]
pub(crate) struct New {
    pub(crate) queue: String,
    pub(crate) name: Cow<'static, str>,
    pub(crate) version: u32,
    pub(crate) priority: i16,
    pub(crate) due: Due,
    pub(crate) payload: String,
    pub(crate) options: Options,
    pub(crate) unique: Option<Unique>,
}

/// When it may be run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Due {
    #[default]
    Now,
    /// So many microseconds from now, by the database's clock.
    After(i64),
    /// At that time, in microseconds since 1970.
    At(i64),
}

/// How long its key in [`Options::unique`] stays taken: until it has ended, or for so long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unique {
    pub(crate) window_us: Option<i64>,
}

/// As the statement reads it: short names, since each row carries them.
#[derive(Serialize)]
struct Row<'a> {
    q: &'a str,
    n: &'a str,
    v: u32,
    l: i16,
    p: i16,
    b: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    o: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<i64>,
}

impl<'a> Row<'a> {
    fn of(new: &'a New) -> Self {
        let (d, t) = match new.due {
            Due::Now => (None, None),
            Due::After(delay) => (Some(delay), None),
            Due::At(time) => (None, Some(time)),
        };
        Self {
            q: &new.queue,
            n: &new.name,
            v: new.version,
            l: i16::from(new.options.is_keyed()),
            p: new.priority,
            b: &new.payload,
            o: new.options.to_text(),
            d,
            t,
        }
    }
}

const BODY: Sql = Sql {
    sqlite: concat!(
        "INSERT INTO mainstay_job (queue, name, version, lane, priority, created_us, run_us, payload, options) \
         SELECT value->>'q', value->>'n', value->>'v', value->>'l', value->>'p', n.us, \
         COALESCE(value->>'t', n.us + (value->>'d')), value->>'b', value->>'o' \
         FROM json_each($1), (SELECT ",
        now!(sqlite),
        " AS us) n ORDER BY json_each.key"
    ),
    // The whole of it: bodies, and where each waits.
    postgres: concat!(
        "WITH body AS (INSERT INTO mainstay_job \
           (queue, name, version, lane, priority, created_us, run_us, payload, options) \
           SELECT q, n, v, l, p, us, COALESCE(t, us + d), b, o \
           FROM json_to_recordset(CAST($1 AS JSON)) \
             AS r(q TEXT, n TEXT, v INT, l SMALLINT, p SMALLINT, b TEXT, o TEXT, d BIGINT, t BIGINT), \
             (SELECT ",
        now!(postgres),
        " AS us) AS n \
           RETURNING id, queue, lane, priority, run_us), \
         ready AS (INSERT INTO mainstay_ready (queue, lane, priority, id) \
           SELECT queue, lane, priority, id FROM body WHERE run_us IS NULL), \
         later AS (INSERT INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
           SELECT run_us, id, queue, lane, priority FROM body WHERE run_us IS NOT NULL) \
         SELECT id FROM body ORDER BY id"
    ),
    mysql: concat!(
        "INSERT INTO mainstay_job (queue, name, version, lane, priority, created_us, run_us, payload, options) \
         SELECT q, n, v, l, p, us, COALESCE(t, us + d), b, o FROM JSON_TABLE($1, '$[*]' COLUMNS (\
           q VARCHAR(100) PATH '$.q', n VARCHAR(100) PATH '$.n', v INT PATH '$.v', l SMALLINT PATH '$.l', \
           p SMALLINT PATH '$.p', b LONGTEXT PATH '$.b', o LONGTEXT PATH '$.o', d BIGINT PATH '$.d', \
           t BIGINT PATH '$.t')) AS r, (SELECT ",
        now!(mysql),
        " AS us) AS n"
    ),
};

const READY: Sql = Sql {
    sqlite: "INSERT INTO mainstay_ready (queue, lane, priority, id) \
             SELECT queue, lane, priority, id FROM mainstay_job \
             WHERE id BETWEEN $1 AND $2 AND run_us IS NULL",
    postgres: "",
    mysql: concat!(
        "INSERT INTO mainstay_ready (queue, lane, priority, id) \
         SELECT j.queue, j.lane, j.priority, j.id FROM ",
        ids!(mysql, "$1"),
        " AS g \
         JOIN mainstay_job AS j ON j.id = g.id WHERE j.run_us IS NULL"
    ),
};

const LATER: Sql = Sql {
    sqlite: "INSERT INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
             SELECT run_us, id, queue, lane, priority FROM mainstay_job \
             WHERE id BETWEEN $1 AND $2 AND run_us IS NOT NULL",
    postgres: "",
    mysql: concat!(
        "INSERT INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
         SELECT j.run_us, j.id, j.queue, j.lane, j.priority FROM ",
        ids!(mysql, "$1"),
        " AS g \
         JOIN mainstay_job AS j ON j.id = g.id WHERE j.run_us IS NOT NULL"
    ),
};

/// Enqueues them in the order given, in the open transaction if there is one, otherwise all or none;
/// workers are told once that is committed. Errors: JOB-001, and those of a statement.
pub(crate) async fn enqueue(db: &Db, mut jobs: Vec<New>) -> Result<Vec<Enqueued>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(tokens) = tokens::carried(db).await {
        for new in &mut jobs {
            new.options.headers.insert(tokens::TOKEN.to_owned(), tokens.clone());
        }
    }
    let queues: BTreeSet<String> = jobs
        .iter()
        .filter(|new| matches!(new.due, Due::Now))
        .map(|new| new.queue.clone())
        .collect();
    let has_later = jobs.iter().any(|new| !matches!(new.due, Due::Now));
    let plain = jobs.iter().all(|new| new.unique.is_none());
    let one_statement = db.engine() == Engine::Postgres && plain && jobs.len() <= BATCH_MAX;
    let outcome = if db.in_transaction() || one_statement {
        insert(db, &jobs).await
    } else {
        let jobs = &jobs;
        db.transaction(|tx| async move { insert(&tx, jobs).await }).await
    };
    let enqueued = outcome.map_err(named)?;
    for queue in queues {
        wake::after_commit(db, wake::Of::Queue(queue)).await?;
    }
    if has_later {
        wake::after_commit(db, wake::Of::Schedule).await?;
    }
    Ok(enqueued)
}

async fn insert(db: &Db, jobs: &[New]) -> Result<Vec<Enqueued>> {
    let mut out = Vec::with_capacity(jobs.len());
    let mut batch: Vec<&New> = Vec::new();
    for new in jobs {
        if let Some(unique) = new.unique {
            flush(db, &mut batch, &mut out).await?;
            out.push(super::unique::insert(db, new, unique).await?);
            continue;
        }
        batch.push(new);
        if batch.len() == BATCH_MAX {
            flush(db, &mut batch, &mut out).await?;
        }
    }
    flush(db, &mut batch, &mut out).await?;
    Ok(out)
}

async fn flush(db: &Db, batch: &mut Vec<&New>, out: &mut Vec<Enqueued>) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let ids = insert_all(db, batch).await?;
    out.extend(ids.into_iter().map(|id| Enqueued::New(JobId(id))));
    batch.clear();
    Ok(())
}

/// Their numbers, in their order.
pub(crate) async fn insert_all(db: &Db, batch: &[&New]) -> Result<Vec<i64>> {
    let later = batch.iter().any(|new| !matches!(new.due, Due::Now));
    let ready = batch.iter().any(|new| matches!(new.due, Due::Now));
    match db.engine() {
        Engine::Postgres => {
            let ids: Vec<(i64,)> = db.query(BODY.postgres).bind(rows(batch)).all().await?;
            Ok(ids.into_iter().map(|(id,)| id).collect())
        }
        Engine::Sqlite => {
            let (first, last) = bodies_on_sqlite(db, batch, later).await?;
            for (wanted, sql) in [(ready, READY.sqlite), (later, LATER.sqlite)] {
                if wanted {
                    db.query(sql).bind(first).bind(last).execute().await?;
                }
            }
            Ok((first..=last).collect())
        }
        Engine::MySql => {
            let ids = bodies_on_mysql(db, batch).await?;
            for (wanted, sql) in [(ready, READY.mysql), (later, LATER.mysql)] {
                if wanted {
                    db.query(sql).bind(json(ids.iter().copied())).execute().await?;
                }
            }
            Ok(ids)
        }
    }
}

fn rows(batch: &[&New]) -> String {
    let rows: Vec<_> = batch.iter().map(|new| Row::of(new)).collect();
    serde_json::to_string(&rows).expect("rows are plain")
}

/// Statements of so many rows, each prepared once: taking JSON apart costs SQLite several times more.
static VALUES: [(usize, LazyLock<String>); 3] = [
    (100, LazyLock::new(|| values(100))),
    (10, LazyLock::new(|| values(10))),
    (1, LazyLock::new(|| values(1))),
];

fn values(count: usize) -> String {
    let mut sql = "INSERT INTO mainstay_job \
         (queue, name, version, lane, priority, payload, options, created_us) VALUES "
        .to_owned();
    for row in 0..count {
        sql += if row == 0 { "(" } else { ", (" };
        for column in 1..=7 {
            sql += &format!("${}, ", row * 7 + column);
        }
        sql += concat!(now!(sqlite), ")");
    }
    sql
}

/// The first and the last number: one writer, and numbers that only grow, so they follow each other.
async fn bodies_on_sqlite(db: &Db, batch: &[&New], later: bool) -> Result<(i64, i64)> {
    let mut last = 0;
    if later {
        let done = db.query(BODY.sqlite).bind(rows(batch)).execute().await?;
        last = done.last_insert_id().unwrap_or_default();
    } else {
        let mut rest = batch;
        while !rest.is_empty() {
            let fits = VALUES.iter().find(|(count, _)| *count <= rest.len());
            let Some((count, sql)) = fits else { break };
            let (now, then) = rest.split_at(*count);
            let mut query = db.query(LazyLock::force(sql).as_str());
            for new in now {
                query = query
                    .bind(new.queue.as_str())
                    .bind(new.name.as_ref())
                    .bind(new.version as i32)
                    .bind(i16::from(new.options.is_keyed()))
                    .bind(new.priority)
                    .bind(new.payload.as_str())
                    .bind(new.options.to_text());
            }
            last = query.execute().await?.last_insert_id().unwrap_or_default();
            rest = then;
        }
    }
    Ok((last + 1 - batch.len() as i64, last))
}

/// MariaDB tells the numbers that it gave. MySQL does not, and promises no order for those of one
/// statement that reads its rows: there it is one statement a job.
async fn bodies_on_mysql(db: &Db, batch: &[&New]) -> Result<Vec<i64>> {
    if db.is_mariadb() {
        let sql = concat!(
            "INSERT INTO mainstay_job (queue, name, version, lane, priority, created_us, run_us, payload, options) \
             SELECT q, n, v, l, p, us, COALESCE(t, us + d), b, o FROM JSON_TABLE($1, '$[*]' COLUMNS (\
               q VARCHAR(100) PATH '$.q', n VARCHAR(100) PATH '$.n', v INT PATH '$.v', l SMALLINT PATH '$.l', \
               p SMALLINT PATH '$.p', b LONGTEXT PATH '$.b', o LONGTEXT PATH '$.o', d BIGINT PATH '$.d', \
               t BIGINT PATH '$.t')) AS r, (SELECT ",
            now!(mysql),
            " AS us) AS n RETURNING id"
        );
        let mut ids: Vec<(i64,)> = db.query(sql).bind(rows(batch)).all().await?;
        ids.sort_unstable();
        return Ok(ids.into_iter().map(|(id,)| id).collect());
    }
    let mut ids = Vec::with_capacity(batch.len());
    for new in batch {
        let row = serde_json::to_string(&[Row::of(new)]).expect("rows are plain");
        let done = db.query(BODY.mysql).bind(row).execute().await?;
        ids.push(done.last_insert_id().unwrap_or_default());
    }
    Ok(ids)
}
