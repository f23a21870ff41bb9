//! Keys, ids, maps, reference tables and work on all shards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::{Code, Error};
use mainstay_db::{Db, Engine as Kind};
use mainstay_route::shard::{Map, MapStore, POSTGRES_LOGICAL, Shards, ToKey};
use uuid::Uuid;

use crate::shard_support::{Four, NAMES, builder, on_every_engine};

on_every_engine!(
    rows_are_found_by_their_key_and_by_their_id,
    the_logical_shard_is_the_same_in_sql,
    a_reference_table_is_on_all_and_read_from_any,
    a_migration_that_failed_on_one_shard_goes_on_there,
    the_map_is_shared_through_a_catalogue,
);

async fn rows_are_found_by_their_key_and_by_their_id(four: &Four) {
    four.script("CREATE TABLE orders (id CHAR(36) PRIMARY KEY, user_id BIGINT NOT NULL)").await;
    let shards = &four.shards;
    let mut ids = Vec::new();
    for user in 0..200_i64 {
        let id = shards.id(&user).unwrap();
        let db = shards.of(&user).unwrap();
        let insert = "INSERT INTO orders (id, user_id) VALUES ($1, $2)";
        db.query(insert).bind(id.to_string()).bind(user).execute().await.unwrap();
        ids.push((id, user));
    }
    for (id, user) in &ids {
        for db in [shards.of(user).unwrap(), shards.of_id(*id).unwrap()] {
            let found = db.query("SELECT user_id FROM orders WHERE id = $1").bind(id.to_string());
            assert_eq!(found.scalar::<i64>().await.unwrap(), *user);
        }
    }
    for db in &four.dbs {
        let count: i64 = db.query("SELECT COUNT(*) FROM orders").scalar().await.unwrap();
        assert!((20..=80).contains(&count), "a quarter, more or less: {count}");
    }
    let all = shards.scatter().query("SELECT COUNT(*) FROM orders").groups::<(i64,)>().await;
    assert_eq!(all.unwrap().rows, [(200,)]);
    assert_eq!(shards.of_id(Uuid::nil()).unwrap_err().code(), Code::ShardId);
}

async fn the_logical_shard_is_the_same_in_sql(four: &Four) {
    let sql = match four.engine() {
        // It has no such function.
        Kind::Sqlite => return,
        Kind::Postgres => {
            four.dbs[0].script(POSTGRES_LOGICAL).await.unwrap();
            "SELECT CAST(mainstay_logical($1) AS BIGINT)"
        }
        Kind::MySql => "SELECT CAST(CRC32($1) >> 20 AS SIGNED)",
    };
    let id = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_dead_beef);
    let pair = ("DE", 42_i64);
    let keys = [
        7_i64.to_key(),
        i64::MIN.to_key(),
        "Zo\u{eb} \u{1f980}".to_key(),
        id.to_key(),
        pair.to_key(),
        "".to_key(),
    ];
    for key in &keys {
        let text = String::from_utf8(key.bytes().to_vec()).unwrap();
        let there: i64 = four.dbs[0].query(sql).bind(text.as_str()).scalar().await.unwrap();
        assert_eq!(there, i64::from(key.logical()), "{text:?}");
    }
}

async fn a_reference_table_is_on_all_and_read_from_any(four: &Four) {
    four.script("CREATE TABLE products (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL)").await;
    let shards = &four.shards;
    let insert = |db: Db| async move {
        let sql = "INSERT INTO products (id, name) VALUES (1, 'tea')";
        db.query(sql).execute().await
    };
    let done = shards.everywhere(insert).await.unwrap();
    assert_eq!(
        done.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
    let seen = std::sync::Mutex::new(BTreeSet::new());
    for _ in 0..8 {
        let read = |db: Db| {
            seen.lock().unwrap().insert(db.name().to_owned());
            async move { db.query("SELECT name FROM products WHERE id = 1").scalar::<String>().await }
        };
        assert_eq!(shards.any(read).await.unwrap(), "tea");
    }
    assert_eq!(seen.into_inner().unwrap().len(), 4, "they take turns");
    let error =
        shards.scatter().query("SELECT id FROM products").all::<(i64,)>().await.unwrap_err();
    assert_eq!(error.code(), Code::ShardMerge);

    // On the third it is there already.
    four.dbs[2].query("INSERT INTO products (id, name) VALUES (2, 'ink')").execute().await.unwrap();
    let insert = |db: Db| async move {
        db.query("INSERT INTO products (id, name) VALUES (2, 'ink')").execute().await
    };
    let error = shards.everywhere(insert).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::ShardPartial, Some("it is done on a, b")));
    assert!(error.what().contains("not done on c"), "{error}");
    let error = shards.everywhere(insert).await.unwrap_err();
    assert_ne!(error.code(), Code::ShardPartial, "the first has it, and nothing was done: {error}");
}

async fn a_migration_that_failed_on_one_shard_goes_on_there(four: &Four) {
    // In the way of the second step.
    four.dbs[2].script("CREATE TABLE things (wrong BIGINT)").await.unwrap();
    let runs = AtomicUsize::new(0);
    let migrate = |_: String, db: Db| {
        runs.fetch_add(1, SeqCst);
        async move {
            db.script("CREATE TABLE IF NOT EXISTS done (step BIGINT PRIMARY KEY)").await?;
            let steps = db.query("SELECT COUNT(*) FROM done").scalar::<i64>().await?;
            if steps == 0 {
                db.script("CREATE TABLE things (id BIGINT)").await?;
                db.query("INSERT INTO done (step) VALUES (1)").execute().await?;
            }
            Ok(steps == 0)
        }
    };
    four.shards.add("e", four.dbs[0].clone()).unwrap();
    let all = four.shards.each(|_, _| async { Ok(()) }).also_unmapped().report().await;
    assert_eq!(all.to_string(), "done: a, b, c, d, e\n");
    let error = four.shards.each(migrate).fan_out(2).run().await.unwrap_err();
    assert_eq!(error.code(), Code::ShardMigration);
    let why = error.reason().unwrap();
    assert!(why.starts_with("done: a, b, d\nfailed: c: "), "{why}");
    assert_eq!(runs.load(SeqCst), 4);

    four.dbs[2].script("DROP TABLE things").await.unwrap();
    let done = four.shards.each(migrate).run().await.unwrap();
    let fresh: Vec<_> =
        done.iter().filter(|(_, fresh)| *fresh).map(|(name, _)| name.as_str()).collect();
    assert_eq!(fresh, ["c"], "those done were left alone");
}

async fn the_map_is_shared_through_a_catalogue(four: &Four) {
    let store = MapStore::new(four.dbs[0].clone());
    store.create().await.unwrap();
    store.create().await.unwrap();
    assert_eq!(store.load().await.unwrap(), None);
    let map = store.save(&four.shards.map(), 0).await.unwrap();
    assert_eq!(map.epoch(), 1);

    let tries = (0..6).map(|n| {
        let next = map.pin(&n, "b").unwrap();
        let (store, map) = (&store, &map);
        async move { store.save(&next, map.epoch()).await }
    });
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(
        outcomes.iter().filter(|o| o.is_ok()).count(),
        1,
        "one of those that expect the same"
    );
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.code(), Code::ShardStale, "{error:?}");
    }
    assert_eq!(store.save(&map, 7).await.unwrap_err().code(), Code::ShardStale);

    four.shards.watch(store.clone(), Duration::from_millis(5));
    let pinned = store.load().await.unwrap().unwrap().pin("acme", "d").unwrap();
    store.save(&pinned, 2).await.unwrap();
    for _ in 0..2000 {
        if four.shards.epoch() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(four.shards.of("acme").unwrap().name(), "d");
    let error = four.shards.replace_map(map).unwrap_err();
    assert_eq!(error.code(), Code::ShardStale);
}

/// Handles that never connect to anything but memory.
async fn memory() -> Vec<Db> {
    let mut dbs = Vec::new();
    for name in NAMES {
        dbs.push(Db::builder("sqlite::memory:").name(name).connect().await.unwrap());
    }
    dbs
}

#[tokio::test]
async fn a_map_names_no_shard_without_a_database() {
    let dbs = memory().await;
    let missing =
        Shards::builder(Map::even(["a", "b"]).unwrap()).shard("a", dbs[0].clone()).build();
    let error = missing.unwrap_err();
    assert_eq!(error.code(), Code::ShardMap);
    assert!(error.what().contains("\"b\""), "{error}");
    let shards = builder(&dbs[..]).build().unwrap();
    let more = shards.map().with("e").unwrap();
    assert_eq!(shards.replace_map(more.clone()).unwrap_err().code(), Code::ShardMap);
    assert_eq!(shards.epoch(), 1, "the old one stays");
    shards.add("e", dbs[0].clone()).unwrap();
    shards.replace_map(more).unwrap();
    assert_eq!(shards.names(), ["a", "b", "c", "d", "e"]);
    assert_eq!(shards.add("e", dbs[0].clone()).unwrap_err().code(), Code::ShardMap);
}

#[tokio::test]
async fn an_id_leads_to_where_its_logical_shard_is_now() {
    let dbs = memory().await;
    let shards = builder(&dbs).build().unwrap();
    let key = 42_i64;
    let id = shards.id(&key).unwrap();
    assert_eq!(Shards::logical_of_id(id).unwrap(), key.to_key().logical());
    for name in NAMES {
        let map = shards.map().assign(key.to_key().logical(), name).unwrap();
        shards.replace_map(map).unwrap();
        assert_eq!(shards.of_id(id).unwrap().name(), name);
        assert_eq!(shards.of(&key).unwrap().name(), name);
    }
    let pinned = shards.map().pin("acme", "c").unwrap();
    shards.replace_map(pinned).unwrap();
    let id = shards.id(&("acme", 1)).unwrap();
    assert_eq!(shards.of_id(id).unwrap().name(), "c");
    shards.replace_map(shards.map().unpin("acme").unwrap()).unwrap();
    assert_eq!(shards.of_id(id).unwrap_err().code(), Code::ShardId);
}

#[tokio::test]
async fn work_is_on_as_many_shards_as_said_and_stops_when_told() {
    let dbs = memory().await;
    let shards = builder(&dbs).build().unwrap();
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |_: String, _: Db| {
        let (running, most) = (&running, &most);
        async move {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, SeqCst);
            Ok(())
        }
    };
    shards.each(work).fan_out(2).run().await.unwrap();
    assert_eq!(most.load(SeqCst), 2);
    let report = shards
        .each(|name, _| async move { if name == "b" { Err(Error::user("no")) } else { Ok(()) } })
        .fan_out(1)
        .stop_on_error()
        .report()
        .await;
    assert_eq!(report.to_string(), "done: a\nfailed: b: no\nnot begun: c, d\n");
    assert_eq!(report.into_result().unwrap_err().code(), Code::ShardMigration);
}

#[tokio::test]
async fn the_watcher_ends_with_the_last_handle() {
    let dbs = memory().await;
    let (clock, hand) = mainstay_core::clock::Clock::manual();
    let store = MapStore::new(dbs[0].clone());
    store.create().await.unwrap();
    let shards = builder(&dbs).clock(clock).build().unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    shards.watch(store, Duration::from_secs(1));
    assert_eq!(metrics.num_alive_tasks(), before + 1);
    // It waits for its first turn.
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(shards);
    hand.advance(Duration::from_secs(2));
    for _ in 0..1000 {
        if metrics.num_alive_tasks() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it is still watching");
}
