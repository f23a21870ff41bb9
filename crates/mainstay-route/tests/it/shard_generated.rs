//! Generated questions: the answer of four shards is that of one database with all the rows.

use mainstay_db::Db;
use mainstay_testkit::Fresh;

use crate::shard_support::{Engine, Four};
use crate::shard_world::World;

async fn generated(engine: Engine, count: usize) {
    for seed in 0..2 {
        let (four, fresh) = (Four::new(engine).await, Fresh::new(engine).await);
        let one = Db::connect(fresh.url()).await.unwrap();
        let mut world = World::new(four.shards.clone(), one.clone(), seed).await;
        for _ in 0..count / 2 {
            world.compare().await.unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        one.close(std::time::Duration::from_secs(5)).await.unwrap();
        four.end().await;
        fresh.remove().await;
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn four_shards_answer_as_one_database() {
        generated(Engine::Sqlite, 2_000).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn four_shards_answer_as_one_database() {
        generated(Engine::Postgres, 400).await;
    }
}

mod mariadb {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn four_shards_answer_as_one_database() {
        generated(Engine::MariaDb, 400).await;
    }
}
