//! `mainstay lab leak`: tasks that have answered and go on, with a cursor that they no longer need and its connection;
//! then the same with the cursor in a scope of its own.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use mainstay_core::clock::Clock;
use mainstay_core::observe::{Hold, HoldKind, Subscriber};
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_doctor::Finding;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::exhaustion::ready;
use super::table::Table;
use super::watch::{Watched, micros};

/// Requests before the lab gives up on a pool that does not run dry.
const REQUESTS: u32 = 20;
/// How long the pool is given to tell of what is kept.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// For how long after the last answer a leak would still be told.
const QUIET: Duration = Duration::from_millis(1500);

/// A leak, and the same without one.
#[derive(Clone, Debug, Serialize)]
pub struct Leak {
    /// The cursor outlives its use.
    pub before: Kept,
    /// It ends with its scope.
    pub after: Kept,
}

/// How requests fared, and what was kept of the pool.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Kept {
    /// Requests that were sent: it ends with the first that is refused.
    pub requests: u32,
    /// Those that were answered.
    pub answered: u32,
    /// Connections in use after the last answer, while nobody asks for anything.
    pub in_use: Vec<InUse>,
    /// What the one who was refused was told.
    pub error: Option<String>,
    /// What the pool reported: a leak each.
    pub reports: Vec<String>,
    /// What the doctor said of it.
    pub findings: Vec<Finding>,
}

/// A connection in somebody's hands.
#[derive(Clone, Debug, Serialize)]
pub struct InUse {
    /// Who has it: the request, and where it was asked for.
    pub who: String,
    /// What was last done with it.
    pub last: Option<String>,
    /// For how long it has been held.
    pub held_us: u64,
}

/// Runs it on `db`, whose pool should be a [`small_pool`](super::small_pool). `say` is told what is about to happen.
///
/// Errors: those of a statement, save POOL-002, which it shows; what it made is dropped again.
pub async fn leak(db: &Db, say: impl Fn(&str) + Sync) -> Result<Leak> {
    let table = Table::make(db, "users", "id BIGINT PRIMARY KEY").await?;
    let report = compare(db, &table, &say).await;
    let dropped = table.drop().await;
    let report = report?;
    dropped.map(|()| report)
}

async fn compare(db: &Db, table: &Table<'_>, say: &(impl Fn(&str) + Sync)) -> Result<Leak> {
    table.fill("id", "n", 100).await?;
    ready(db).await;
    let sql = table.sql("SELECT id FROM {t} ORDER BY id");
    say("requests come; each answers, and keeps its cursor");
    let before = requests(db, &sql, How::Kept).await?;
    say("the same requests, and the cursor ends with its scope");
    let after = requests(db, &sql, How::Dropped).await?;
    Ok(Leak { before, after })
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Kept,
    Dropped,
}

/// The pool's own reports.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Subscriber for Reports {
    fn hold(&self, event: &Hold<'_>) {
        if event.kind == HoldKind::Leak {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.report.report());
        }
    }
}

impl Reports {
    /// Those there are, once there are so many, or after `limit`.
    async fn at_least(&self, count: usize, limit: Duration) -> Vec<String> {
        let clock = Clock::system();
        let until = clock.now() + limit;
        loop {
            let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if all.len() >= count || clock.now() >= until {
                return all;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn requests(db: &Db, sql: &str, how: How) -> Result<Kept> {
    let (watched, reports) = (Watched::begin(db), Reports::default());
    let reporting = db.observer().subscribe_while(reports.clone());
    let mut out = Kept::default();
    // They never end by themselves; dropped, they are ended.
    let mut tasks = JoinSet::new();
    while out.requests < REQUESTS && out.error.is_none() {
        out.requests += 1;
        let (answer, answered) = oneshot::channel();
        let (db, sql) = (db.clone(), sql.to_owned());
        let scope = Scope::new(Kind::Request, "GET /users");
        tasks.spawn(scope.run(async move {
            match how {
                How::Kept => keeps_it(&db, sql, answer).await,
                How::Dropped => drops_it(&db, sql, answer).await,
            }
        }));
        match answered.await.map_err(Error::wrap)? {
            Ok(_) => out.answered += 1,
            Err(error) if error.code() == Code::PoolTimeout => out.error = Some(error.report()),
            Err(error) => return Err(error),
        }
    }
    let held = db.in_use();
    out.in_use = held.iter().map(in_use).collect();
    let limit = if how == How::Kept { TOLD_WITHIN } else { QUIET };
    out.reports = reports.at_least(out.in_use.len().max(1), limit).await;
    drop(reporting);
    out.findings = watched.findings();
    tasks.shutdown().await;
    comes_back(db).await;
    Ok(out)
}

fn in_use(held: &mainstay_pool::InUse) -> InUse {
    let last = held.last.as_ref().map(|last| last.as_str().to_owned());
    InUse { who: held.who(), last, held_us: micros(held.held) }
}

/// What ended tasks had is put right by the pool; that is waited for, for a while.
async fn comes_back(db: &Db) {
    let clock = Clock::system();
    for _ in 0..100 {
        if db.in_use().is_empty() {
            return;
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
}

type Answer = oneshot::Sender<Result<Option<i64>>>;

/// The mistake: `rows` lives for as long as the task does, and the task waits for a client that may never come back.
async fn keeps_it(db: &Db, sql: String, answer: Answer) {
    let mut rows = pin!(db.query(AssertSqlSafe(sql)).stream::<(i64,)>());
    let first = rows.try_next().await.map(|row| row.map(|(id,)| id));
    let _ = answer.send(first);
    std::future::pending::<()>().await;
}

async fn drops_it(db: &Db, sql: String, answer: Answer) {
    let first = {
        let mut rows = pin!(db.query(AssertSqlSafe(sql)).stream::<(i64,)>());
        rows.try_next().await.map(|row| row.map(|(id,)| id))
    };
    let _ = answer.send(first);
    std::future::pending::<()>().await;
}
