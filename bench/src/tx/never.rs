//! What must never happen, counted: hooks without a commit, a lost COMMIT run twice, cells of the
//! isolation matrix that are not as published.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mainstay::db::RetryPolicy;
use mainstay::{Code, Db, Error, Result};
use mainstay_cli::lab::{Verdict, isolation};

use crate::proxy::{Proxy, Weather};
use crate::report::{Better, Case};
use crate::servers::{Engine, connect, fresh};

const TRANSACTIONS: u64 = 5000;
const LOST_COMMITS: u64 = 25;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for engine in Engine::ALL {
        cases.extend(hooks(engine).await);
    }
    for engine in [Engine::Postgres, Engine::MariaDb] {
        cases.extend(lost_commits(engine).await);
        cases.push(matrix(engine).await);
    }
    cases
}

async fn table(db: &Db) {
    db.script("CREATE TABLE counters (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)")
        .await
        .expect("a table");
    db.query("INSERT INTO counters (id, n) VALUES (1, 0)").execute().await.expect("a row");
}

/// Every fourth fails, every seventh is dropped while it is open.
async fn hooks(engine: Engine) -> Vec<Case> {
    let fresh = fresh(engine).await;
    let db = connect(&fresh).await;
    table(&db).await;
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let mut committed = 0;
    for n in 0..TRANSACTIONS {
        let counts = Arc::clone(&counts);
        let work = db.transaction(|tx| {
            let (commit, rollback) = (Arc::clone(&counts), Arc::clone(&counts));
            async move {
                tx.after_commit(move |_| count(&commit, 0)).await?;
                tx.after_rollback(move |_| count(&rollback, 1)).await?;
                tx.query("UPDATE counters SET n = n + 1").execute().await?;
                match n {
                    n if n % 4 == 0 => Err(Error::user("no")),
                    n if n % 7 == 0 => std::future::pending().await,
                    _ => Ok(()),
                }
            }
        });
        if n % 4 != 0 && n % 7 == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(5), work).await;
        } else {
            committed += u64::from(work.await.is_ok());
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let kept: i64 = db.query("SELECT n FROM counters").scalar().await.expect("a row");
    assert_eq!(kept.cast_unsigned(), committed, "what was told as committed is what is there");
    let [after_commit, after_rollback] = [0, 1].map(|i| counts[i].load(Relaxed));
    let wrong = after_commit.abs_diff(committed);
    let other = (after_commit + after_rollback).abs_diff(TRANSACTIONS);
    let of = format!("of {TRANSACTIONS} transactions, {}", engine.name());
    vec![
        Case::new(
            format!("hooks not as often as commits, {of}"),
            "count",
            Better::Lower,
            wrong as f64,
        ),
        Case::new(
            format!("ends without exactly one hook, {of}"),
            "count",
            Better::Lower,
            other as f64,
        ),
    ]
}

fn count(counters: &[AtomicU64; 2], which: usize) -> Ready<Result<()>> {
    counters[which].fetch_add(1, Relaxed);
    ready(Ok(()))
}

/// The connection is cut between COMMIT and its answer.
async fn lost_commits(engine: Engine) -> Vec<Case> {
    let fresh = fresh(engine).await;
    let direct = connect(&fresh).await;
    table(&direct).await;
    let (proxy, url) = Proxy::before(&fresh.url).await.expect("a proxy");
    let db = Db::connect(&url).await.expect("through the proxy");
    let (mut untold, mut proxy_open) = (0u64, 0);
    for n in 0..LOST_COMMITS {
        let network = &proxy;
        let work = db.tx().retry(RetryPolicy::attempts(10)).run(|tx| async move {
            tx.query("UPDATE counters SET n = n + 1").execute().await?;
            network.set(Weather::Unanswered);
            Ok(())
        });
        let cut = async {
            for _ in 0..1000 {
                let done: i64 =
                    direct.query("SELECT n FROM counters").scalar().await.expect("a row");
                if done.cast_unsigned() > n {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.set(Weather::Down);
            for _ in 0..1000 {
                proxy_open = proxy.open();
                if proxy_open == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.set(Weather::Fair);
        };
        let (outcome, ()): (Result<()>, ()) = futures_util::future::join(work, cut).await;
        untold += u64::from(outcome.err().map(|e| e.code()) != Some(Code::TxAmbiguous));
    }
    let n: i64 = direct.query("SELECT n FROM counters").scalar().await.expect("a row");
    let twice = n.cast_unsigned().abs_diff(LOST_COMMITS) as f64;
    let of = format!("of {LOST_COMMITS} lost answers to COMMIT, {}", engine.name());
    vec![
        Case::new(format!("not told as such, {of}"), "count", Better::Lower, untold as f64),
        Case::new(format!("run twice or not at all, {of}"), "count", Better::Lower, twice),
    ]
}

/// Hermitage's table, without the non-repeatable read, which it does not have.
async fn matrix(engine: Engine) -> Case {
    let published: &[&str] = match engine {
        Engine::Postgres => &["vvvvv-----", "vvvvv-----", "vvvvvvvv--", "vvvvvvvvvv"],
        _ => &["v---------", "vvvvv-----", "vvvvvr-r--", "vvvvvvvvvv"],
    };
    let fresh = fresh(engine).await;
    let options = mainstay::pool::Options { max_size: 12, ..Default::default() };
    let db = Db::builder(&fresh.url).pool(options).connect().await.expect("it was just made");
    let found = isolation(&db, |_| {}).await.expect("the lab");
    let signs = found.levels.iter().flat_map(|row| {
        row.cells.iter().filter(|cell| cell.anomaly != "P2").map(|cell| match cell.verdict {
            Verdict::Prevented => 'v',
            Verdict::PreventedForReads => 'r',
            Verdict::Possible => '-',
        })
    });
    let differ = signs.zip(published.concat().chars()).filter(|(a, b)| a != b).count();
    let case = format!("isolation, cells of 40 not as Hermitage has them, {}", engine.name());
    Case::new(case, "count", Better::Lower, differ as f64)
}
