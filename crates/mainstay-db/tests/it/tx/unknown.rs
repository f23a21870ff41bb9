//! A COMMIT whose answer is lost is told as such, and not run twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::observe::{Subscriber, Transaction};
use mainstay_db::{Code, Db, Result, RetryPolicy};
use mainstay_testkit::{Engine, Fresh, Proxy, Weather};

use crate::support::accounts;

#[derive(Clone, Default)]
struct Attempts(Arc<AtomicU32>);

impl Subscriber for Attempts {
    fn transaction(&self, _event: &Transaction<'_>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn called(count: &AtomicU32) -> futures_util::future::Ready<Result<()>> {
    count.fetch_add(1, SeqCst);
    futures_util::future::ready(Ok(()))
}

async fn lost_answer(engine: Engine) {
    let fresh = Fresh::new(engine).await;
    let direct = Db::connect(fresh.url()).await.unwrap();
    accounts(&direct, 1).await;
    let (proxy, url) = Proxy::before(fresh.url()).await.unwrap();
    let db = Db::connect(&url).await.unwrap();
    let attempts = Attempts::default();
    db.observer().subscribe(attempts.clone());
    let (proxy, calls) = (Arc::new(proxy), Arc::new(AtomicU32::new(0)));
    let (network, hooks) = (Arc::clone(&proxy), Arc::clone(&calls));
    let work = db.tx().retry(RetryPolicy::attempts(50)).run(|tx| {
        let (network, hooks) = (Arc::clone(&network), Arc::clone(&hooks));
        async move {
            let again = Arc::clone(&hooks);
            tx.after_commit(move |_| called(&again)).await?;
            tx.after_rollback(move |_| called(&hooks)).await?;
            tx.query("UPDATE accounts SET balance = balance + 1").execute().await?;
            network.set(Weather::Unanswered);
            Ok(())
        }
    });
    let cut = async {
        // Only once it is really committed.
        for _ in 0..2000 {
            let balance: i64 = direct.query("SELECT balance FROM accounts").scalar().await.unwrap();
            if balance == 1001 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Down at once, and fair only when the answer that was kept back is gone.
        proxy.set(Weather::Down);
        while proxy.open() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        proxy.set(Weather::Fair);
    };
    let (outcome, ()): (Result<()>, ()) = futures_util::future::join(work, cut).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), Code::TxAmbiguous, "{error:?}");
    assert_eq!(error.retryability(), mainstay_db::Retry::Unknown);
    assert_eq!(attempts.0.load(SeqCst), 1, "it is not run again");
    assert_eq!(calls.load(SeqCst), 0, "nobody knows which hooks would be right");
    let balance: i64 = direct.query("SELECT balance FROM accounts").scalar().await.unwrap();
    assert_eq!(balance, 1001);
    // And the handle goes on.
    db.query("SELECT 1").execute().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_a_lost_answer_to_commit_is_unknown() {
    lost_answer(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_a_lost_answer_to_commit_is_unknown() {
    lost_answer(Engine::MariaDb).await;
}

/// Dropped while COMMIT is on its way, nothing is called as if it had been rolled back.
async fn dropped_commit(engine: Engine) {
    let fresh = Fresh::new(engine).await;
    let direct = Db::connect(fresh.url()).await.unwrap();
    accounts(&direct, 1).await;
    let (proxy, url) = Proxy::before(fresh.url()).await.unwrap();
    let db = Db::connect(&url).await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let work = db.transaction(|tx| {
        let calls = Arc::clone(&calls);
        let network = &proxy;
        async move {
            tx.after_rollback(move |_| called(&calls)).await?;
            tx.query("UPDATE accounts SET balance = balance + 1").execute().await?;
            network.set(Weather::Unanswered);
            Ok(())
        }
    });
    assert!(tokio::time::timeout(Duration::from_millis(1500), work).await.is_err());
    proxy.set(Weather::Down);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let balance: i64 = direct.query("SELECT balance FROM accounts").scalar().await.unwrap();
    assert_eq!(balance, 1001);
    assert_eq!(calls.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_a_commit_that_is_dropped_calls_no_hook() {
    dropped_commit(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_a_commit_that_is_dropped_calls_no_hook() {
    dropped_commit(Engine::MariaDb).await;
}

/// A check whose answer was not awaited leaves an answer on the way: nobody takes it for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_a_lock_whose_check_was_dropped_counts_as_lost() {
    let fresh = Fresh::new(Engine::MariaDb).await;
    let (proxy, url) = Proxy::before(fresh.url()).await.unwrap();
    let db = Db::connect(&url).await.unwrap();
    let mut lock = db.advisory_lock("leader").acquire().await.unwrap();
    proxy.set(Weather::Delayed(Duration::from_millis(100)));
    assert!(tokio::time::timeout(Duration::from_millis(20), lock.check()).await.is_err());
    proxy.set(Weather::Fair);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lock.check().await.unwrap_err().code(), Code::LockLost);
    assert_eq!(lock.release().await.unwrap_err().code(), Code::LockLost);
    for n in 0..10 {
        let answer: i64 = db.query("SELECT $1").bind(n).scalar().await.unwrap();
        assert_eq!(answer, n);
    }
    let again = db.advisory_lock("leader").acquire().await.unwrap();
    again.release().await.unwrap();
}
