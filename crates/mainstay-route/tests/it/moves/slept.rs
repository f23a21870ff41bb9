//! Movers that stop for longer than their lease, and wake up once another has gone on; and a catalogue that is away.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_pool::Options;
use mainstay_route::shard::moves::{Progress, State, Step};
use mainstay_testkit::Engine;
use tokio::sync::Notify;

use super::support::{LOGICAL, Two, mover, nothing_left, order, orders, shards};

crate::on_servers!(
    one_that_finds_the_move_finished_deletes_nothing,
    one_that_finds_the_move_taken_back_makes_nothing,
    one_that_stops_under_the_lock_keeps_nobody_waiting,
    a_catalogue_that_is_away_for_a_moment_is_waited_for,
);

/// Stops the move where `at` says, until it is let on; and says that it has stopped.
fn stops(
    at: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> (Arc<Notify>, Arc<Notify>, impl Fn(&Progress) + Send + Sync + 'static) {
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let on = {
        let (reached, go_on) = (Arc::clone(&reached), Arc::clone(&go_on));
        move |p: &Progress| {
            if at(p) {
                reached.notify_one();
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(go_on.notified());
                });
            }
        }
    };
    (reached, go_on, on)
}

async fn one_that_finds_the_move_finished_deletes_nothing(engine: Engine) {
    let two = Two::orders(engine).await;
    let user = two.fill(3).await[0];
    two.mover().start(LOGICAL, "b").await.unwrap();
    // Its connections to `a` are all taken: it has the lease, and comes no further.
    let urls = two.urls();
    let pool =
        Options { max_size: 2, acquire_timeout: Duration::from_secs(60), ..Options::default() };
    let narrow = Db::builder(urls.split(' ').next().unwrap()).pool(pool).connect().await.unwrap();
    let held = [narrow.session().await.unwrap(), narrow.session().await.unwrap()];
    let late = mover(&shards(&[narrow.clone(), two.b.clone()], two.shards.map()), &two.store)
        .lease(Duration::from_secs(60));
    let sleeping = tokio::spawn(async move { late.finish(LOGICAL).await });
    let sql = "SELECT MAX(beat_ms) FROM mainstay_shard_moves";
    for _ in 0..200 {
        if two.catalogue.query(sql).scalar::<Option<i64>>().await.unwrap() > Some(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    two.mover().lease(Duration::ZERO).finish(LOGICAL).await.unwrap();
    two.mover().start(LOGICAL, "a").await.unwrap();
    two.mover().finish(LOGICAL).await.unwrap();
    order(&two.a, 7, user, 7).await;
    let live = orders(&two.a).await;
    assert_eq!(live.len(), 7);

    drop(held);
    let error = sleeping.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::MoveUnfinished, "{}", error.report());
    assert_eq!(orders(&two.a).await, live);
    nothing_left(&two).await;
    narrow.close(Duration::from_secs(5)).await.unwrap();
    two.end().await;
}

async fn one_that_finds_the_move_taken_back_makes_nothing(engine: Engine) {
    let two = Two::orders(engine).await;
    let user = two.fill(3).await[0];
    let cuts: [fn(&Progress) -> bool; 2] = [
        // Before anything is made, and between the triggers of two tables.
        |p| p.step == Step::Entered && p.state == State::Prepared,
        |p| p.step == Step::Captured && p.table.as_deref() == Some("users"),
    ];
    for (n, cut) in (0..).zip(cuts) {
        let (reached, go_on, on) = stops(cut);
        let first = two.mover().lease(Duration::from_secs(60)).on(on);
        let running = tokio::spawn(async move { first.start(LOGICAL, "b").await });
        reached.notified().await;
        let eager = two.mover().lease(Duration::ZERO);
        assert_eq!(eager.rollback(LOGICAL).await.unwrap().state, State::RolledBack);
        go_on.notify_one();
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::MoveUnfinished, "{}", error.report());
        nothing_left(&two).await;
        order(&two.a, 7 + n, user, 7).await;
    }
    two.end().await;
}

async fn one_that_stops_under_the_lock_keeps_nobody_waiting(engine: Engine) {
    let two = Two::orders(engine).await;
    let user = two.fill(3).await[0];
    let (reached, go_on, on) = stops(|p| p.step == Step::Locked);
    let first = two.mover().on(on);
    let running = tokio::spawn(async move { first.start(LOGICAL, "b").await });
    reached.notified().await;
    let written = tokio::time::timeout(Duration::from_secs(20), order(&two.a, 7, user, 7)).await;
    // It may be stopped again, at its next try.
    let again = tokio::spawn(async move {
        loop {
            go_on.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let done = running.await.unwrap();
    again.abort();
    written.expect("the lock goes while the mover sleeps");
    if done.is_err() {
        two.mover().lease(Duration::ZERO).resume(LOGICAL).await.unwrap();
    }
    assert_eq!(orders(&two.b).await.len(), 7, "what was written meanwhile is there");
    assert_eq!(orders(&two.b).await, orders(&two.a).await);
    two.end().await;
}

async fn a_catalogue_that_is_away_for_a_moment_is_waited_for(engine: Engine) {
    let two = Two::orders(engine).await;
    two.fill(3).await;
    let catalogue = two.catalogue.clone();
    let rename = |from: &str, to: &str| {
        let (db, sql) = (catalogue.clone(), format!("ALTER TABLE {from} RENAME TO {to}"));
        async move { db.query(AssertSqlSafe(sql)).execute().await.unwrap() }
    };
    let (reached, go_on, on) = stops(|p| p.step == Step::Fenced);
    let first = two.mover().on(on);
    let running = tokio::spawn(async move { first.start(LOGICAL, "b").await });
    reached.notified().await;
    rename("mainstay_shard_map", "away").await;
    go_on.notify_one();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished(), "it goes on trying");
    rename("away", "mainstay_shard_map").await;
    let done = running.await.unwrap().unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(done.state, State::Done);
    assert_eq!(two.store.load().await.unwrap().unwrap().owner(LOGICAL), Some("b"));
    two.end().await;
}
