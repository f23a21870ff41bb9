//! PostgreSQL behind a network that fails: silent sockets and an outage; and a statement through the
//! pool beside a bare connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::pool::Options;
use mainstay::{Code, Db};
use sqlx::{Connection, Executor};

use crate::proxy::{Proxy, Weather};
use crate::report::{Better, Case, median, micros};
use crate::servers::{Engine, fresh};

const ROUNDS: usize = 15;
const STATEMENTS: usize = 400;
/// Nobody waits for longer to see whether a place comes back.
const WATCHED: Duration = Duration::from_secs(10);
const RELEASE: Duration = Duration::from_secs(1);
const OUTAGE: Duration = Duration::from_secs(60);
const CALLERS: usize = 1000;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = vec![statement().await, silent().await];
    cases.extend(outage().await);
    cases
}

/// Acquire, ask, release.
async fn statement() -> Case {
    let fresh = fresh(Engine::Postgres).await;
    let db = Db::connect(&fresh.url).await.expect("ours");
    let pool = sqlx::PgPool::connect(&fresh.url).await.expect("the driver's pool");
    let mut bare = sqlx::PgConnection::connect(&fresh.url).await.expect("a bare connection");
    let clock = Clock::system();
    let (mut ours, mut bares, mut pools) = (vec![], vec![], vec![]);
    macro_rules! timed {
        ($into:ident, $work:expr) => {{
            let mut times = Vec::with_capacity(STATEMENTS);
            for _ in 0..STATEMENTS {
                let begun = clock.now();
                $work;
                times.push(micros(clock.now() - begun));
            }
            $into.push(median(times));
        }};
    }
    for _ in 0..ROUNDS {
        timed!(ours, db.query("SELECT 1").execute().await.expect("an answer"));
        timed!(bares, sqlx::query("SELECT 1").execute(&mut bare).await.expect("an answer"));
        timed!(pools, sqlx::query("SELECT 1").execute(&pool).await.expect("an answer"));
    }
    Case::new("acquire, SELECT 1, release, PostgreSQL", "us", Better::Lower, median(ours))
        .peer("sqlx connection", median(bares))
        .peer("sqlx::Pool", median(pools))
}

/// Ten statements are under way when the peer goes silent; their callers give up. How long until all
/// places can be had again, less the bound that the pool has for that.
async fn silent() -> Case {
    let fresh = fresh(Engine::Postgres).await;
    let clock = Clock::system();
    let (proxy, url) = Proxy::before(&fresh.url).await.expect("a proxy");
    let options = Options { recover_timeout: RELEASE, ..Options::default() };
    let db = Db::builder(&url).pool(options).connect().await.expect("ours");
    let work: Vec<_> = (0..10)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let slow = db.query("SELECT pg_sleep(30)").execute();
                let _ = tokio::time::timeout(Duration::from_secs(1), slow).await;
            })
        })
        .collect();
    clock.sleep(Duration::from_millis(800)).await;
    proxy.set(Weather::Silent);
    for task in work {
        task.await.expect("no panic");
    }
    let begun = clock.now();
    while db.status().in_use > 0 && clock.now() - begun < WATCHED {
        clock.sleep(Duration::from_millis(1)).await;
    }
    let ours = (clock.now() - begun).saturating_sub(RELEASE);
    let (proxy, url) = Proxy::before(&fresh.url).await.expect("a proxy");
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(10).connect(&url);
    let pool = pool.await.expect("the driver's pool");
    let work: Vec<_> = (0..10)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let slow = pool.execute("SELECT pg_sleep(30)");
                let _ = tokio::time::timeout(Duration::from_secs(1), slow).await;
            })
        })
        .collect();
    clock.sleep(Duration::from_millis(800)).await;
    proxy.set(Weather::Silent);
    for task in work {
        task.await.expect("no panic");
    }
    let begun = clock.now();
    while pool.size() as usize > pool.num_idle() && clock.now() - begun < WATCHED {
        clock.sleep(Duration::from_millis(1)).await;
    }
    let theirs = (clock.now() - begun).saturating_sub(RELEASE);
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    Case::new("silent sockets: places back, after the bound", "ms", Better::Lower, ms(ours))
        .peer("sqlx::Pool (watched for 10 s)", ms(theirs))
}

/// A thousand callers ask all the time while the server is down, and after.
async fn outage() -> Vec<Case> {
    let fresh = fresh(Engine::Postgres).await;
    let clock = Clock::system();
    let (proxy, url) = Proxy::before(&fresh.url).await.expect("a proxy");
    let db = Db::connect(&url).await.expect("ours");
    let state = Arc::new(State::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (db, state, clock) = (db.clone(), state.clone(), clock.clone());
            tokio::spawn(async move { state.call(&db, &clock).await })
        })
        .collect();
    clock.sleep(Duration::from_secs(2)).await;
    let before = rate(&state, &clock, Duration::from_secs(2)).await;
    proxy.set(Weather::Down);
    // What was open is found broken by whoever has it.
    clock.sleep(Duration::from_secs(1)).await;
    state.phase.store(1, SeqCst);
    let most = watch(&db, &clock, OUTAGE.saturating_sub(Duration::from_secs(1))).await;
    state.phase.store(2, SeqCst);
    proxy.set(Weather::Fair);
    let begun = clock.now();
    let mut recovered = f64::NAN;
    while clock.now() - begun < Duration::from_secs(10) {
        let now = rate(&state, &clock, Duration::from_millis(100)).await;
        if now >= 0.9 * before {
            recovered = (clock.now() - begun).as_secs_f64() * 1e3;
            break;
        }
    }
    state.phase.store(3, SeqCst);
    for caller in callers {
        caller.await.expect("no panic");
    }
    let mut failures = state.failures.lock().expect("no panic").clone();
    failures.sort_by(f64::total_cmp);
    let p99 = failures[failures.len() * 99 / 100];
    let without_cause = state.without_cause.load(SeqCst) as f64;
    vec![
        Case::new(
            "outage of 60 s, 1000 callers: connects at once",
            "count",
            Better::Lower,
            most as f64,
        ),
        Case::new("outage: p99 until a caller is told", "ms", Better::Lower, p99),
        Case::new("outage: failures without the cause", "count", Better::Lower, without_cause),
        Case::new("outage: until 90 % of the throughput is back", "ms", Better::Lower, recovered),
    ]
}

#[derive(Default)]
struct State {
    /// 1 during the outage, 3 at the end.
    phase: AtomicUsize,
    served: AtomicUsize,
    without_cause: AtomicUsize,
    /// How long each failure took, in ms.
    failures: std::sync::Mutex<Vec<f64>>,
}

impl State {
    async fn call(&self, db: &Db, clock: &Clock) {
        loop {
            let phase = self.phase.load(SeqCst);
            if phase == 3 {
                return;
            }
            let begun = clock.now();
            match db.query("SELECT 1").execute().await {
                Ok(_) => {
                    self.served.fetch_add(1, SeqCst);
                }
                Err(error) => {
                    if phase == 1 {
                        let took = (clock.now() - begun).as_secs_f64() * 1e3;
                        self.failures.lock().expect("no panic").push(took);
                        let told =
                            error.code() == Code::PoolDown && error.report().contains("by: ");
                        self.without_cause.fetch_add(usize::from(!told), SeqCst);
                    }
                    // A caller that has just failed takes a breath.
                    clock.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Served a second.
async fn rate(state: &State, clock: &Clock, over: Duration) -> f64 {
    let (before, begun) = (state.served.load(SeqCst), clock.now());
    clock.sleep(over).await;
    (state.served.load(SeqCst) - before) as f64 / (clock.now() - begun).as_secs_f64()
}

/// The most connects at the same time.
async fn watch(db: &Db, clock: &Clock, during: Duration) -> usize {
    let (begun, mut most) = (clock.now(), 0);
    while clock.now() - begun < during {
        most = most.max(db.status().connecting);
        clock.sleep(Duration::from_micros(500)).await;
    }
    most
}
