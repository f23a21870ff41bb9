//! A move from its beginning to its end, and back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::Code;
use mainstay_route::shard::moves::{Mover, State, Step};

use super::support::{LOGICAL, Two, count, nothing_left, orders};

crate::on_servers!(a_logical_shard_goes_there_and_back);

async fn a_logical_shard_goes_there_and_back(engine: mainstay_testkit::Engine) {
    let two = Two::orders(engine).await;
    two.fill(40).await;
    let before = orders(&two.a).await;
    assert_eq!(before.len(), 80);
    let told = Arc::new(Mutex::new(Vec::new()));
    // In whichever order they are named.
    let mover = Mover::new(two.shards.clone(), two.store.clone())
        .table("orders", &["user_id"])
        .table("users", &["id"]);
    let mover = mover.chunk(64).lease(Duration::from_millis(200)).grace(Duration::ZERO).on({
        let told = Arc::clone(&told);
        move |p| told.lock().unwrap().push((p.step, p.state, p.rows_copied))
    });
    let done = mover.start(LOGICAL, "b").await.unwrap();
    assert_eq!((done.state, done.rows, done.epoch), (State::Done, 120, 2));
    assert_eq!((done.from.as_str(), done.to.as_str()), ("a", "b"));
    assert_eq!(orders(&two.b).await, before);
    assert_eq!(
        (count(&two.b, "users").await, count(&two.b, "orders").await),
        (40, 80),
        "no others"
    );
    assert_eq!(two.b.query("SELECT MAX(twice) FROM orders").scalar::<i64>().await.unwrap(), 1002);
    assert_eq!(orders(&two.a).await, before, "they stay for the grace period");
    assert_eq!(two.store.load().await.unwrap().unwrap().owner(LOGICAL), Some("b"));
    assert_eq!(two.shards.map().owner(LOGICAL), Some("b"));
    let told = std::mem::take(&mut *told.lock().unwrap());
    let steps: Vec<Step> = told.iter().map(|(step, ..)| *step).collect();
    for step in [
        Step::Prepared,
        Step::Captured,
        Step::Copied,
        Step::Compared,
        Step::Locked,
        Step::Fenced,
        Step::Switched,
    ] {
        assert!(steps.contains(&step), "{step:?} in {steps:?}");
    }
    assert_eq!(told.last().unwrap().1, State::Done);

    // Until it is finished, the old rows are accounted for.
    let strays = mover.strays().await.unwrap();
    assert!(
        strays.iter().all(|s| s.of_a_move && s.shard == "a" && s.there_too == s.rows),
        "{strays:?}"
    );
    assert_eq!(strays.iter().map(|s| s.rows).collect::<Vec<_>>(), [80, 40]);

    // It is not over before it is finished.
    let error = mover.start(LOGICAL, "a").await.unwrap_err();
    assert_eq!(error.code(), Code::MoveUnfinished);
    assert!(error.advice().contains("--finish"), "{}", error.report());
    let error = mover.clone().grace(Duration::from_secs(60)).finish(LOGICAL).await.unwrap_err();
    assert_eq!(error.code(), Code::MoveRefused);
    let error = mover.rollback(LOGICAL).await.unwrap_err();
    assert!(error.advice().contains("move the logical shard to a"), "{}", error.report());
    assert_eq!(mover.resume(LOGICAL).await.unwrap().state, State::Done, "nothing is left to do");

    assert_eq!(mover.finish(LOGICAL).await.unwrap().state, State::Cleaned);
    assert!(orders(&two.a).await.is_empty());
    assert_eq!(
        (count(&two.a, "users").await, count(&two.a, "orders").await),
        (40, 80),
        "the others"
    );
    nothing_left(&two).await;

    assert_eq!(mover.strays().await.unwrap(), []);
    // One that is here alone, and one whose twin is where it belongs.
    let (own, twin) = (super::support::keys(LOGICAL, 41)[40], super::support::keys(LOGICAL, 1)[0]);
    for user in [own, twin] {
        two.a
            .query("INSERT INTO users (id, name) VALUES ($1, 'stray')")
            .bind(user)
            .execute()
            .await
            .unwrap();
    }
    let strays = mover.strays().await.unwrap();
    let [one] = strays.as_slice() else { panic!("{strays:?}") };
    assert_eq!(
        (one.shard.as_str(), one.table.as_str(), one.home.as_deref()),
        ("a", "users", Some("b"))
    );
    assert_eq!((one.logical, one.rows, one.there_too, one.of_a_move), (Some(LOGICAL), 2, 1, false));
    for user in [own, twin] {
        two.a.query("DELETE FROM users WHERE id = $1").bind(user).execute().await.unwrap();
    }

    mover.start(LOGICAL, "a").await.unwrap();
    mover.finish(LOGICAL).await.unwrap();
    assert_eq!(orders(&two.a).await, before);
    assert_eq!(count(&two.b, "orders").await, 0);
    nothing_left(&two).await;
    let all = mover.moves(true).await.unwrap();
    assert_eq!(all.iter().map(|m| m.state).collect::<Vec<_>>(), [State::Cleaned; 2]);
    assert!(mover.moves(false).await.unwrap().is_empty());
    two.end().await;
}
