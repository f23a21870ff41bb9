//! What a subscriber is told of statements, checkouts and transactions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::observe::{Checkout, Outcome, Statement, Subscriber, Transaction};
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{Db, Error, Result};

use crate::support::{accounts, on_every_engine};

on_every_engine!(
    a_statement_is_told_with_all_it_has,
    a_failed_and_a_dropped_statement_are_told,
    a_transaction_is_told_with_its_end,
    values_are_never_told,
);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

fn outcome(outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Failed(error) => error.code().to_string(),
        Outcome::Cancelled => "cancelled".to_owned(),
    }
}

impl Subscriber for Log {
    fn statement(&self, e: &Statement<'_>) {
        let scope = e.scope.map_or("-", Scope::name);
        let place = e.place.file().rsplit('/').next().unwrap_or_default();
        let line = format!(
            "statement {} rows={} affected={} scope={scope} in_tx={} connected={} place={place} {}",
            e.sql,
            e.rows,
            e.affected,
            e.transaction.is_some(),
            e.connection.is_some(),
            outcome(e.outcome)
        );
        self.0.lock().unwrap().push(line);
    }

    fn checkout(&self, e: &Checkout<'_>) {
        self.0.lock().unwrap().push(format!("checkout {}", outcome(e.outcome)));
    }

    fn transaction(&self, e: &Transaction<'_>) {
        self.0.lock().unwrap().push(format!(
            "transaction statements={} attempt={} committed={} {}",
            e.statements,
            e.attempt,
            e.committed,
            outcome(e.outcome)
        ));
    }
}

impl Log {
    fn on(db: &Db) -> Self {
        let log = Self::default();
        db.observer().subscribe(log.clone());
        log
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn a_statement_is_told_with_all_it_has(db: Db) {
    accounts(&db, 3).await;
    let log = Log::on(&db);
    let scope = Scope::new(Kind::Request, "GET /accounts");
    scope.run(db.query("SELECT id, balance FROM accounts").all::<(i64, i64)>()).await.unwrap();
    let told = log.take();
    assert!(
        told.iter().any(|l| l
            .starts_with("statement SELECT id, balance FROM accounts rows=3 affected=")
            && l.ends_with("scope=GET /accounts in_tx=false connected=true place=observe.rs done")),
        "{told:?}"
    );
    assert!(told.contains(&"checkout done".to_owned()), "{told:?}");
    db.query("UPDATE accounts SET balance = 1").execute().await.unwrap();
    assert!(log.take().iter().any(|l| l.contains("rows=0 affected=3")));
}

async fn a_failed_and_a_dropped_statement_are_told(db: Db) {
    let log = Log::on(&db);
    db.query("SELECT * FROM nowhere").execute().await.unwrap_err();
    assert!(log.take().iter().any(|l| l.ends_with("DB-011")));
    let slow = match db.engine() {
        mainstay_db::Engine::Postgres => "SELECT pg_sleep(5)",
        mainstay_db::Engine::MySql => "SELECT SLEEP(5)",
        mainstay_db::Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(50), db.query(slow).execute()).await;
    assert!(log.take().iter().any(|l| l.starts_with("statement ") && l.ends_with("cancelled")));
}

async fn a_transaction_is_told_with_its_end(db: Db) {
    accounts(&db, 1).await;
    let log = Log::on(&db);
    let touch = |tx: Db| async move { tx.query("UPDATE accounts SET balance = 5").execute().await };
    db.transaction(|tx| async move { touch(tx).await }).await.unwrap();
    let told = log.take();
    assert!(
        told.contains(&"transaction statements=1 attempt=1 committed=true done".to_owned()),
        "{told:?}"
    );
    assert!(told.iter().any(|l| l.contains("in_tx=true")), "{told:?}");
    let failed: Result<()> = db
        .transaction(|tx| async move {
            touch(tx).await?;
            Err(Error::user("no"))
        })
        .await;
    failed.unwrap_err();
    assert!(
        log.take()
            .contains(&"transaction statements=1 attempt=1 committed=false APP-001".to_owned())
    );
    let work = db.transaction(|_| std::future::pending::<Result<()>>());
    let _ = tokio::time::timeout(Duration::from_millis(30), work).await;
    assert!(
        log.take()
            .contains(&"transaction statements=0 attempt=1 committed=false cancelled".to_owned())
    );
}

async fn values_are_never_told(db: Db) {
    let log = Log::on(&db);
    let _ = db.query("SELECT $1").bind("s3cret").rows().await;
    assert!(!format!("{:?}", log.take()).contains("s3cret"));
}
