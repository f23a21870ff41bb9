//! What is written meanwhile is followed by its primary key, whatever the collation and the writer's session.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::{AssertSqlSafe, Db, Engine as Kind};
use mainstay_route::shard::ToKey;
use mainstay_route::shard::moves::{Mover, State, Step};
use mainstay_testkit::Engine;

use super::support::{LOGICAL, Two, keys, nothing_left};

crate::on_servers!(
    a_primary_key_that_changes_is_followed,
    a_key_that_changes_in_its_case_is_followed,
    whole_tables_are_not_emptied,
);

/// Runs `sql` once all rows are copied, in a session of its own.
fn meanwhile(two: &Two, table: &str, key: &str, sql: String) -> Mover {
    let a = two.a.clone();
    let mover = Mover::new(two.shards.clone(), two.store.clone()).table(table, &[key]);
    mover.grace(Duration::ZERO).on(move |p| {
        if p.step == Step::Entered && p.state == State::CatchingUp {
            let (a, sql) = (a.clone(), sql.clone());
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    a.session().await.unwrap().run(&sql).await.unwrap();
                });
            });
        }
    })
}

async fn both(two: &Two, sql: &str) {
    for db in [&two.a, &two.b] {
        run(db, sql.to_owned()).await;
    }
}

async fn run(db: &Db, sql: String) {
    db.query(AssertSqlSafe(sql)).execute().await.unwrap();
}

async fn a_primary_key_that_changes_is_followed(engine: Engine) {
    let two = Two::new(engine).await;
    let user = keys(LOGICAL, 1)[0];
    if two.a.engine() == Kind::Postgres {
        // Whatever the writer's session writes times as.
        both(&two, "CREATE TABLE stamps (at TIMESTAMPTZ PRIMARY KEY, user_id BIGINT NOT NULL)")
            .await;
        run(&two.a, format!("INSERT INTO stamps VALUES ('2024-03-02 10:00:00Z', {user})")).await;
        let sql = "SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; UPDATE stamps SET at = at + interval '1 day'";
        let mover = meanwhile(&two, "stamps", "user_id", sql.to_owned());
        mover.start(LOGICAL, "b").await.unwrap_or_else(|e| panic!("{}", e.report()));
        let sql = "SELECT EXTRACT(epoch FROM at)::bigint FROM stamps";
        let there: Vec<(i64,)> = two.b.query(sql).all().await.unwrap();
        assert_eq!(there, [(1_709_460_000,)]);
    } else {
        // In its case alone.
        both(
            &two,
            "CREATE TABLE words (word VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, user_id BIGINT NOT NULL)",
        )
        .await;
        run(&two.a, format!("INSERT INTO words VALUES ('abc', {user})")).await;
        let sql = "UPDATE words SET word = 'ABC'".to_owned();
        let mover = meanwhile(&two, "words", "user_id", sql);
        mover.start(LOGICAL, "b").await.unwrap_or_else(|e| panic!("{}", e.report()));
        let there: Vec<(String,)> = two.b.query("SELECT word FROM words").all().await.unwrap();
        assert_eq!(there, [("ABC".to_owned(),)]);
        mover.finish(LOGICAL).await.unwrap();
        both(&two, "CREATE TABLE stamps (at TIMESTAMP PRIMARY KEY, user_id BIGINT NOT NULL)").await;
        let stamps =
            Mover::new(two.shards.clone(), two.store.clone()).table("stamps", &["user_id"]);
        let error = stamps.start(LOGICAL, "a").await.unwrap_err();
        assert!(error.what().contains("has the TIMESTAMP \"at\""), "{}", error.report());
    }
    two.end().await;
}

async fn a_key_that_changes_in_its_case_is_followed(engine: Engine) {
    let two = Two::new(engine).await;
    let column = if two.a.engine() == Kind::Postgres {
        let sql = "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
        both(&two, sql).await;
        "TEXT COLLATE ci"
    } else {
        "VARCHAR(20) COLLATE utf8mb4_general_ci"
    };
    both(&two, &format!("CREATE TABLE words (id BIGINT PRIMARY KEY, word {column} NOT NULL)"))
        .await;
    // The one comes into the logical shard by it, the other leaves.
    let of = |text: String| text.as_str().to_key().logical() == LOGICAL;
    let all = |upper: bool, lower: bool| {
        let mut all = (0..).map(|n: u32| format!("W{n}"));
        all.find(|w| of(w.clone()) == upper && of(w.to_lowercase()) == lower).unwrap()
    };
    let (comes, leaves) = (all(true, false).to_lowercase(), all(false, true).to_lowercase());
    run(&two.a, format!("INSERT INTO words VALUES (1, '{comes}'), (2, '{leaves}')")).await;
    let sql = "UPDATE words SET word = UPPER(word)".to_owned();
    let mover = meanwhile(&two, "words", "word", sql);
    mover.start(LOGICAL, "b").await.unwrap_or_else(|e| panic!("{}", e.report()));
    let there: Vec<(i64, String)> = two.b.query("SELECT id, word FROM words").all().await.unwrap();
    assert_eq!(there, [(1, comes.to_uppercase())]);
    mover.finish(LOGICAL).await.unwrap();
    let here: Vec<(i64, String)> = two.a.query("SELECT id, word FROM words").all().await.unwrap();
    assert_eq!(here, [(2, leaves.to_uppercase())]);
    two.end().await;
}

async fn whole_tables_are_not_emptied(engine: Engine) {
    let two = Two::new(engine).await;
    if two.a.engine() != Kind::Postgres {
        // No trigger sees it there: the guide says so.
        return two.end().await;
    }
    both(&two, "CREATE TABLE parts (id BIGINT PRIMARY KEY) PARTITION BY RANGE (id)").await;
    both(&two, "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000000)").await;
    let user = keys(LOGICAL, 1)[0];
    run(&two.a, format!("INSERT INTO parts VALUES ({user})")).await;
    // A session that applies another server's changes runs no triggers but those that always do.
    let second = keys(LOGICAL, 2)[1];
    let sql =
        format!("SET session_replication_role = replica; INSERT INTO parts VALUES ({second})");
    let mover = meanwhile(&two, "parts", "id", sql);
    mover.start(LOGICAL, "b").await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(super::support::count(&two.b, "parts").await, 2);
    for table in ["parts", "parts_1"] {
        let sql = AssertSqlSafe(format!("TRUNCATE {table}"));
        let error = two.a.query(sql).execute().await.unwrap_err();
        assert!(error.report().contains("can't be truncated"), "{}", error.report());
    }
    mover.finish(LOGICAL).await.unwrap();
    nothing_left(&two).await;
    run(&two.a, "TRUNCATE parts_1".to_owned()).await;

    both(&two, "CREATE TABLE base (id BIGINT PRIMARY KEY)").await;
    both(&two, "CREATE TABLE derived () INHERITS (base)").await;
    let base = Mover::new(two.shards.clone(), two.store.clone()).table("base", &["id"]);
    let error = base.start(LOGICAL, "a").await.unwrap_err();
    assert_eq!(error.code(), Code::MoveRefused);
    assert!(error.what().contains("inherit from \"base\""), "{}", error.report());
    two.end().await;
}
