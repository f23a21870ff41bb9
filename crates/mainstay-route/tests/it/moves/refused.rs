//! What is not moved, and why; and what the comparison finds.

use mainstay_core::{Code, Error};
use mainstay_db::{AssertSqlSafe, Db, Engine as Kind};
use mainstay_route::shard::moves::{Mover, State, Step};
use mainstay_route::shard::{Map, MapStore, Shards};
use mainstay_testkit::Engine;

use super::support::{LOGICAL, Two, keys, nothing_left, order, orders};

crate::on_servers!(
    what_can_not_be_moved_is_refused,
    a_planted_difference_is_found,
    a_second_mover_is_refused,
    rows_that_are_there_already_are_left_alone,
    a_trigger_that_would_run_leaves_no_open_move,
);

#[track_caller]
fn refused(mover: Mover, to: &str) -> impl Future<Output = Error> {
    let place = std::panic::Location::caller();
    async move {
        mover
            .start(LOGICAL, to)
            .await
            .err()
            .unwrap_or_else(|| panic!("it was not refused: {place}"))
    }
}

async fn what_can_not_be_moved_is_refused(engine: Engine) {
    let two = Two::orders(engine).await;
    let bare = || Mover::new(two.shards.clone(), two.store.clone());
    let code = |error: &Error| error.code();
    let same = refused(two.mover(), "a").await;
    assert_eq!(
        (code(&same), same.what()),
        (Code::MoveRefused, "the logical shard 802 is on a already")
    );
    assert_eq!(code(&refused(two.mover(), "c").await), Code::ShardMap);
    let unknown = two.mover().start(5000, "b").await.unwrap_err();
    assert_eq!(
        (code(&unknown), unknown.what()),
        (Code::MoveRefused, "there is no logical shard 5000")
    );
    for (mover, what) in [
        (bare(), "a move is of 1 to 200 tables, not 0"),
        (two.mover().table("users", &["id"]), "is named twice"),
        (two.mover().table("x\"`; DROP TABLE users; --", &["id"]), "there is no table"),
        (bare().table("users", &["nobody"]), "has no column \"nobody\""),
        (bare().table("users", &["id"]), "only one of them would move"),
    ] {
        let error = refused(mover, "b").await;
        assert_eq!(code(&error), Code::MoveRefused);
        assert!(error.what().contains(what), "{what}: {}", error.report());
    }
    for (sql, table, key, what) in [
        ("CREATE TABLE heap (id BIGINT)", "heap", "id", "has no primary key"),
        ("CREATE TABLE odd (id BIGINT PRIMARY KEY, at DATE)", "odd", "at", "can't be a key"),
        (
            "CREATE TABLE made (id BIGINT PRIMARY KEY, k BIGINT GENERATED ALWAYS AS (id + 1) STORED)",
            "made",
            "k",
            "has no column",
        ),
    ] {
        for db in [&two.a, &two.b] {
            db.script(sql).await.unwrap();
        }
        let error = refused(two.mover().table(table, &[key]), "b").await;
        assert!(error.what().contains(what), "{what}: {}", error.report());
    }
    two.a.script("CREATE TABLE half (id BIGINT PRIMARY KEY, a INT)").await.unwrap();
    let error = refused(two.mover().table("half", &["id"]), "b").await;
    assert!(error.what().contains("no table \"half\" on b"), "{error}");
    two.b.script("CREATE TABLE half (id BIGINT PRIMARY KEY, a BIGINT)").await.unwrap();
    let error = refused(two.mover().table("half", &["id"]), "b").await;
    assert!(error.reason().unwrap().contains("\"a\""), "{}", error.report());
    if engine == Engine::MariaDb {
        for db in [&two.a, &two.b] {
            db.script(
                "CREATE TABLE parcels (id BIGINT PRIMARY KEY, order_id BIGINT, user_id BIGINT, \
                FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE)",
            )
            .await
            .unwrap();
        }
        let error = refused(two.mover().table("parcels", &["user_id"]), "b").await;
        assert!(error.what().contains("changes by itself"), "{}", error.report());
    }
    // It has left nothing behind.
    assert!(two.mover().moves(true).await.unwrap().is_empty());
    two.end().await;
}

async fn a_planted_difference_is_found(engine: Engine) {
    let two = Two::orders(engine).await;
    let users = two.fill(30).await;
    let victim = users[11] * 100;
    let b = two.b.clone();
    let sql = format!("UPDATE orders SET note = 'planted' WHERE id = {victim}");
    let mover = two.mover().on(move |p| {
        if p.step == Step::Entered && p.state == State::CatchingUp {
            // On the target, of which nothing is logged.
            let (b, sql) = (b.clone(), sql.clone());
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    b.query(AssertSqlSafe(sql)).execute().await.unwrap();
                });
            });
        }
    });
    let error = mover.start(LOGICAL, "b").await.unwrap_err();
    assert_eq!(error.code(), Code::MoveVerify, "{}", error.report());
    assert_eq!(
        error.reason().unwrap(),
        format!("in \"orders\" first, with the primary keys {victim}")
    );
    assert_eq!(two.shards.map().owner(LOGICAL), Some("a"));
    assert_eq!(two.mover().rollback(LOGICAL).await.unwrap().state, State::RolledBack);
    assert!(orders(&two.b).await.is_empty());
    nothing_left(&two).await;
    // And one that is missing.
    let (b, sql) = (two.b.clone(), format!("DELETE FROM orders WHERE id = {victim}"));
    let mover = two.mover().on(move |p| {
        if p.step == Step::Entered && p.state == State::CatchingUp {
            let (b, sql) = (b.clone(), sql.clone());
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    b.query(AssertSqlSafe(sql)).execute().await.unwrap();
                });
            });
        }
    });
    assert_eq!(mover.start(LOGICAL, "b").await.unwrap_err().code(), Code::MoveVerify);
    two.end().await;
}

async fn a_second_mover_is_refused(engine: Engine) {
    let two = Two::orders(engine).await;
    two.fill(3).await;
    let (reached, go_on) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let first = two.mover().lease(std::time::Duration::from_secs(60)).on({
        let (reached, go_on) = (reached.clone(), go_on.clone());
        move |p| {
            if p.step == Step::Captured && p.table.as_deref() == Some("orders") {
                reached.notify_one();
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(go_on.notified());
                });
            }
        }
    });
    let running = tokio::spawn(async move { first.start(LOGICAL, "b").await });
    reached.notified().await;
    let second = two.mover().lease(std::time::Duration::from_secs(60));
    for error in [
        second.start(LOGICAL, "b").await.unwrap_err(),
        second.resume(LOGICAL).await.unwrap_err(),
        second.rollback(LOGICAL).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::MoveUnfinished, "{}", error.report());
    }
    // A map that would lead its keys elsewhere is not saved meanwhile.
    let map = two.shards.map();
    for other in [map.pin(&keys(LOGICAL, 1)[0], "b").unwrap(), map.assign(LOGICAL, "b").unwrap()] {
        assert_eq!(
            two.store.save(&other, map.epoch()).await.unwrap_err().code(),
            Code::MoveUnfinished
        );
    }
    two.store.save(&map.assign(LOGICAL + 1, "b").unwrap(), map.epoch()).await.unwrap();
    // One whose lease has ended is taken over, and finds that out before it does any harm.
    let eager = two.mover().lease(std::time::Duration::ZERO);
    assert_eq!(eager.rollback(LOGICAL).await.unwrap().state, State::RolledBack);
    go_on.notify_one();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::MoveUnfinished, "{}", error.report());
    assert!(orders(&two.b).await.is_empty());
    nothing_left(&two).await;
    two.end().await;
}

async fn rows_that_are_there_already_are_left_alone(engine: Engine) {
    let two = Two::orders(engine).await;
    let user = two.fill(2).await[0];
    two.b
        .query("INSERT INTO users (id, name) VALUES ($1, 'stray')")
        .bind(user)
        .execute()
        .await
        .unwrap();
    order(&two.b, 5, user, 5).await;
    let error = two.mover().start(LOGICAL, "b").await.unwrap_err();
    assert_eq!(error.code(), Code::MoveRefused);
    assert!(
        error.what().contains("has rows of the logical shard 802 in \"users\" already"),
        "{error}"
    );
    assert_eq!(orders(&two.b).await.len(), 1);
    assert!(two.mover().moves(false).await.unwrap().is_empty());
    nothing_left(&two).await;
    two.b.script("DELETE FROM orders; DELETE FROM users").await.unwrap();
    // A row of another key is in the way of one of these.
    two.b.query("INSERT INTO users (id, name) VALUES (1, 'other')").execute().await.unwrap();
    order(&two.b, user * 100, 1, 5).await;
    let error = two.mover().start(LOGICAL, "b").await.unwrap_err();
    assert_eq!(error.code(), Code::MoveRefused, "{}", error.report());
    assert!(error.what().contains("a row has no room on b"), "{error}");
    two.mover().rollback(LOGICAL).await.unwrap();
    let there: Vec<(i64, i64)> = two.b.query("SELECT id, user_id FROM orders").all().await.unwrap();
    assert_eq!(there, [(user * 100, 1)], "the other's is as it was");
    assert_eq!(two.b.engine() == Kind::Postgres, engine == Engine::Postgres);
    two.end().await;
}

async fn a_trigger_that_would_run_leaves_no_open_move(engine: Engine) {
    let two = Two::orders(engine).await;
    two.fill(1).await;
    two.b
        .script(if engine == Engine::MariaDb {
            "CREATE TRIGGER theirs BEFORE INSERT ON users FOR EACH ROW SET NEW.name = 'x'"
        } else {
            "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER theirs BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION theirs(); \
             ALTER TABLE users ENABLE ALWAYS TRIGGER theirs"
        })
        .await
        .unwrap();
    let error = refused(two.mover(), "b").await;
    assert_eq!(error.code(), Code::MoveRefused);
    assert!(error.what().contains("has the trigger \"theirs\""), "{}", error.report());
    let all = two.mover().moves(true).await.unwrap();
    assert_eq!(all.iter().map(|of| of.state).collect::<Vec<_>>(), [State::RolledBack]);
    let drop = if engine == Engine::MariaDb {
        "DROP TRIGGER theirs"
    } else {
        "DROP TRIGGER theirs ON users"
    };
    two.b.script(drop).await.unwrap();
    two.mover().start(LOGICAL, "b").await.unwrap();
    two.end().await;
}

#[tokio::test]
async fn sqlite_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}/{name}.db", folder.path().display());
    let (a, b) = (Db::connect(&url("a")).await.unwrap(), Db::connect(&url("b")).await.unwrap());
    let store = MapStore::new(Db::connect(&url("catalogue")).await.unwrap());
    store.create().await.unwrap();
    let map = Map::even(["a", "b"]).unwrap();
    let owner = map.owner(LOGICAL).unwrap().to_owned();
    let other = if owner == "a" { "b" } else { "a" };
    store.save(&map, 0).await.unwrap();
    let shards = Shards::builder(map).shard("a", a).shard("b", b).build().unwrap();
    let mover = Mover::new(shards, store).table("users", &["id"]);
    let error = mover.start(LOGICAL, other).await.unwrap_err();
    assert_eq!(error.code(), Code::MoveRefused);
    assert!(error.what().contains("SQLite"), "{error}");
    assert!(mover.moves(true).await.unwrap().is_empty());
}
