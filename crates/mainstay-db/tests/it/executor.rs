//! sqlx's own functions through the handle: the same pool, transaction and observation.

use std::sync::{Arc, Mutex};

use mainstay_core::observe::{Statement, Subscriber};
use mainstay_db::{Code, Db, Engine, Error, FromRow, Result, SqlxResultExt};

use crate::support::{accounts, on_every_engine};

on_every_engine!(sqlx_queries_run_in_the_transaction, another_engine_is_refused, they_are_observed);

#[derive(Debug, FromRow)]
struct Account {
    id: i64,
    balance: i64,
}

/// One statement written for the engine's driver, and its row.
macro_rules! with_engine {
    ($db:expr, $executor:ident => $work:expr) => {
        match $db.engine() {
            Engine::Sqlite => {
                let $executor = $db.sqlite()?;
                $work
            }
            Engine::Postgres => {
                let $executor = $db.postgres()?;
                $work
            }
            Engine::MySql => {
                let $executor = $db.mysql()?;
                $work
            }
        }
    };
}

async fn read(db: &Db, id: i64) -> Result<Account> {
    match db.engine() {
        Engine::MySql => {
            let query = sqlx::query_as("SELECT id, balance FROM accounts WHERE id = ?").bind(id);
            query.fetch_one(db.mysql()?).await.coded()
        }
        _ => with_engine!(db, executor => {
            let query = sqlx::query_as("SELECT id, balance FROM accounts WHERE id = $1").bind(id);
            query.fetch_one(executor).await.coded()
        }),
    }
}

async fn sqlx_queries_run_in_the_transaction(db: Db) {
    accounts(&db, 2).await;
    let outcome: Result<()> = db
        .transaction(|tx| async move {
            with_engine!(tx, executor => {
                sqlx::query("UPDATE accounts SET balance = 7 WHERE id = 1").execute(executor).await.coded()?;
                // The executor is Copy.
                sqlx::query("UPDATE accounts SET balance = balance + 1").execute(executor).await.coded()?;
            });
            let account = read(&tx, 1).await?;
            assert_eq!((account.id, account.balance), (1, 8));
            Err(Error::user("undo"))
        })
        .await;
    assert_eq!(outcome.unwrap_err().what(), "undo");
    assert_eq!(read(&db, 1).await.unwrap().balance, 1000);
    assert_eq!(read(&db, 9).await.unwrap_err().code(), Code::RowNotFound);
}

async fn another_engine_is_refused(db: Db) {
    let error = match db.engine() {
        Engine::Sqlite => db.postgres().map(drop),
        Engine::Postgres => db.mysql().map(drop),
        Engine::MySql => db.sqlite().map(drop),
    }
    .unwrap_err();
    assert_eq!(error.code(), Code::WrongEngine);
    assert!(error.place().unwrap().file().ends_with("executor.rs"));
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, u64)>>>);

impl Subscriber for Seen {
    fn statement(&self, event: &Statement<'_>) {
        assert!(event.place.file().ends_with("executor.rs"));
        self.0.lock().unwrap().push((event.sql.to_owned(), event.rows));
    }
}

async fn they_are_observed(db: Db) {
    accounts(&db, 2).await;
    let seen = Seen::default();
    db.observer().subscribe(seen.clone());
    read(&db, 1).await.unwrap();
    let seen = seen.0.lock().unwrap();
    assert!(seen[0].0.starts_with("SELECT id, balance FROM accounts"));
    assert_eq!(seen[0].1, 1);
}
