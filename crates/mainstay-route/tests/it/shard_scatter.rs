//! Questions to all shards: what is said of those that do not answer, how long it may take, and in which order texts are.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::{Db, Engine as Kind, FromRow};
use mainstay_route::shard::{Group, Partial};

use crate::shard_support::{Four, on_every_engine, users};

on_every_engine!(
    rows_are_read_as_structs_and_values_are_bound,
    one_that_takes_too_long_is_one_that_does_not_answer,
    a_bound_on_rows_holds_over_all_shards,
    texts_are_in_the_order_of_bytes_or_refused,
    groups_are_read_by_name,
    an_error_of_the_statement_is_no_missing_shard,
);

#[derive(Debug, FromRow, PartialEq)]
struct User {
    id: i64,
    name: String,
}

async fn rows_are_read_as_structs_and_values_are_bound(four: &Four) {
    users(four, &["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"]).await;
    let ask = |limit: i64, offset: i64| {
        let sql = "SELECT name, id FROM users WHERE points >= $3 AND id <> $1 \
            ORDER BY points DESC -- the best first\n LIMIT $4 OFFSET $2";
        let question = four.shards.scatter().query(sql);
        question.bind(6).bind(offset).bind(20).bind(limit).all::<User>()
    };
    let ids = |users: &[User]| users.iter().map(|user| user.id).collect::<Vec<_>>();
    let found = ask(3, 1).await.unwrap();
    assert_eq!(ids(&found.rows), [5, 4, 3]);
    assert_eq!(found.rows[0], User { id: 5, name: "fay".to_owned() });
    assert!(found.missing.is_empty());
    assert_eq!(ids(&ask(100, 0).await.unwrap().rows), [7, 5, 4, 3, 2]);
    assert!(ask(0, 0).await.unwrap().rows.is_empty());
    let negative = ask(-1, 0).await.unwrap_err();
    assert_eq!(negative.code(), Code::ShardMerge, "{negative:?}");
    let unbound = four.shards.scatter().query("SELECT id FROM users WHERE id = $1");
    assert_eq!(unbound.all::<(i64,)>().await.unwrap_err().code(), Code::BindCount);
}

/// A pool that gives nobody a connection stands for a server that is busy.
async fn one_that_takes_too_long_is_one_that_does_not_answer(four: &Four) {
    users(four, &["ada", "bob", "cyd", "dan"]).await;
    four.dbs[1].suspend();
    let ask = |partial: Partial| {
        let question = four.shards.scatter().query("SELECT id, name FROM users ORDER BY id");
        question.partial(partial).timeout(Duration::from_millis(300)).all::<(i64, String)>()
    };
    let error = ask(Partial::Fail).await.unwrap_err();
    assert_eq!(error.code(), Code::ShardPartial);
    assert_eq!(error.what(), "1 of 4 shards did not answer: b");
    let found = ask(Partial::Allow { max: 1 }).await.unwrap();
    assert_eq!(found.rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 2, 3]);
    let [(name, error)] = found.missing.as_slice() else {
        panic!("one is missing: {:?}", found.missing)
    };
    assert_eq!((name.as_str(), error.code()), ("b", Code::ShardDown));
    four.dbs[2].suspend();
    assert_eq!(ask(Partial::Allow { max: 1 }).await.unwrap_err().code(), Code::ShardPartial);
    four.dbs[0].suspend();
    four.dbs[3].suspend();
    let nobody = ask(Partial::Allow { max: 9 }).await.unwrap_err();
    assert_eq!(nobody.code(), Code::ShardPartial, "no answer at all is none");
    four.dbs.iter().for_each(Db::resume);
    assert_eq!(ask(Partial::Fail).await.unwrap().rows.len(), 4);
}

async fn a_bound_on_rows_holds_over_all_shards(four: &Four) {
    users(four, &["x"; 20]).await;
    let ask =
        |max| four.shards.scatter().query("SELECT id FROM users").rows_max(max).all::<(i64,)>();
    assert_eq!(ask(20).await.unwrap().rows.len(), 20);
    assert_eq!(ask(19).await.unwrap_err().code(), Code::ShardMerge);
}

async fn texts_are_in_the_order_of_bytes_or_refused(four: &Four) {
    // By letters a comes before B, by bytes after it.
    users(four, &["b", "B", "a", "\u{e9}", "Z", "_"]).await;
    let refused = "SELECT name FROM users ORDER BY name LIMIT 3";
    let (sql, grouped) = match four.engine() {
        Kind::Sqlite => (refused, "SELECT name, COUNT(*) FROM users GROUP BY name ORDER BY name"),
        Kind::Postgres => (
            "SELECT name FROM users ORDER BY name COLLATE \"C\" LIMIT 3",
            "SELECT name, COUNT(*) FROM users GROUP BY name ORDER BY name COLLATE \"C\"",
        ),
        Kind::MySql => (
            "SELECT name FROM users ORDER BY name COLLATE utf8mb4_bin LIMIT 3",
            "SELECT name COLLATE utf8mb4_bin AS n, COUNT(*) FROM users GROUP BY n ORDER BY n",
        ),
    };
    let found = four.shards.scatter().query(sql).all::<(String,)>().await.unwrap();
    assert_eq!(found.rows.iter().map(|(name,)| name.as_str()).collect::<Vec<_>>(), ["B", "Z", "_"]);
    let groups = four.shards.scatter().query(grouped).groups::<(String, i64)>().await.unwrap();
    let names: Vec<_> = groups.rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["B", "Z", "_", "a", "b", "\u{e9}"]);
    if four.engine() != Kind::Sqlite {
        let error = four.shards.scatter().query(refused).all::<(String,)>().await.unwrap_err();
        assert_eq!(error.code(), Code::ShardMerge);
        assert!(error.advice().contains("COLLATE"), "{error:?}");
        let least = four.shards.scatter().query("SELECT MIN(name) FROM users");
        assert_eq!(least.groups::<(String,)>().await.unwrap_err().code(), Code::ShardMerge);
    }
}

async fn groups_are_read_by_name(four: &Four) {
    users(four, &["ada", "bob", "cyd", "dan", "eve"]).await;
    let sql = "SELECT COUNT(*) AS users, SUM(points) AS points, AVG(points), MAX(id), MIN(points + 1) FROM users";
    let ask = || four.shards.scatter().query(sql).groups::<Group>();
    let found = ask().await.unwrap();
    let group = &found.rows[0];
    assert_eq!(group.get::<i64>("users").unwrap(), 5);
    assert_eq!(group.get::<i64>("points").unwrap(), 100);
    assert!((group.get::<f64>("AVG(points)").unwrap() - 20.0).abs() < 1e-9);
    assert_eq!((group.at::<i64>(3).unwrap(), group.at::<i64>(4).unwrap()), (4, 1));
    assert_eq!(group.get::<i64>("nothing").unwrap_err().code(), Code::ColumnMissing);
    assert_eq!(group.get::<String>("users").unwrap_err().code(), Code::Decode);
    four.script("DELETE FROM users").await;
    let empty = ask().await.unwrap();
    let group = &empty.rows[0];
    assert_eq!(group.get::<i64>("users").unwrap(), 0);
    assert_eq!(group.get::<Option<i64>>("points").unwrap(), None);
    assert_eq!(group.get::<Option<f64>>("AVG(points)").unwrap(), None);
    assert_eq!(group.get::<i64>("points").unwrap_err().code(), Code::Decode);
}

async fn an_error_of_the_statement_is_no_missing_shard(four: &Four) {
    users(four, &["ada"]).await;
    four.dbs[3].script("DROP TABLE users").await.unwrap();
    let question = four.shards.scatter().query("SELECT id FROM users");
    let error = question.partial(Partial::Allow { max: 3 }).all::<(i64,)>().await.unwrap_err();
    assert_eq!(error.code(), Code::Undefined);
    assert!(error.reason().unwrap().ends_with("on the shard d"), "{error:?}");
}

/// A column with an order of its own, which the statement does not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_another_order_are_not_merged() {
    let four = Four::new(crate::shard_support::Engine::Sqlite).await;
    four.script("CREATE TABLE words (word TEXT COLLATE NOCASE)").await;
    four.script("INSERT INTO words VALUES ('b'), ('A'), ('C')").await;
    let ask = |sql: &'static str| four.shards.scatter().query(sql).all::<(String,)>();
    let error = ask("SELECT word FROM words ORDER BY word").await.unwrap_err();
    assert_eq!(error.code(), Code::ShardMerge);
    let found = ask("SELECT word FROM words ORDER BY word COLLATE BINARY LIMIT 8").await.unwrap();
    assert_eq!(found.rows.last().unwrap().0, "C");
    four.end().await;
}
