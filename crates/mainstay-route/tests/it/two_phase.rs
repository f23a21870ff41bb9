//! Transactions over two databases: all or nothing, also where the coordinator is killed with -9 at any moment.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::observe::{Change, Connection, Observer, Subscriber};
use mainstay_core::{Code, Error};
use mainstay_db::{Db, PreparedId};
use mainstay_route::TwoPhase;
use mainstay_testkit::{Engine, Fresh};

const TOTAL: i64 = 1_000_000;
const KILLS: u64 = 25;
const URLS: &str = "MAINSTAY_TWO_PHASE_URLS";

struct Two {
    fresh: [Fresh; 2],
    dbs: [Db; 2],
}

impl Two {
    async fn new(engine: Engine) -> Self {
        let fresh = [Fresh::new(engine).await, Fresh::new(engine).await];
        let mut dbs = Vec::new();
        for database in &fresh {
            let db = Db::connect(database.url()).await.unwrap();
            db.script("CREATE TABLE accounts (id BIGINT PRIMARY KEY, cents BIGINT NOT NULL)")
                .await
                .unwrap();
            db.query("INSERT INTO accounts VALUES (1, $1)").bind(TOTAL).execute().await.unwrap();
            dbs.push(db);
        }
        let dbs = dbs.try_into().unwrap();
        Self { fresh, dbs }
    }

    async fn both(&self) -> TwoPhase {
        let [a, b] = self.dbs.clone();
        let both = TwoPhase::new(a.clone(), vec![("a", a), ("b", b)]).await.unwrap();
        both.abandoned_after(Duration::from_millis(50))
    }

    async fn cents(&self) -> [i64; 2] {
        let mut out = [0; 2];
        for (db, cents) in self.dbs.iter().zip(&mut out) {
            *cents = db.query("SELECT cents FROM accounts WHERE id = 1").scalar().await.unwrap();
        }
        out
    }

    async fn end(self) {
        for db in self.dbs {
            db.close(Duration::from_secs(5)).await.unwrap();
        }
        for fresh in self.fresh {
            fresh.remove().await;
        }
    }
}

async fn transfer(both: &TwoPhase, cents: i64) -> mainstay_core::Result<()> {
    both.transaction(&["a", "b"], |parts| async move {
        for (part, cents) in parts.iter().zip([-cents, cents]) {
            part.query("UPDATE accounts SET cents = cents + $1 WHERE id = 1")
                .bind(cents)
                .execute()
                .await?;
        }
        Ok(())
    })
    .await
}

async fn all_or_nothing(engine: Engine) {
    let two = Two::new(engine).await;
    let both = two.both().await;
    transfer(&both, 5).await.unwrap();
    assert_eq!(two.cents().await, [TOTAL - 5, TOTAL + 5]);
    let failed = both.transaction(&["a", "b"], |parts| async move {
        parts[0].query("UPDATE accounts SET cents = 0 WHERE id = 1").execute().await?;
        Err::<(), _>(Error::user("no"))
    });
    assert_eq!(failed.await.unwrap_err().code(), Code::User);
    // A part that can't be prepared takes the other with it.
    let failed = both.transaction(&["a", "b"], |parts| async move {
        parts[0].query("UPDATE accounts SET cents = 0 WHERE id = 1").execute().await?;
        let twice = parts[1].query("INSERT INTO accounts VALUES (1, 1)").execute().await;
        assert!(twice.is_err());
        Err::<(), _>(twice.unwrap_err())
    });
    assert_eq!(failed.await.unwrap_err().code(), Code::Unique);
    let nobody = both.transaction(&["c"], |_| async { Ok(()) }).await.unwrap_err();
    assert!(nobody.what().contains("no database is called `c`"), "{nobody}");
    assert_eq!(two.cents().await, [TOTAL - 5, TOTAL + 5]);
    for db in &two.dbs {
        let ours = |whole: u128| whole >> 64 == u128::from(both.number());
        assert!(!db.prepared().await.unwrap().iter().any(|(id, _)| ours(id.whole)));
    }
    two.end().await;
}

/// Counts connections that a pool opens.
struct Opened(Arc<AtomicUsize>);

impl Subscriber for Opened {
    fn connection(&self, event: &Connection<'_>) {
        self.0.fetch_add(usize::from(matches!(event.change, Change::Opened { .. })), SeqCst);
    }
}

/// But for MariaDB's parts, which stay with the connection that prepared them, none is opened anew.
async fn settling_costs_no_connection(engine: Engine) {
    const TRANSFERS: usize = 12;
    let two = Two::new(engine).await;
    let opened = Arc::<AtomicUsize>::default();
    let mut dbs = Vec::new();
    for fresh in &two.fresh {
        let observer = Observer::new();
        observer.subscribe(Opened(Arc::clone(&opened)));
        dbs.push(Db::builder(fresh.url()).observer(observer).connect().await.unwrap());
    }
    let parts = vec![("a", dbs[0].clone()), ("b", dbs[1].clone())];
    let both = TwoPhase::new(dbs[0].clone(), parts).await.unwrap();
    transfer(&both, 1).await.unwrap();
    let before = opened.load(SeqCst);
    for _ in 0..TRANSFERS {
        transfer(&both, 1).await.unwrap();
    }
    let more = opened.load(SeqCst) - before;
    let parts = if engine == Engine::MariaDb { 2 * TRANSFERS } else { 0 };
    // The pool may have needed one more for what was still on its way back.
    assert!(more <= parts + 4, "{more} connections for {TRANSFERS} transfers");
    two.end().await;
}

/// What nobody decided on is decided against, once; a coordinator that comes later hears so.
async fn an_abandoned_part_is_rolled_back(engine: Engine) {
    let two = Two::new(engine).await;
    let both = two.both().await;
    let own = u128::from(fastrand::u64(..));
    let id = PreparedId { whole: u128::from(both.number()) << 64 | own, part: 0 };
    let part = two.dbs[0].participate(id).await.unwrap();
    part.handle().query("UPDATE accounts SET cents = 0 WHERE id = 1").execute().await.unwrap();
    let prepared = part.prepare().await.unwrap();
    assert!(two.dbs[0].prepared().await.unwrap().iter().any(|(known, _)| *known == id));
    tokio::time::sleep(Duration::from_millis(80)).await;
    let recovered = both.recover().await.unwrap();
    assert!(recovered.rolled_back >= 1, "{recovered:?}");
    assert_eq!(two.cents().await, [TOTAL, TOTAL]);
    // Settled already: nothing is left to do.
    prepared.settle(true).await.unwrap();
    assert_eq!(two.cents().await, [TOTAL, TOTAL]);
    two.end().await;
}

/// The process that is killed: it transfers for as long as it lives.
#[ignore = "is run by another test, and killed"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(urls) = mainstay_core::config::variable(URLS) else { return };
    let mut dbs = Vec::new();
    for url in urls.split(' ') {
        dbs.push(Db::connect(url).await.unwrap());
    }
    let both = TwoPhase::new(dbs[0].clone(), vec![("a", dbs[0].clone()), ("b", dbs[1].clone())]);
    let both = both.await.unwrap();
    println!("\nready");
    for cents in 1.. {
        // A part of the one that was killed before may still have the row.
        let _ = transfer(&both, cents % 9 + 1).await;
    }
}

async fn killed_at_any_moment_nothing_is_half_done(engine: Engine) {
    let two = Two::new(engine).await;
    let both = two.both().await;
    let mut random = fastrand::Rng::with_seed(7);
    // MariaDB's connections are of no further use once something was prepared on them: it takes longer.
    let within_us = if engine == Engine::MariaDb { 250_000 } else { 40_000 };
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "two_phase::victim", "--ignored", "--nocapture"])
            .env(URLS, two.fresh.each_ref().map(|f| f.url().to_owned()).join(" "))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        assert!(
            out.lines().map_while(Result::ok).any(|line| line == "ready"),
            "the victim did not start"
        );
        tokio::time::sleep(Duration::from_micros(random.u64(0..within_us))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // What the server still does for the dead is over in a moment.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut left = usize::MAX;
        for _ in 0..50 {
            both.recover().await.unwrap();
            left = ours(&two).await;
            if left == 0 {
                break;
            }
        }
        assert_eq!(left, 0, "kill {kill}: parts are left");
        let [a, b] = two.cents().await;
        assert_eq!(a + b, 2 * TOTAL, "kill {kill}: half a transfer");
    }
    assert_ne!(two.cents().await, [TOTAL, TOTAL], "nothing was ever transferred");
    two.end().await;
}

/// Parts that keep a row of these tables: whether the row can be locked tells it for MariaDB too, whose list is the server's.
async fn ours(two: &Two) -> usize {
    let mut kept = 0;
    for db in &two.dbs {
        let lock = db.transaction(|tx| async move {
            tx.query("SELECT cents FROM accounts WHERE id = 1 FOR UPDATE NOWAIT")
                .scalar::<i64>()
                .await
        });
        kept += usize::from(lock.await.is_err());
    }
    kept
}

crate::on_servers!(
    several_open_the_log_at_once,
    all_or_nothing,
    settling_costs_no_connection,
    an_abandoned_part_is_rolled_back,
    killed_at_any_moment_nothing_is_half_done
);

#[tokio::test]
async fn sqlite_is_refused() {
    let db = Db::connect("sqlite::memory:").await.unwrap();
    let refused = TwoPhase::new(db.clone(), vec![("a", db)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unsupported);
}

/// As services do that are started together.
async fn several_open_the_log_at_once(engine: Engine) {
    let two = Two::new(engine).await;
    let mut own = Vec::new();
    for _ in 0..8 {
        let db = Db::connect(two.fresh[0].url()).await.unwrap();
        db.query("SELECT 1").scalar::<i32>().await.unwrap();
        own.push(db);
    }
    let open = |db: &Db| tokio::spawn(TwoPhase::new(db.clone(), vec![("a", db.clone())]));
    let opened: Vec<_> = own.iter().map(open).collect();
    for one in opened {
        one.await.unwrap().unwrap();
    }
    for db in own {
        db.close(Duration::from_secs(5)).await.unwrap();
    }
    two.end().await;
}
