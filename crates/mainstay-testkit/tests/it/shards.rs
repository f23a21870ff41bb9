//! Shards are databases that share nothing.

use mainstay_testkit::{Engine, Shards};

use crate::sql::sql;

async fn nothing_is_shared(shards: &Shards) {
    for url in shards.urls() {
        // Fails where the table is there already.
        sql(url, "CREATE TABLE t (n BIGINT PRIMARY KEY)").await.unwrap();
    }
}

mod postgres {
    use super::*;

    #[tokio::test]
    async fn four_shards_on_one_server() {
        let shards = Shards::fresh(Engine::Postgres, 4).await;
        assert_eq!(shards.urls().len(), 4);
        nothing_is_shared(&shards).await;
    }

    #[tokio::test]
    async fn one_of_two_servers_fails_alone() {
        let shards = Shards::separate(Engine::Postgres, 2, 0).await;
        nothing_is_shared(&shards).await;
        shards.server(0).primary().kill().await;
        sql(&shards.urls()[0], "SELECT 1::bigint").await.unwrap_err();
        assert_eq!(sql(&shards.urls()[1], "SELECT 1::bigint").await.unwrap(), [1]);
    }
}

mod mariadb {
    use super::*;

    #[tokio::test]
    async fn four_shards_on_one_server() {
        let shards = Shards::fresh(Engine::MariaDb, 4).await;
        assert_eq!(shards.urls().len(), 4);
        nothing_is_shared(&shards).await;
    }
}
