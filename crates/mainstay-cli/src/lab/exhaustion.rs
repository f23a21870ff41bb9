//! `mainstay lab pool-exhaustion`: orders that wait for a payment with a transaction open, until nobody gets a
//! connection any more; then the same with the payment before the transaction.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::observe::{Checkout, Subscriber};
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db, network_call};
use mainstay_doctor::Finding;
use mainstay_pool::Options;
use serde::Serialize;
use tokio::task::JoinSet;

use super::table::Table;
use super::watch::{Watched, micros};

/// Orders, and how far apart they come.
const ORDERS: u32 = 150;
const EVERY: Duration = Duration::from_millis(20);
/// How long the payment service takes.
const PAYMENT: Duration = Duration::from_millis(200);
/// The doctor judges the pool by so long: all of it is over before its usual ten seconds are.
const WINDOW: Duration = Duration::from_secs(1);
/// How long the doctor is given to judge the pool.
const JUDGED_WITHIN: Duration = Duration::from_secs(3);

/// A pool that is soon exhausted, and tells of it soon: 4 connections, all kept ready, 500 ms until a caller is refused, and leaks
/// told after 500 ms. For [`pool_exhaustion`] and [`leak`](super::leak()).
pub fn small_pool() -> Options {
    Options {
        max_size: 4,
        min_idle: 4,
        acquire_timeout: Duration::from_millis(500),
        leak_after: Some(Duration::from_millis(500)),
        ..Options::default()
    }
}

/// How a pool stood it, both ways.
#[derive(Clone, Debug, Serialize)]
pub struct Exhaustion {
    /// Connections of the pool; on SQLite those that write, of which there is one.
    pub connections: u32,
    /// How long the call took that was waited for.
    pub call_us: u64,
    /// The call is made inside the transaction.
    pub before: Orders,
    /// It is made before.
    pub after: Orders,
}

/// How requests fared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Orders {
    /// Requests.
    pub requests: u32,
    /// Those that were served.
    pub served: u32,
    /// Those that got no connection in time: POOL-002.
    pub timeouts: u32,
    /// Half of them waited for a connection for no longer than this.
    pub wait_p50_us: u64,
    /// All but one of a hundred waited for no longer than this.
    pub wait_p99_us: u64,
    /// From the first request to the last answer.
    pub time_us: u64,
    /// What the first who was refused was told.
    pub error: Option<String>,
    /// What the doctor said of it.
    pub findings: Vec<Finding>,
}

/// Runs it on `db`, whose pool should be a [`small_pool`]. `say` is told what is about to happen.
///
/// Errors: those of a statement, save POOL-002, which it counts; what it made is dropped again.
pub async fn pool_exhaustion(db: &Db, say: impl Fn(&str) + Sync) -> Result<Exhaustion> {
    let columns = "id BIGINT PRIMARY KEY, paid BIGINT NOT NULL, shipped BIGINT NOT NULL";
    let table = Table::make(db, "orders", columns).await?;
    let report = compare(db, &table, &say).await;
    let dropped = table.drop().await;
    let report = report?;
    dropped.map(|()| report)
}

async fn compare(db: &Db, table: &Table<'_>, say: &(impl Fn(&str) + Sync)) -> Result<Exhaustion> {
    table.fill("id, paid, shipped", "n, 0, 0", ORDERS).await?;
    ready(db).await;
    let texts = Texts {
        pays: table.sql("UPDATE {t} SET paid = 1 WHERE id = $1"),
        ships: table.sql("UPDATE {t} SET shipped = 1 WHERE id = $1"),
    };
    say("orders come, and each calls the payment service inside its transaction");
    let before = orders(db, &texts, How::Inside).await?;
    say("the same orders, and the call is made before the transaction");
    let after = orders(db, &texts, How::Before).await?;
    let connections = match db.engine() {
        mainstay_db::Engine::Sqlite => 1,
        _ => u32::try_from(db.status().max_size).unwrap_or(u32::MAX),
    };
    Ok(Exhaustion { connections, call_us: micros(PAYMENT), before, after })
}

/// Waits until the pool's connections are there, so that nobody is refused for those that are still being opened; for a
/// while, since a pool of another kind keeps none ready.
pub(super) async fn ready(db: &Db) {
    let clock = Clock::system();
    for _ in 0..150 {
        let status = db.status();
        if status.idle >= status.max_size {
            return;
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
}

#[derive(Clone)]
struct Texts {
    pays: String,
    ships: String,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Inside,
    Before,
}

/// How long each waited for a connection.
#[derive(Clone, Default)]
struct Waits(Arc<Mutex<Vec<Duration>>>);

impl Subscriber for Waits {
    fn checkout(&self, event: &Checkout<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.wait);
    }
}

impl Waits {
    fn percentile(&self, percent: usize) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_unstable();
        let at = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(at).copied().map_or(0, micros)
    }
}

async fn orders(db: &Db, texts: &Texts, how: How) -> Result<Orders> {
    let clock = Clock::system();
    let (watched, waits) = (Watched::within(db, WINDOW), Waits::default());
    let waiting = db.observer().subscribe_while(waits.clone());
    // Tasks of their own, as a server's; dropped, they are ended.
    let mut tasks = JoinSet::new();
    let began = clock.now();
    for id in 0..ORDERS {
        // By the time and not after one another: a slow machine is asked as often.
        clock.sleep_until(began + EVERY * id).await;
        let id = i64::from(id);
        let (db, texts, time) = (db.clone(), texts.clone(), clock.clone());
        let scope = Scope::new(Kind::Request, "POST /orders");
        tasks.spawn(scope.run(async move {
            match how {
                How::Inside => pays_inside(&db, &texts, id, &time).await,
                How::Before => pays_before(&db, &texts, id, &time).await,
            }
        }));
    }
    let mut out = Orders { requests: ORDERS, ..Orders::default() };
    while let Some(done) = tasks.join_next().await {
        match done.map_err(Error::wrap)? {
            Ok(()) => out.served += 1,
            Err(error) if error.code() == Code::PoolTimeout => {
                out.timeouts += 1;
                out.error.get_or_insert_with(|| error.report());
            }
            Err(error) => return Err(error),
        }
    }
    out.time_us = watched.micros();
    drop(waiting);
    (out.wait_p50_us, out.wait_p99_us) = (waits.percentile(50), waits.percentile(99));
    out.findings = match how {
        How::Inside => watched.findings_with(Code::DoctorPoolSmall, JUDGED_WITHIN).await,
        How::Before => watched.findings(),
    };
    Ok(out)
}

/// The mistake: the connection, and the row's lock, are kept for as long as somebody else takes.
async fn pays_inside(db: &Db, texts: &Texts, id: i64, clock: &Clock) -> Result<()> {
    db.transaction(|tx| {
        let (texts, clock) = (texts.clone(), clock.clone());
        async move {
            tx.query(AssertSqlSafe(texts.pays)).bind(id).execute().await?;
            network_call("POST payments");
            clock.sleep(PAYMENT).await;
            tx.query(AssertSqlSafe(texts.ships)).bind(id).execute().await.map(drop)
        }
    })
    .await
}

async fn pays_before(db: &Db, texts: &Texts, id: i64, clock: &Clock) -> Result<()> {
    network_call("POST payments");
    clock.sleep(PAYMENT).await;
    db.transaction(|tx| {
        let texts = texts.clone();
        async move {
            tx.query(AssertSqlSafe(texts.pays)).bind(id).execute().await?;
            tx.query(AssertSqlSafe(texts.ships)).bind(id).execute().await.map(drop)
        }
    })
    .await
}
