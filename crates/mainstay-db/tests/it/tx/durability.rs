//! What a commit waits for: as it is asked for, on every engine. With a standby it is tried in `mainstay-route`.

use std::sync::Mutex;
use std::time::Duration;

use mainstay_db::{Code, Db, Durability, Engine, Error, Propagation, Result};

use crate::support::{accounts, on_every_engine};

on_every_engine!(
    an_asynchronous_commit_ends_with_its_transaction,
    what_a_commit_waits_for_is_set_or_refused,
);

/// How its commits wait for the disk, as the engine calls it.
async fn waits(tx: &Db) -> String {
    match tx.engine() {
        Engine::Sqlite => {
            let level: i64 = tx.query("PRAGMA synchronous").scalar().await.unwrap();
            ["off", "normal", "full"][level as usize].to_owned()
        }
        Engine::Postgres => tx.query("SHOW synchronous_commit").scalar().await.unwrap(),
        Engine::MySql => "always".to_owned(),
    }
}

async fn an_asynchronous_commit_ends_with_its_transaction(db: Db) {
    accounts(&db, 1).await;
    let usual = db.transaction(|tx| async move { Ok(waits(&tx).await) }).await.unwrap();
    let changed = match db.engine() {
        Engine::Sqlite => "normal",
        Engine::Postgres => "off",
        Engine::MySql => "always",
    };
    for fails in [false, true] {
        let told = Mutex::new(String::new());
        let done = db.tx().durability(Durability::Async).run(|tx| {
            let told = &told;
            async move {
                *told.lock().unwrap() = waits(&tx).await;
                tx.query("UPDATE accounts SET balance = 7").execute().await?;
                if fails { Err(Error::user("undone")) } else { Ok(()) }
            }
        });
        assert_eq!(done.await.is_err(), fails);
        assert_eq!(told.into_inner().unwrap(), changed);
        let after = db.transaction(|tx| async move { Ok(waits(&tx).await) }).await.unwrap();
        assert_eq!(after, usual);
        assert_eq!(balance(&db).await, 7);
    }
    let dropped =
        db.tx().durability(Durability::Async).run(|_| async { std::future::pending().await });
    let cut: Option<Result<()>> =
        tokio::time::timeout(Duration::from_millis(50), dropped).await.ok();
    assert!(cut.is_none());
    let after = db.transaction(|tx| async move { Ok(waits(&tx).await) }).await.unwrap();
    assert_eq!(after, usual);
}

async fn what_a_commit_waits_for_is_set_or_refused(db: Db) {
    let usual = db.transaction(|tx| async move { Ok(waits(&tx).await) }).await.unwrap();
    let all = [
        (Durability::Local, "local"),
        (Durability::Received, "remote_write"),
        (Durability::Replicated, "on"),
        (Durability::Applied, "remote_apply"),
    ];
    for (durability, setting) in all {
        let tx = db.tx().durability(durability);
        let done = tx.run(|tx| async move { Ok(waits(&tx).await) }).await;
        match (db.engine(), durability) {
            (Engine::Postgres, _) => assert_eq!(done.unwrap(), setting),
            (_, Durability::Local) => assert_eq!(done.unwrap(), usual),
            _ => {
                let refused = done.unwrap_err();
                assert_eq!(refused.code(), Code::Unsupported);
                assert!(refused.report().contains("Cluster"), "{}", refused.report());
            }
        }
        assert_eq!(db.transaction(|tx| async move { Ok(waits(&tx).await) }).await.unwrap(), usual);
    }
    if db.engine() != Engine::Postgres {
        return;
    }
    // A part may ask for no more than the whole waits for.
    for propagation in [Propagation::Required, Propagation::Nested] {
        for (asked, fine) in [
            (Durability::Async, true),
            (Durability::Replicated, true),
            (Durability::Applied, false),
        ] {
            let whole = db.tx().durability(Durability::Replicated).run(|tx| async move {
                let part = tx.tx().propagation(propagation).durability(asked);
                part.run(|_| async { Ok(()) }).await
            });
            let refused = whole.await.err().map(|error| error.code());
            assert_eq!(refused, (!fine).then_some(Code::TxMismatch), "{propagation:?} {asked}");
        }
    }
}

async fn balance(db: &Db) -> i64 {
    db.query("SELECT balance FROM accounts WHERE id = 0").scalar().await.unwrap()
}
