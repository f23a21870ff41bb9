//! Four fresh databases as shards, and one more with all of their rows.

use mainstay_db::{Db, Engine as Kind};
use mainstay_route::shard::{Builder, Map, Shards};
pub use mainstay_testkit::Engine;
use mainstay_testkit::Fresh;

/// Makes each function a test on every engine, in a module named after it.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        on_every_engine!(@engine sqlite Sqlite $($name)*);
        on_every_engine!(@engine postgres Postgres $($name)*);
        on_every_engine!(@engine mariadb MariaDb $($name)*);
    };
    (@engine $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let four = crate::shard_support::Four::new(crate::shard_support::Engine::$engine).await;
                    super::$name(&four).await;
                    four.end().await;
                }
            )*
        }
    };
}
pub(crate) use on_every_engine;

pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Four shards.
pub struct Four {
    fresh: Vec<Fresh>,
    pub dbs: Vec<Db>,
    pub shards: Shards,
}

impl Four {
    pub async fn new(engine: Engine) -> Self {
        let (mut fresh, mut dbs) = (Vec::new(), Vec::new());
        for name in NAMES {
            let one = Fresh::new(engine).await;
            dbs.push(Db::builder(one.url()).name(name).connect().await.unwrap());
            fresh.push(one);
        }
        let shards = builder(&dbs).reference(&["products"]).build().unwrap();
        Self { fresh, dbs, shards }
    }

    pub fn engine(&self) -> Kind {
        self.shards.engine()
    }

    pub fn urls(&self) -> Vec<String> {
        self.fresh.iter().map(|fresh| fresh.url().to_owned()).collect()
    }

    pub async fn script(&self, sql: &'static str) {
        self.shards.everywhere(|db| async move { db.script(sql).await }).await.unwrap();
    }

    /// Looks whether all connections came back.
    pub async fn end(self) {
        for db in &self.dbs {
            all_back(db).await;
            db.close(std::time::Duration::from_secs(5)).await.unwrap();
        }
        for fresh in self.fresh {
            fresh.remove().await;
        }
    }
}

pub fn builder(dbs: &[Db]) -> Builder {
    let builder = Shards::builder(Map::even(NAMES).unwrap());
    NAMES.iter().zip(dbs).fold(builder, |builder, (name, db)| builder.shard(name, db.clone()))
}

pub async fn all_back(db: &Db) {
    for _ in 0..5000 {
        if db.status().in_use == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("connections are still out: {:?}", db.status());
}

const USERS: &str =
    "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL, points BIGINT)";

/// Users, in turns on the shards whatever their keys.
pub async fn users(four: &Four, names: &[&str]) {
    four.script(USERS).await;
    for (id, name) in (0_i64..).zip(names) {
        let insert = "INSERT INTO users (id, name, points) VALUES ($1, $2, $3)";
        let db = &four.dbs[id as usize % 4];
        db.query(insert).bind(id).bind(*name).bind(id * 10).execute().await.unwrap();
    }
}
