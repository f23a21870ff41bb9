//! Two shards and a catalogue, with users and their orders.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_db::{Db, Engine as Kind};
use mainstay_route::shard::moves::Mover;
use mainstay_route::shard::{Map, MapStore, Shards, ToKey};
use mainstay_testkit::{Engine, Fresh};

pub const LOGICAL: u16 = 802;

/// Two databases `a` and `b` of one engine, all of the hash on `a`, and a catalogue.
pub struct Two {
    fresh: Vec<Fresh>,
    pub a: Db,
    pub b: Db,
    pub catalogue: Db,
    pub shards: Shards,
    pub store: MapStore,
}

impl Two {
    pub async fn new(engine: Engine) -> Self {
        let map = Map::hash([("a", 0..4096)]).unwrap().with_empty("b", None).unwrap();
        Self::with(engine, map).await
    }

    pub async fn with(engine: Engine, map: Map) -> Self {
        let (mut fresh, mut dbs) = (Vec::new(), Vec::new());
        for name in ["a", "b", "catalogue"] {
            let one = Fresh::new(engine).await;
            dbs.push(Db::builder(one.url()).name(name).connect().await.unwrap());
            fresh.push(one);
        }
        let store = MapStore::new(dbs[2].clone());
        store.create().await.unwrap();
        let map = store.save(&map, 0).await.unwrap();
        let shards = shards(&dbs, map);
        shards.watch(store.clone(), Duration::from_secs(3600));
        let [a, b, catalogue] = dbs.try_into().unwrap();
        Self { fresh, a, b, catalogue, shards, store }
    }

    pub fn urls(&self) -> String {
        self.fresh.iter().map(Fresh::url).collect::<Vec<_>>().join(" ")
    }

    /// With their tables, on both.
    pub async fn orders(engine: Engine) -> Self {
        let two = Self::new(engine).await;
        for db in [&two.a, &two.b] {
            db.script(USERS).await.unwrap();
            db.script(if db.engine() == Kind::Postgres { ORDERS_POSTGRES } else { ORDERS_MARIADB })
                .await
                .unwrap();
        }
        two
    }

    pub fn mover(&self) -> Mover {
        mover(&self.shards, &self.store)
    }

    /// Another process's handle, that does not look for newer maps.
    pub fn stale(&self) -> Shards {
        shards(&[self.a.clone(), self.b.clone()], self.shards.map())
    }

    /// So many users of the logical shard, and as many of others, with two orders each.
    pub async fn fill(&self, users: usize) -> Vec<i64> {
        let own = keys(LOGICAL, users);
        let others: Vec<i64> =
            (1..).filter(|n: &i64| n.to_key().logical() != LOGICAL).take(users).collect();
        let both = own.iter().chain(&others).copied().collect::<Vec<_>>();
        let fill = |tx: Db| {
            let both = both.clone();
            async move {
                for user in both {
                    tx.query("INSERT INTO users (id, name) VALUES ($1, 'Zo\u{eb}')")
                        .bind(user)
                        .execute()
                        .await?;
                    for n in 0..2 {
                        order(&tx, user * 100 + n, user, 500 + n).await;
                    }
                }
                Ok(())
            }
        };
        self.a.transaction(fill).await.unwrap();
        own
    }

    pub async fn end(self) {
        for db in [&self.a, &self.b, &self.catalogue] {
            crate::shard_support::all_back(db).await;
            db.close(Duration::from_secs(5)).await.unwrap();
        }
        for fresh in self.fresh {
            fresh.remove().await;
        }
    }
}

pub fn shards(dbs: &[Db], map: Map) -> Shards {
    let [a, b] = [0, 1].map(|at: usize| dbs[at].clone());
    Shards::builder(map).shard("a", a).shard("c", b.clone()).shard("b", b).build().unwrap()
}

pub fn mover(shards: &Shards, store: &MapStore) -> Mover {
    Mover::new(shards.clone(), store.clone())
        .table("users", &["id"])
        .table("orders", &["user_id"])
        .chunk(64)
        .lease(Duration::from_millis(200))
        .grace(Duration::ZERO)
}

/// The first keys of a logical shard.
pub fn keys(logical: u16, count: usize) -> Vec<i64> {
    (1..).filter(|n: &i64| n.to_key().logical() == logical).take(count).collect()
}

const USERS: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL)";
const ORDERS_POSTGRES: &str = "CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL REFERENCES users, \
    cents BIGINT NOT NULL, twice BIGINT GENERATED ALWAYS AS (cents * 2) STORED, note TEXT)";
const ORDERS_MARIADB: &str = "CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, cents BIGINT NOT NULL, \
    twice BIGINT GENERATED ALWAYS AS (cents * 2) STORED, note TEXT, FOREIGN KEY (user_id) REFERENCES users (id))";

pub async fn order(db: &Db, id: i64, user: i64, cents: i64) {
    let sql = "INSERT INTO orders (id, user_id, cents, note) VALUES ($1, $2, $3, NULL)";
    db.query(sql).bind(id).bind(user).bind(cents).execute().await.unwrap();
}

/// The orders of the logical shard: their users and cents.
pub async fn orders(db: &Db) -> BTreeMap<i64, (i64, i64)> {
    let rows: Vec<(i64, i64, i64)> =
        db.query("SELECT id, user_id, cents FROM orders").all().await.unwrap();
    let own = rows.into_iter().filter(|(_, user, _)| user.to_key().logical() == LOGICAL);
    own.map(|(id, user, cents)| (id, (user, cents))).collect()
}

pub async fn count(db: &Db, table: &'static str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    db.query(mainstay_db::AssertSqlSafe(sql)).scalar().await.unwrap()
}

/// Nothing of a move is left on either side.
pub async fn nothing_left(two: &Two) {
    for db in [&two.a, &two.b] {
        for table in ["mainstay_shard_log", "mainstay_shard_fence", "mainstay_shard_mover"] {
            assert_eq!(count(db, table).await, 0, "{table} on {}", db.name());
        }
        let sql = if db.engine() == Kind::Postgres {
            "SELECT (SELECT COUNT(*) FROM pg_trigger WHERE tgname LIKE 'mainstay%') \
             + (SELECT COUNT(*) FROM pg_proc WHERE proname LIKE 'mainstay_move%')"
        } else {
            "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
        };
        assert_eq!(db.query(sql).scalar::<i64>().await.unwrap(), 0, "triggers on {}", db.name());
    }
}
