//! What the handle adds to its pool: statements in reports, deadlines that reach the server, sessions
//! that nobody else finds changed, and an operator's commands.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::observe::{Finding, Hold, HoldKind, Subscriber};
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{Code, Db, Engine, Error, Result};

use crate::support::{accounts, all_back, on_every_engine};

on_every_engine!(url:
    a_leak_is_told_with_its_statement_and_its_transaction,
    a_query_on_the_outer_handle_inside_a_transaction_is_told,
    an_exhausted_pool_says_what_its_holders_do,
    a_scopes_deadline_ends_the_statement_here_and_at_the_server,
    a_deadline_in_a_transaction_rolls_it_back,
    a_statement_timeout_ends_the_statement,
    a_transaction_that_was_left_open_is_rolled_back_before_the_next,
    an_operators_commands_reach_the_pool,
    advice_knows_the_server,
    an_exhausted_pool_is_told_as_such_under_a_statement_timeout,
    a_slow_stream_is_no_leak,
);

#[derive(Clone, Default)]
struct Told {
    holds: Arc<Mutex<Vec<(HoldKind, String)>>>,
    found: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for Told {
    fn hold(&self, event: &Hold<'_>) {
        self.holds.lock().unwrap().push((event.kind, event.report.report()));
    }

    fn finding(&self, event: &Finding<'_>) {
        self.found.lock().unwrap().push(event.report.report());
    }
}

impl Told {
    async fn first(&self, kind: HoldKind) -> String {
        for _ in 0..1000 {
            if let Some((_, report)) = self.holds.lock().unwrap().iter().find(|(k, _)| *k == kind) {
                return report.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{kind:?} was never told");
    }
}

/// Another handle on the same database, with bounds of its own.
async fn with(url: &str, change: impl FnOnce(&mut mainstay_pool::Options)) -> Db {
    let mut options = mainstay_pool::Options::default();
    change(&mut options);
    Db::builder(url).pool(options).connect().await.unwrap()
}

fn sleep(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "SELECT 1 FROM pg_sleep(30)",
        Engine::MySql => "SELECT SLEEP(30)",
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
        }
    }
}

async fn a_leak_is_told_with_its_statement_and_its_transaction(_: Db, url: String) {
    let db = with(&url, |o| o.leak_after = Some(Duration::from_millis(150))).await;
    let told = Told::default();
    db.observer().subscribe(told.clone());
    accounts(&db, 3).await;
    let scope = Scope::new(Kind::Request, "POST /transfers");
    let work = db.transaction(|tx| {
        let told = told.clone();
        async move {
            tx.query("UPDATE accounts SET balance = $1 WHERE id = 1").bind(5).execute().await?;
            let report = told.first(HoldKind::Leak).await;
            assert!(report.starts_with("error[POOL-007]"), "{report}");
            assert!(
                report.contains(
                    "is held by POST /transfers (crates/mainstay-db/tests/it/pooling.rs:"
                ),
                "{report}"
            );
            assert!(report.contains("idle in a transaction that is open for "), "{report}");
            assert!(
                report.contains("last: UPDATE accounts SET balance = $1 WHERE id = 1"),
                "{report}"
            );
            Ok(())
        }
    });
    scope.run(work).await.unwrap();
    let back = told.first(HoldKind::LeakReturned).await;
    assert!(back.contains("POST /transfers"), "{back}");
}

async fn a_query_on_the_outer_handle_inside_a_transaction_is_told(db: Db, _: String) {
    accounts(&db, 1).await;
    let told = Told::default();
    db.observer().subscribe(told.clone());
    let outer = db.clone();
    db.transaction(|tx| {
        let outer = outer.clone();
        async move {
            let n: i64 = tx.query("SELECT COUNT(*) FROM accounts").scalar().await?;
            if outer.engine() != Engine::Sqlite {
                outer.query("SELECT COUNT(*) FROM accounts").scalar::<i64>().await?;
            }
            Ok(n)
        }
    })
    .await
    .unwrap();
    // SQLite's readers are a pool of their own, which the writer's holder does not wait for.
    if db.engine() != Engine::Sqlite {
        let report = told.found.lock().unwrap().first().cloned().unwrap();
        assert!(report.starts_with("error[TX-010]"), "{report}");
        assert_eq!(report.matches("pooling.rs:").count(), 2, "both places: {report}");
    }
}

async fn an_exhausted_pool_says_what_its_holders_do(_: Db, url: String) {
    let db = with(&url, |o| {
        o.max_size = 1;
        o.acquire_timeout = Duration::from_millis(300);
    })
    .await;
    accounts(&db, 1).await;
    let scope = Scope::new(Kind::Request, "POST /orders");
    let (outer, waits) = (db.clone(), tokio::sync::Notify::new());
    let holds = scope.run(db.transaction(|tx| {
        let waits = &waits;
        async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            waits.notified().await;
            Ok(())
        }
    }));
    let asks = async {
        let asked = tokio::spawn(async move {
            outer.query("UPDATE accounts SET balance = 6").execute().await.unwrap_err()
        });
        let error = asked.await.unwrap();
        waits.notify_one();
        error
    };
    let (held, error) = tokio::join!(holds, asks);
    held.unwrap();
    let report = error.report();
    assert!(report.starts_with("error[POOL-002]: no connection within "), "{report}");
    assert!(report.contains("1 is held for over "), "{report}");
    assert!(
        report.contains("by POST /orders (crates/mainstay-db/tests/it/pooling.rs:"),
        "{report}"
    );
    assert!(report.contains("idle in a transaction"), "{report}");
    assert!(report.contains("fix: move what is not SQL"), "{report}");
}

/// Table: caller's deadline bounds acquire and statement.
async fn a_scopes_deadline_ends_the_statement_here_and_at_the_server(db: Db, _: String) {
    let clock = Clock::system();
    let begun = clock.now();
    let scope =
        Scope::new(Kind::Request, "GET /report").with_deadline(begun + Duration::from_millis(150));
    let error = scope.run(db.query(sleep(db.engine())).execute()).await.unwrap_err();
    assert_eq!(error.code(), Code::Deadline, "{error:?}");
    assert!(error.report().contains("the deadline of GET /report"), "{error:?}");
    assert!(clock.now() - begun < Duration::from_secs(10));
    all_back(&db).await;
    let running = match db.engine() {
        Engine::Postgres => {
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"
        }
        Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'SELECT SLEEP%'"
        }
        Engine::Sqlite => return,
    };
    // Behind a pooler it is the server's own timeout, set at BEGIN.
    for _ in 0..500 {
        if db.query(running).scalar::<i64>().await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server still works for nobody");
}

async fn a_deadline_in_a_transaction_rolls_it_back(db: Db, _: String) {
    accounts(&db, 1).await;
    let deadline = Clock::system().now() + Duration::from_millis(200);
    let scope = Scope::new(Kind::Job, "nightly").with_deadline(deadline);
    let work = db.transaction(|tx| async move {
        tx.query("UPDATE accounts SET balance = 5").execute().await?;
        tx.query(sleep(tx.engine())).execute().await?;
        Ok(())
    });
    let error = scope.run(work).await.unwrap_err();
    // PostgreSQL's own limit is set a little later than ours.
    assert_eq!(error.code(), Code::Deadline, "{error:?}");
    let balance: i64 = db.query("SELECT balance FROM accounts").scalar().await.unwrap();
    assert_eq!(balance, 1000);
}

async fn a_statement_timeout_ends_the_statement(db: Db, url: String) {
    let quick = Db::builder(&url)
        .statement_timeout(Some(Duration::from_millis(100)))
        .connect()
        .await
        .unwrap();
    let error = quick.query(sleep(db.engine())).execute().await;
    match db.engine() {
        // MariaDB's SLEEP answers 1 when it is cut short.
        Engine::MySql => {
            if let Err(error) = error {
                let expected = [Code::StatementCancelled, Code::Deadline];
                assert!(expected.contains(&error.code()), "{error:?}");
            }
        }
        // The server comes first, also behind a pooler.
        Engine::Postgres => assert_eq!(error.unwrap_err().code(), Code::StatementCancelled),
        Engine::Sqlite => {
            let error = error.unwrap_err();
            assert_eq!(error.code(), Code::Deadline, "{error:?}");
            assert!(error.report().contains("the statement timeout of 100ms"), "{error:?}");
        }
    }
    quick.query("SELECT 1").execute().await.unwrap();
    let refused = Db::builder(&url).statement_timeout(Some(Duration::ZERO)).connect().await;
    assert_eq!(refused.map(drop).unwrap_err().code(), Code::ConfigValue);
}

/// Table: open transaction found on return.
async fn a_transaction_that_was_left_open_is_rolled_back_before_the_next(_: Db, url: String) {
    let db = with(&url, |o| o.max_size = 1).await;
    accounts(&db, 1).await;
    let started = Arc::new(tokio::sync::Notify::new());
    let (inner, told) = (db.clone(), Arc::clone(&started));
    let task = tokio::spawn(async move {
        inner
            .transaction(|tx| {
                let told = Arc::clone(&told);
                async move {
                    tx.query("UPDATE accounts SET balance = 1").execute().await?;
                    told.notify_one();
                    std::future::pending::<Result<()>>().await
                }
            })
            .await
    });
    started.notified().await;
    task.abort();
    let balance: i64 = db.query("SELECT balance FROM accounts").scalar().await.unwrap();
    assert_eq!(balance, 1000);
    db.query("UPDATE accounts SET balance = 2").execute().await.unwrap();
}

async fn an_operators_commands_reach_the_pool(db: Db, _: String) {
    accounts(&db, 1).await;
    let count = || db.query("SELECT COUNT(*) FROM accounts").scalar::<i64>();
    count().await.unwrap();
    db.suspend();
    assert!(tokio::time::timeout(Duration::from_millis(50), count()).await.is_err());
    db.resume();
    assert_eq!(count().await.unwrap(), 1);
    db.clear();
    assert_eq!(count().await.unwrap(), 1);
    db.resize(3).unwrap();
    assert_eq!(db.resize(0).unwrap_err().code(), Code::ConfigValue);
    assert!(db.in_use().is_empty());
    let tx: Result<()> = db
        .transaction(|tx| {
            let outer = db.clone();
            async move {
                tx.query("SELECT balance FROM accounts").execute().await?;
                let held = outer.in_use();
                assert_eq!(held.len(), 1, "{held:?}");
                assert_eq!(held[0].state(), "idle in a transaction");
                assert_eq!(held[0].last.as_ref().unwrap().as_str(), "SELECT balance FROM accounts");
                Err(Error::user("enough"))
            }
        })
        .await;
    assert_eq!(tx.unwrap_err().code(), Code::User);
}

async fn advice_knows_the_server(db: Db, _: String) {
    for _ in 0..120 {
        db.query("SELECT 1").execute().await.unwrap();
    }
    let advice = db.advice().await.unwrap();
    assert!(advice.max_size.is_some_and(|n| n <= 4), "{advice}");
    let server = db.engine() != Engine::Sqlite;
    assert_eq!(advice.to_string().contains("the server allows "), server, "{advice}");
}

/// The statement's bound does not count the wait for a connection, which has its own.
async fn an_exhausted_pool_is_told_as_such_under_a_statement_timeout(plain: Db, url: String) {
    accounts(&plain, 1).await;
    let options = mainstay_pool::Options {
        max_size: 1,
        acquire_timeout: Duration::from_millis(1500),
        ..mainstay_pool::Options::default()
    };
    // Enough for a statement on a busy machine.
    let timeout = Some(Duration::from_millis(500));
    let db = Db::builder(&url).pool(options).statement_timeout(timeout).connect().await.unwrap();
    let asked = db.clone();
    db.transaction(|tx| {
        let asked = asked.clone();
        async move {
            tx.query("UPDATE accounts SET balance = 1").execute().await?;
            let asked = tokio::spawn(async move {
                asked.query("UPDATE accounts SET balance = 2").execute().await.unwrap_err()
            });
            let error = asked.await.unwrap();
            assert_eq!(error.code(), Code::PoolTimeout, "{error:?}");
            Ok(())
        }
    })
    .await
    .unwrap();
    assert_eq!(db.usage().timeouts, u64::from(db.engine() != Engine::Sqlite));
}

/// A row that takes long to come is waited for, not leaked; one that its reader sits on is.
async fn a_slow_stream_is_no_leak(_: Db, url: String) {
    use futures_util::TryStreamExt;
    let db = with(&url, |o| o.leak_after = Some(Duration::from_millis(200))).await;
    let told = Told::default();
    db.observer().subscribe(told.clone());
    let sql = match db.engine() {
        Engine::Postgres => "SELECT 1::bigint FROM pg_sleep(0.7)",
        Engine::MySql => "SELECT SLEEP(0.7) + 1",
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000) SELECT MAX(i) FROM n"
        }
    };
    let mut rows = Box::pin(db.query(sql).stream::<(i64,)>());
    rows.try_next().await.unwrap().unwrap();
    assert!(told.holds.lock().unwrap().is_empty(), "{:?}", told.holds.lock().unwrap());
    let report = told.first(HoldKind::Leak).await;
    assert!(report.contains("idle"), "{report}");
}
