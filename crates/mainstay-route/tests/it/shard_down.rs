//! A shard that is down, and a question that is given up.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::Db;
use mainstay_route::shard::{Partial, Shards};
use mainstay_testkit::{Proxy, Weather};

use crate::shard_support::{Four, NAMES, all_back, builder, users};

/// The second shard is behind a proxy that can be down.
async fn down(four: &Four) {
    users(four, &["ada", "bob", "cyd", "dan"]).await;
    let (proxy, url) = Proxy::before(&four.urls()[1]).await.unwrap();
    let options =
        mainstay_pool::Options { acquire_timeout: Duration::from_secs(2), ..Default::default() };
    let through = Db::builder(&url).name("b").pool(options).connect().await.unwrap();
    let mut dbs = four.dbs.clone();
    dbs[1] = through.clone();
    let shards = builder(&dbs).build().unwrap();
    let ask = |partial: Partial| {
        let question = shards.scatter().query("SELECT id FROM users ORDER BY id DESC");
        question.partial(partial).all::<(i64,)>()
    };
    assert_eq!(ask(Partial::Fail).await.unwrap().rows.len(), 4);
    proxy.set(Weather::Down);
    let error = ask(Partial::Fail).await.unwrap_err();
    assert_eq!(
        (error.code(), error.what()),
        (Code::ShardPartial, "1 of 4 shards did not answer: b")
    );
    let found = ask(Partial::Allow { max: 1 }).await.unwrap();
    assert_eq!(found.rows, [(3,), (2,), (0,)]);
    assert_eq!(found.missing[0].1.code(), Code::ShardDown);
    let sum =
        shards.scatter().query("SELECT SUM(points) FROM users").partial(Partial::Allow { max: 1 });
    assert_eq!(sum.groups::<(i64,)>().await.unwrap().rows, [(50,)]);
    for _ in NAMES {
        let read =
            |db: Db| async move { db.query("SELECT COUNT(*) FROM users").scalar::<i64>().await };
        assert_eq!(shards.any(read).await.unwrap(), 1, "another is asked instead");
    }
    proxy.set(Weather::Fair);
    let again = || async {
        for _ in 0..200 {
            if ask(Partial::Fail).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    };
    assert!(again().await, "it is back");
    through.close(Duration::from_secs(5)).await.unwrap();
}

/// Each shard sleeps for as long as its row says.
async fn dropped(four: &Four, shards: &Shards, sql: &'static str) {
    four.script("CREATE TABLE naps (seconds BIGINT NOT NULL)").await;
    four.script("INSERT INTO naps VALUES (60)").await;
    let ask = shards.scatter().query(sql).all::<(i64,)>();
    let early = tokio::time::timeout(Duration::from_millis(300), ask).await;
    assert!(early.is_err(), "it was still asking: {early:?}");
    for db in &four.dbs {
        all_back(db).await;
    }
}

mod postgres {
    use super::*;
    use crate::shard_support::Engine;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_that_is_down_is_missing_or_fails_it() {
        let four = Four::new(Engine::Postgres).await;
        down(&four).await;
        four.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dropped_it_is_dropped_on_all_shards() {
        let four = Four::new(Engine::Postgres).await;
        let sql = "SELECT seconds FROM naps WHERE pg_sleep(seconds) IS NULL";
        dropped(&four, &four.shards, sql).await;
        let asleep = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(seconds)%' \
            AND datname = current_database() AND pid <> pg_backend_pid()";
        for db in &four.dbs {
            let count: i64 = db.query(asleep).scalar().await.unwrap();
            assert_eq!(count, 0, "the server works on for nobody");
        }
        four.end().await;
    }
}

mod mariadb {
    use super::*;
    use crate::shard_support::Engine;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_that_is_down_is_missing_or_fails_it() {
        let four = Four::new(Engine::MariaDb).await;
        down(&four).await;
        four.end().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dropped_it_is_dropped_on_all_shards() {
        let four = Four::new(Engine::MariaDb).await;
        let sql = "SELECT seconds FROM naps WHERE SLEEP(seconds) = 7";
        dropped(&four, &four.shards, sql).await;
        four.end().await;
    }
}
