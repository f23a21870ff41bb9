//! Looking at jobs. A state is looked for where jobs of that state are, so that a list of the dead does not
//! read a million that are ready.

use chrono::{DateTime, Utc};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db, Engine, Query};
use serde::Serialize;

use super::stats::COUNT_MAX;
use super::{Admin, State, time};
use crate::job::JobId;
use crate::options::Options;
use crate::schema::named;
use crate::store::{Sql, ids};
use crate::worker::Failure;

/// Rows of leases that are read to find what runs.
pub(super) const LEASES_MAX: i64 = 10_000;

/// Which jobs are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this state.
    pub state: Option<State>,
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this name.
    pub name: Option<String>,
    /// With this key: a unique, an ordering, a limit or a batch key.
    pub key: Option<String>,
    /// Ended at this time or later; one that has not ended, enqueued then.
    pub since: Option<DateTime<Utc>>,
    /// Ended before this time; one that has not ended, enqueued then.
    pub until: Option<DateTime<Utc>>,
    /// Older than this one: where the last page ended.
    pub before: Option<JobId>,
    /// At most so many; 0 is 50, and 1,000 the most.
    pub limit: u32,
}

/// A job, briefly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobInfo {
    /// Its number.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Its queue.
    pub queue: String,
    /// Where it is.
    pub state: State,
    /// Its priority; the smaller runs first.
    pub priority: i16,
    /// Attempts that failed.
    pub attempt: u32,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it is to run, if later.
    pub run_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How the last attempt failed.
    pub last_error: Option<Failure>,
}

/// All that is known of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobDetail {
    /// Briefly.
    pub info: JobInfo,
    /// The version that its payload was written as.
    pub version: u32,
    /// Workers that died with it.
    pub crashes: u32,
    /// Its payload, JSON.
    pub payload: String,
    /// What was asked for it.
    pub options: serde_json::Value,
    /// How its last attempts failed.
    pub errors: Vec<Failure>,
    /// What its handler returned, JSON.
    pub result: Option<String>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Steps that were done, in order.
    pub steps: Vec<StepInfo>,
    /// The worker that has it.
    pub worker: Option<String>,
}

/// How far a job is, as its handler said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// When it said so.
    pub at: DateTime<Utc>,
    /// From 0 to 1.
    pub done: f64,
    /// In words.
    pub note: String,
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepInfo {
    /// Its name.
    pub name: String,
    /// When.
    pub at: DateTime<Utc>,
}

type Row = (i64, String, String, i16, i16, i32, i64, Option<i64>, Option<i64>, Option<String>);
const COLUMNS: &str = "j.id, j.name, j.queue, j.state, j.priority, j.attempt, j.created_us, \
     (SELECT s.run_us FROM mainstay_scheduled AS s WHERE s.id = j.id), j.finished_us, j.errors";

/// Whether a job has the key that is bound as the fourth value.
const KEYED: Sql = Sql {
    sqlite: "$4 IN (j.options->>'unique', j.options->>'ordering_key', j.options->>'limit_key', \
             j.options->>'batch_key')",
    postgres: "$4 IN (CAST(j.options AS JSON)->>'unique', CAST(j.options AS JSON)->>'ordering_key', \
               CAST(j.options AS JSON)->>'limit_key', CAST(j.options AS JSON)->>'batch_key')",
    // As bytes: the column's collation takes upper and lower case for the same.
    mysql: "CAST($4 AS BINARY) IN (JSON_VALUE(j.options, '$.unique'), \
            JSON_VALUE(j.options, '$.ordering_key'), JSON_VALUE(j.options, '$.limit_key'), \
            JSON_VALUE(j.options, '$.batch_key'))",
};

impl Filter {
    /// From FROM to the end of WHERE. Texts are bound; what is put in here are our own words and numbers.
    fn found(&self, engine: Engine, running: &[i64]) -> String {
        let (table, also) = match self.state {
            None => ("", String::new()),
            // Leases name some that have ended.
            Some(State::Running) => {
                ("", format!(" AND j.state = 0 AND j.id IN ({})", numbers(running)))
            }
            Some(State::Ready) => ("mainstay_ready", String::new()),
            Some(State::Scheduled) => ("mainstay_scheduled", String::new()),
            Some(State::Parked) => ("mainstay_parked", String::new()),
            Some(State::Handed) => ("mainstay_handed", String::new()),
            Some(State::Completed) => ("mainstay_finished", " AND w.state = 1".to_owned()),
            Some(State::Cancelled) => ("mainstay_finished", " AND w.state = 2".to_owned()),
            Some(State::Dead) => ("mainstay_finished", " AND w.state = 3".to_owned()),
        };
        let (from, queue) = if table.is_empty() {
            ("mainstay_job AS j".to_owned(), "j.queue")
        } else {
            (format!("{table} AS w JOIN mainstay_job AS j ON j.id = w.id"), "w.queue")
        };
        let keyed = KEYED.on(engine);
        format!(
            "FROM {from} WHERE j.id < $1{also} AND ($2 = '' OR {queue} = $2) \
             AND ($3 = '' OR j.name = $3) AND ($4 = '' OR {keyed}) \
             AND COALESCE(j.finished_us, j.created_us) >= $5 \
             AND COALESCE(j.finished_us, j.created_us) < $6"
        )
    }

    /// Binds the six values of [`found`](Self::found).
    fn bind<'d>(&self, query: Query<'d>) -> Query<'d> {
        query
            .bind(self.before.map_or(i64::MAX, |id| id.0))
            .bind(self.queue.clone().unwrap_or_default())
            .bind(self.name.clone().unwrap_or_default())
            .bind(self.key.clone().unwrap_or_default())
            .bind(self.since.map_or(0, |at| at.timestamp_micros()))
            .bind(self.until.map_or(i64::MAX, |at| at.timestamp_micros()))
    }
}

fn info(
    (id, name, queue, state, priority, attempt, created_us, run_us, finished_us, errors): Row,
    live: State,
) -> JobInfo {
    JobInfo {
        id: JobId(id),
        name,
        queue,
        state: State::ended(state).unwrap_or(live),
        priority,
        attempt: attempt.unsigned_abs(),
        created_at: time(created_us),
        run_at: run_us.map(time),
        finished_at: finished_us.map(time),
        last_error: failures(errors.as_deref()).pop(),
    }
}

fn failures(text: Option<&str>) -> Vec<Failure> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl Admin {
    /// Jobs, the newest first.
    ///
    /// Errors: JOB-001, and those of a statement.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<JobInfo>> {
        let limit = if filter.limit == 0 { 50 } else { filter.limit.min(1_000) };
        let running = self.running_of(filter).await?;
        let found = filter.found(self.db.engine(), &running);
        let sql = format!("SELECT {COLUMNS} {found} ORDER BY j.id DESC LIMIT $7");
        let query = filter.bind(self.db.query(AssertSqlSafe(sql))).bind(i64::from(limit));
        let rows: Vec<Row> = query.all().await.map_err(named)?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let live = match filter.state {
                Some(state) => state,
                None if row.3 != 0 => State::Dead,
                None => self.live_state(row.0, &running).await?,
            };
            out.push(info(row, live));
        }
        Ok(out)
    }

    /// How many jobs a filter finds; counting stops at 100,000.
    ///
    /// Errors: JOB-001, and those of a statement.
    pub async fn count(&self, filter: &Filter) -> Result<u64> {
        let running = self.running_of(filter).await?;
        let found = filter.found(self.db.engine(), &running);
        let sql = format!("SELECT COUNT(*) FROM (SELECT j.id {found} LIMIT $7) AS c");
        let query = filter.bind(self.db.query(AssertSqlSafe(sql))).bind(COUNT_MAX);
        let count: i64 = query.scalar().await.map_err(named)?;
        Ok(count.unsigned_abs())
    }

    /// What workers have, where a filter asks for it.
    async fn running_of(&self, filter: &Filter) -> Result<Vec<i64>> {
        match filter.state {
            None | Some(State::Running) => leased(&self.db).await,
            Some(_) => Ok(Vec::new()),
        }
    }

    async fn live_state(&self, id: i64, running: &[i64]) -> Result<State> {
        const WHERE: &str = "SELECT CASE \
             WHEN EXISTS (SELECT 1 FROM mainstay_scheduled WHERE id = $1) THEN 'scheduled' \
             WHEN EXISTS (SELECT 1 FROM mainstay_parked WHERE id = $1) THEN 'parked' \
             WHEN EXISTS (SELECT 1 FROM mainstay_handed WHERE id = $1) THEN 'handed' ELSE 'ready' END";
        if running.binary_search(&id).is_ok() {
            return Ok(State::Running);
        }
        let state: String = self.db.query(WHERE).bind(id).scalar().await?;
        state.parse()
    }

    /// All that is known of a job.
    ///
    /// Errors: JOB-011, JOB-001, and those of a statement.
    pub async fn show(&self, id: JobId) -> Result<JobDetail> {
        let found: Option<Row> = self
            .db
            .query(AssertSqlSafe(format!(
                "SELECT {COLUMNS} FROM mainstay_job AS j WHERE j.id = $1"
            )))
            .bind(id.0)
            .optional()
            .await
            .map_err(named)?;
        let row = found.ok_or_else(|| not_found(id))?;
        let errors = failures(row.9.as_deref());
        let live = match State::ended(row.3) {
            Some(state) => state,
            None => self.live_state(id.0, &leased(&self.db).await?).await?,
        };
        let (version, crashes, payload, options, result): (
            i32,
            i32,
            String,
            Option<String>,
            Option<String>,
        ) = self
            .db
            .query(
                "SELECT version, crashes, payload, options, result FROM mainstay_job WHERE id = $1",
            )
            .bind(id.0)
            .optional()
            .await?
            .ok_or_else(|| not_found(id))?;
        let progress: Option<(i64, f64, Option<String>)> = self
            .db
            .query("SELECT at_us, done, note FROM mainstay_progress WHERE id = $1")
            .bind(id.0)
            .optional()
            .await?;
        let steps: Vec<(String, i64)> = self
            .db
            .query("SELECT name, at_us FROM mainstay_step WHERE job = $1 ORDER BY seq, at_us")
            .bind(id.0)
            .all()
            .await?;
        Ok(JobDetail {
            info: info(row, live),
            version: version.unsigned_abs(),
            crashes: crashes.unsigned_abs(),
            payload,
            options: options
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_else(|| serde_json::json!({})),
            errors,
            result,
            progress: progress.map(|(at_us, done, note)| Progress {
                at: time(at_us),
                done,
                note: note.unwrap_or_default(),
            }),
            steps: steps.into_iter().map(|(name, at)| StepInfo { name, at: time(at) }).collect(),
            worker: self.worker_of(id).await?,
        })
    }

    async fn worker_of(&self, id: JobId) -> Result<Option<String>> {
        let leases: Vec<(i64, String)> = self
            .db
            .query("SELECT worker, ids FROM mainstay_lease ORDER BY id LIMIT $1")
            .bind(LEASES_MAX)
            .all()
            .await?;
        let has = |ids: &str| leased_ids(ids).contains(&id.0);
        let Some((worker, _)) = leases.into_iter().find(|(_, ids)| has(ids)) else {
            return Ok(None);
        };
        let name: Option<(String,)> = self
            .db
            .query("SELECT name FROM mainstay_worker WHERE id = $1")
            .bind(worker)
            .optional()
            .await?;
        Ok(name.map(|(name,)| format!("{name} ({worker})")))
    }
}

pub(super) fn not_found(id: JobId) -> Error {
    Error::new(Code::JobNotFound, format!("there is no job {id}"))
        .why("it never was, or it was done and is not kept")
}

fn numbers(ids: &[i64]) -> String {
    if ids.is_empty() {
        return "-1".to_owned();
    }
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// What workers have, in order.
async fn leased(db: &Db) -> Result<Vec<i64>> {
    let leases: Vec<(String,)> = db
        .query("SELECT ids FROM mainstay_lease ORDER BY id LIMIT $1")
        .bind(LEASES_MAX)
        .all()
        .await
        .map_err(named)?;
    let mut ids: Vec<i64> = leases.iter().flat_map(|(ids,)| leased_ids(ids)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The jobs of a lease.
pub(super) fn leased_ids(ids: &str) -> Vec<i64> {
    serde_json::from_str(ids).unwrap_or_default()
}

/// Those of a JSON list of jobs that are live: leases name some that have ended.
pub(super) async fn live(db: &Db, ids: &str) -> Result<Vec<i64>> {
    macro_rules! find {
        ($engine:ident) => {
            concat!(
                "SELECT j.id FROM ",
                ids!($engine, "$1"),
                " AS g JOIN mainstay_job AS j ON j.id = g.id WHERE j.state = 0"
            )
        };
    }
    const LIVE: Sql = Sql { sqlite: find!(sqlite), postgres: find!(postgres), mysql: find!(mysql) };
    if ids == "[]" {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64,)> = db.query(LIVE.on(db.engine())).bind(ids).all().await.map_err(named)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A job's options, as far as they can be read.
pub(super) fn options(text: Option<&str>) -> Options {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
