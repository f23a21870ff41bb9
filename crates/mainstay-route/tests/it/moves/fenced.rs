//! Clients whose map is older than the move.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::{Db, Isolation};
use mainstay_testkit::Engine;

use super::support::{LOGICAL, Two, count, order, orders};

crate::on_servers!(
    a_stale_client_is_fenced_and_follows,
    a_snapshot_from_before_the_move_writes_nothing
);

async fn a_stale_client_is_fenced_and_follows(engine: Engine) {
    let two = Two::orders(engine).await;
    let user = two.fill(3).await[0];
    let stale = two.stale();
    two.mover().start(LOGICAL, "b").await.unwrap();
    let before = orders(&two.b).await;

    let old = stale.of(&user).unwrap();
    assert_eq!(old.name(), "a");
    for sql in [
        "INSERT INTO orders (id, user_id, cents) VALUES (7, $1, 1)",
        "UPDATE orders SET cents = 1 WHERE user_id = $1",
        "DELETE FROM orders WHERE user_id = $1",
    ] {
        let error = old.query(sql).bind(user).execute().await.unwrap_err();
        assert_eq!(error.code(), Code::ShardStale, "{sql}: {}", error.report());
        let within =
            old.transaction(|tx: Db| async move { tx.query(sql).bind(user).execute().await });
        assert_eq!(within.await.unwrap_err().code(), Code::ShardStale);
    }
    let other = 1_i64;
    assert_ne!(stale.logical(&other).unwrap(), LOGICAL);
    order(&old, 8, other, 1).await;
    assert_eq!(orders(&two.a).await, before, "nothing of it was written");

    let work = |db: Db| async move {
        let sql = "INSERT INTO orders (id, user_id, cents) VALUES (7, $1, 1)";
        db.query(sql).bind(user).execute().await?;
        Ok(db.name().to_owned())
    };
    let error = stale.run(&user, work).await.unwrap_err();
    assert_eq!(error.code(), Code::ShardStale);
    assert!(error.advice().contains("watch"), "{error}");
    stale.watch(two.store.clone(), Duration::from_secs(3600));
    assert_eq!(stale.run(&user, work).await.unwrap(), "b");
    assert_eq!(stale.epoch(), 2);
    assert_eq!(orders(&two.b).await.len(), before.len() + 1);
    assert_eq!(count(&two.b, "users").await, 3);
    two.end().await;
}

async fn a_snapshot_from_before_the_move_writes_nothing(engine: Engine) {
    let two = Two::orders(engine).await;
    let user = two.fill(3).await[0];
    let before = orders(&two.a).await;
    let (two, moved) = (&two, &std::sync::atomic::AtomicBool::new(false));
    let work = |tx: Db| async move {
        assert_eq!(tx.query("SELECT COUNT(*) FROM users").scalar::<i64>().await.unwrap(), 6);
        if !moved.swap(true, std::sync::atomic::Ordering::SeqCst) {
            // It has read, and holds no lock that MariaDB would wait for.
            let catalogue = tx.query("SELECT 1").execute();
            catalogue.await?;
            started(two).await;
        }
        tx.query("UPDATE orders SET cents = 1 WHERE user_id = $1").bind(user).execute().await
    };
    let outcome = two.a.tx().isolation(Isolation::RepeatableRead).run(work).await;
    match engine {
        // A statement that reads keeps the table for the transaction there: the triggers waited for it.
        Engine::MariaDb => {
            outcome.unwrap();
            assert_eq!(two.shards.map().owner(LOGICAL), Some("a"));
        }
        _ => {
            assert_eq!(
                outcome.unwrap_err().code(),
                Code::ShardStale,
                "at its second run, with a new snapshot"
            );
            assert_eq!(orders(&two.b).await, before);
            assert_eq!(orders(&two.a).await, before);
        }
    }
}

/// The whole move, if the transaction lets it.
async fn started(two: &Two) {
    let mover = two.mover();
    let limit = Duration::from_secs(2);
    let _ =
        tokio::time::timeout(limit, tokio::spawn(async move { mover.start(LOGICAL, "b").await }))
            .await;
}
