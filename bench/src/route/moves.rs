//! A logical shard is moved, there and back, while it is written to: what is lost or doubled, and for how long its writers
//! wait. Beside it, what they would wait for a copy that shuts them out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use mainstay::route::Shards;
use mainstay::route::shard::moves::Mover;
use mainstay::route::shard::{Map, MapStore, ToKey};
use mainstay::{Db, Result};

use super::{chosen, millis, now, quantile, shown, since};
use crate::report::{Better, Case};
use crate::servers::{Engine, Fresh, connect, fresh};

/// There and back count as two.
const MOVES: u64 = 6;
const LOGICAL: u16 = 802;
/// Of the logical shard, and as many of others.
const USERS: usize = 200;
/// Of each user, before the first move.
const ROWS: i64 = 50;
const WRITERS: usize = 4;
/// Between two writes of one writer: as many come in, and not as many as can be.
const PAUSE: Duration = Duration::from_millis(2);
const CREATE: &str =
    "CREATE TABLE items (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, n BIGINT NOT NULL)";
const INSERT: &str = "INSERT INTO items (id, user_id, n) VALUES ($1, $2, 0)";

pub(super) async fn run() -> Vec<Case> {
    let moves = chosen("MAINSTAY_BENCH_MOVES", MOVES).max(1);
    let mut cases = Vec::new();
    for engine in [Engine::Postgres, Engine::MariaDb] {
        cases.extend(on(engine, moves).await);
    }
    cases
}

/// Two shards and a catalogue; all is on the first.
struct Two {
    _fresh: Vec<Fresh>,
    dbs: [Db; 2],
    shards: Shards,
    store: MapStore,
    users: Vec<i64>,
}

impl Two {
    async fn new(engine: Engine) -> Self {
        let all = [fresh(engine).await, fresh(engine).await, fresh(engine).await];
        let store = MapStore::new(connect(&all[2]).await);
        store.create().await.expect("a new table");
        let map = Map::hash([("a", 0..4096)]).and_then(|map| map.with_empty("b", None));
        let map = store.save(&map.expect("a map"), 0).await.expect("it is the first");
        let dbs = [connect(&all[0]).await, connect(&all[1]).await];
        for db in &dbs {
            db.script(CREATE).await.expect("a new table");
        }
        let is_own = |user: &i64| user.to_key().logical() == LOGICAL;
        let users: Vec<i64> = (1..).filter(is_own).take(USERS).collect();
        let others = (1..).filter(|user| !is_own(user)).take(USERS);
        let rows: Vec<_> = users
            .iter()
            .copied()
            .chain(others)
            .flat_map(|user| (0..ROWS).map(move |n| (user * ROWS + n, user, 0_i64)))
            .collect();
        dbs[0].bulk_insert("items", &["id", "user_id", "n"], rows).await.expect("new rows");
        let shards = shards(&dbs, map);
        Self { _fresh: all.into(), dbs, shards, store, users }
    }

    /// Ids of the logical shard's rows in one database.
    async fn ids(&self, at: usize) -> BTreeSet<i64> {
        let rows = self.dbs[at].query("SELECT id, user_id FROM items").all::<(i64, i64)>();
        let rows = rows.await.expect("its rows");
        let own = rows.into_iter().filter(|(_, user)| user.to_key().logical() == LOGICAL);
        own.map(|(id, _)| id).collect()
    }
}

fn shards(dbs: &[Db; 2], map: Map) -> Shards {
    let builder = Shards::builder(map).shard("a", dbs[0].clone()).shard("b", dbs[1].clone());
    builder.build().expect("both have a database")
}

async fn on(engine: Engine, moves: u64) -> Vec<Case> {
    let two = Two::new(engine).await;
    let before = two.ids(0).await;
    let shut_out = copied(&two).await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(1 << 40)));
    let writer = |_| {
        // Each with a handle of its own, as processes have.
        let shards = shards(&two.dbs, two.shards.map());
        shards.watch(two.store.clone(), Duration::from_secs(3600));
        tokio::spawn(write(shards, two.users.clone(), Arc::clone(&next), Arc::clone(&stop)))
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    let mover = Mover::new(two.shards.clone(), two.store.clone()).table("items", &["user_id"]);
    let mover = mover.grace(Duration::ZERO);
    let (mut pauses, mut took) = (Vec::new(), Vec::new());
    for n in 0..moves {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = now();
        let done = mover.start(LOGICAL, if n % 2 == 0 { "b" } else { "a" }).await;
        let done = done.unwrap_or_else(|e| panic!("{}", e.report()));
        took.push(millis(since(begun)));
        pauses.push(millis(done.pause));
        tokio::time::sleep(Duration::from_millis(100)).await;
        mover.finish(LOGICAL).await.unwrap_or_else(|e| panic!("{}", e.report()));
    }
    stop.store(true, SeqCst);
    let (mut expected, mut longest) = (before, Duration::ZERO);
    for writer in writers {
        let (wrote, its) =
            writer.await.expect("no panic").unwrap_or_else(|e| panic!("{}", e.report()));
        expected.extend(wrote);
        longest = longest.max(its);
    }
    let (there, elsewhere) = ((moves % 2) as usize, ((moves + 1) % 2) as usize);
    let (found, doubled) = (two.ids(there).await, two.ids(elsewhere).await);
    let wrong = found.symmetric_difference(&expected).count() + doubled.len();
    let of = format!("of {moves} moves of a logical shard, {}", engine.name());
    let rows = shown(expected.len() as u64);
    vec![
        Case::new(
            format!("rows lost or doubled of {rows}, {of}"),
            "count",
            Better::Lower,
            wrong as f64,
        ),
        Case::new(
            format!("writes kept waiting, longest {of}"),
            "ms",
            Better::Lower,
            quantile(&mut pauses, 1.0),
        )
        .peer("writers shut out while it is copied", shut_out),
        Case::new(format!("longest write under way, {of}"), "ms", Better::Lower, millis(longest)),
        Case::new(format!("a move, median {of}"), "ms", Better::Lower, quantile(&mut took, 0.5)),
    ]
}

/// How long it takes to read the logical shard's rows and to write them elsewhere, with nobody writing.
async fn copied(two: &Two) -> f64 {
    let begun = now();
    let rows = two.dbs[0].query("SELECT id, user_id, n FROM items").all::<(i64, i64, i64)>();
    let rows = rows.await.expect("its rows");
    let own = rows.into_iter().filter(|(_, user, _)| user.to_key().logical() == LOGICAL);
    two.dbs[1].bulk_insert("items", &["id", "user_id", "n"], own).await.expect("new rows");
    let took = millis(since(begun));
    two.dbs[1].query("DELETE FROM items").execute().await.expect("they go again");
    took
}

/// What was acknowledged, and the longest write.
async fn write(
    shards: Shards,
    users: Vec<i64>,
    next: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
) -> Result<(Vec<i64>, Duration)> {
    let (mut wrote, mut longest) = (Vec::new(), Duration::ZERO);
    while !stop.load(SeqCst) {
        let (id, user) = (next.fetch_add(1, SeqCst), users[fastrand::usize(..users.len())]);
        let insert = |db: Db| async move {
            db.transaction(|tx| async move {
                tx.query(INSERT).bind(id).bind(user).execute().await.map(drop)
            })
            .await
        };
        let begun = now();
        shards.run(&user, insert).await?;
        longest = longest.max(since(begun));
        wrote.push(id);
        tokio::time::sleep(PAUSE).await;
    }
    Ok((wrote, longest))
}
