//! Two-phase commit under kill -9: at each exchange with a server, before and after the server hears it, and at any moment in
//! between. What is half done and what is left is counted, once recovery has run.

use std::process::Stdio;
use std::time::Duration;

use mainstay::Db;
use mainstay::route::TwoPhase;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::victim::{add, both, transfer};
use super::wire::Wire;
use super::{chosen, now, quantile, shown, since};
use crate::report::{Better, Case, micros};
use crate::servers::{Engine, Fresh, address, fresh};

/// On all engines together.
const KILLS: u64 = 1_000;
/// At a time, each with databases of its own.
const LANES: u64 = 4;
/// No more of them are begun after so long on one engine.
const LIMIT: Duration = Duration::from_secs(240);
/// A part that nobody decided on is abandoned.
const ABANDONED_AFTER: Duration = Duration::from_millis(50);
/// What is left after so long is left over.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
const TOTAL: i64 = 1_000_000_000;
const TRANSFERS: usize = 400;

pub(super) async fn run() -> Vec<Case> {
    let each = chosen("MAINSTAY_BENCH_KILLS", KILLS) / 2;
    let mut cases = Vec::new();
    for engine in [Engine::Postgres, Engine::MariaDb] {
        cases.extend(kills(engine, each).await);
        cases.extend(latency(engine).await);
    }
    cases
}

/// Two databases with an account each.
struct Two {
    _fresh: [Fresh; 2],
    urls: [String; 2],
    dbs: [Db; 2],
}

impl Two {
    async fn new(engine: Engine) -> Self {
        let fresh = [fresh(engine).await, fresh(engine).await];
        let urls = fresh.each_ref().map(|fresh| fresh.url.clone());
        let mut dbs = Vec::new();
        for url in &urls {
            let db = Db::connect(url).await.expect("it was just made");
            let table = "CREATE TABLE accounts (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL)";
            db.script(table).await.expect("a new table");
            let insert = db.query("INSERT INTO accounts VALUES (1, $1)").bind(TOTAL);
            insert.execute().await.expect("a new row");
            dbs.push(db);
        }
        let dbs = dbs.try_into().expect("there are two");
        Self { _fresh: fresh, urls, dbs }
    }

    fn urls(&self) -> [&str; 2] {
        self.urls.each_ref().map(String::as_str)
    }

    async fn both(&self) -> TwoPhase {
        both(self.urls()).await.abandoned_after(ABANDONED_AFTER)
    }

    async fn total(&self) -> i64 {
        let mut total = 0;
        for db in &self.dbs {
            let sql = "SELECT cents FROM accounts WHERE id = 1";
            total += db.query(sql).scalar::<i64>().await.expect("it is there");
        }
        total
    }

    /// Whether a transaction still has one of the accounts.
    async fn is_kept(&self) -> bool {
        for db in &self.dbs {
            let lock = db.transaction(|tx| async move {
                let sql = "SELECT cents FROM accounts WHERE id = 1 FOR UPDATE NOWAIT";
                tx.query(sql).scalar::<i64>().await
            });
            if lock.await.is_err() {
                return true;
            }
        }
        false
    }

    /// Parts that are prepared, of the transactions of `both`.
    async fn prepared(&self, both: &TwoPhase) -> usize {
        let mut all = std::collections::BTreeSet::new();
        for db in &self.dbs {
            let prepared = db.prepared().await.expect("they are listed");
            all.extend(prepared.into_iter().map(|(id, _)| id));
        }
        // MariaDB lists the whole server's.
        all.iter().filter(|id| id.whole >> 64 == u128::from(both.number())).count()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    kills: u64,
    /// Kills that left something prepared, and those that left a decision to commit.
    left_prepared: u64,
    left_decided: u64,
    half: u64,
    left_over: u64,
}

impl Counts {
    fn and(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            left_prepared: self.left_prepared + other.left_prepared,
            left_decided: self.left_decided + other.left_decided,
            half: self.half + other.half,
            left_over: self.left_over + other.left_over,
        }
    }
}

async fn kills(engine: Engine, count: u64) -> Vec<Case> {
    let lane = |lane: u64| {
        let own = count / LANES + u64::from(lane < count % LANES);
        tokio::spawn(one_lane(engine, lane, own))
    };
    let lanes: Vec<_> = (0..LANES).map(lane).collect();
    let mut counts = Counts::default();
    for lane in lanes {
        counts = counts.and(lane.await.expect("no panic"));
    }
    eprintln!("{}: {counts:?}", engine.name());
    let of = format!("of {} kills within two-phase commit, {}", shown(counts.kills), engine.name());
    let case =
        |what: &str, n: u64| Case::new(format!("{what}, {of}"), "count", Better::Lower, n as f64);
    vec![
        case("half commits", counts.half),
        case("kills after which something stays prepared, once recovered", counts.left_over),
    ]
}

async fn one_lane(engine: Engine, lane: u64, count: u64) -> Counts {
    let two = Two::new(engine).await;
    let both = two.both().await;
    let key = if engine == Engine::MariaDb { "mariadb" } else { "postgres" };
    let port = address(key).rsplit(':').next().and_then(|port| port.parse().ok());
    let wire = Wire::to(port.expect("the rig's address ends with its port"), Duration::ZERO).await;
    let urls = two.urls().map(|url| wire.through(url));
    let exchanges = exchanges(&wire, &urls).await;
    let mut counts = Counts::default();
    let begun = now();
    for kill in 0..count {
        if since(begun) > LIMIT {
            break;
        }
        let mut victim = Victim::new(&urls).await;
        // Each lane begins elsewhere; of three kills one is at any moment, whatever is on its way.
        let at = lane + LANES * (kill / 3);
        match kill % 3 {
            0 => victim.killed_at(&wire, at % exchanges, false).await,
            1 => victim.killed_at(&wire, at % exchanges, true).await,
            _ => victim.killed_within(engine).await,
        }
        after_one(&two, &both, &mut counts).await;
    }
    counts
}

/// Exchanges of one transfer.
async fn exchanges(wire: &Wire, urls: &[String; 2]) -> u64 {
    let both = both(urls.each_ref().map(String::as_str)).await;
    let mut before = 0;
    for last in [false, false, true] {
        before = if last { wire.turns() } else { before };
        transfer(&both, 1).await.expect("it is the only one");
    }
    // What is settled after the answer is part of it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    (wire.turns() - before).max(1)
}

struct Victim(Child);

impl Victim {
    async fn new(urls: &[String; 2]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("route-victim")
            .args(urls)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a victim");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        while said.next_line().await.expect("it lives").expect("it says that it is ready")
            != "ready"
        {}
        Self(child)
    }

    async fn go(&mut self) {
        let input = self.0.stdin.as_mut().expect("it is piped");
        input.write_all(b"go\n").await.expect("it lives");
    }

    /// At that exchange; `heard`, when the server is told and before the answer is read.
    async fn killed_at(&mut self, wire: &Wire, exchange: u64, heard: bool) {
        let reached = wire.stop_after(exchange, heard);
        self.go().await;
        let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
        reached.expect("it gets as far as that").expect("it is told");
        self.0.kill().await.expect("it is killed");
    }

    async fn killed_within(&mut self, engine: Engine) {
        // MariaDB's connections are of no further use once something was prepared on them: it takes longer.
        let us = if engine == Engine::MariaDb { 250_000 } else { 40_000 };
        self.go().await;
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..us))).await;
        self.0.kill().await.expect("it is killed");
    }
}

async fn after_one(two: &Two, both: &TwoPhase, counts: &mut Counts) {
    counts.kills += 1;
    counts.left_prepared += u64::from(two.prepared(both).await > 0);
    let decided = "SELECT COUNT(*) FROM mainstay_two_phase WHERE decision = 'commit'";
    let decided: i64 = two.dbs[0].query(decided).scalar().await.expect("a count");
    counts.left_decided += u64::from(decided > 0);
    let end = now() + RECOVERY_MAX;
    let recovered = loop {
        // What the server still does for the dead is over in a moment.
        let recovered = both.recover().await.is_ok();
        if recovered && !two.is_kept().await && two.prepared(both).await == 0 {
            break true;
        }
        if now() > end {
            break false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    counts.left_over += u64::from(!recovered);
    counts.half += u64::from(two.total().await != 2 * TOTAL);
}

/// Of one transfer, beside two transactions that nothing holds together.
async fn latency(engine: Engine) -> Vec<Case> {
    let two = Two::new(engine).await;
    let both = two.both().await;
    let (mut ours, mut apart) = (Vec::new(), Vec::new());
    for _ in 0..TRANSFERS {
        let begun = now();
        transfer(&both, 1).await.expect("it is the only one");
        ours.push(micros(since(begun)));
        let begun = now();
        for (db, cents) in two.dbs.iter().zip([-1, 1]) {
            let done = db.transaction(|tx| async move { add(&tx, cents).await });
            done.await.expect("it is the only one");
        }
        apart.push(micros(since(begun)));
    }
    [(0.5, "p50"), (0.99, "p99")]
        .map(|(share, which)| {
            let name = format!("a transaction over two databases, {which}, {}", engine.name());
            Case::new(name, "us", Better::Lower, quantile(&mut ours, share))
                .peer("two transactions, one after the other", quantile(&mut apart, share))
        })
        .into()
}
