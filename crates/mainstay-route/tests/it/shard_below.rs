//! The same code over our shards and over an engine that shards below one URL: here PostgreSQL itself, with a
//! partitioned table whose parts are on four other databases (Citus and Vitess are reached in the same way).

use mainstay_core::Code;
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_route::shard::Shards;
use mainstay_testkit::{Engine, Fresh};

use crate::shard_support::Four;

const PRODUCTS: &str = "CREATE TABLE products (id BIGINT PRIMARY KEY, name TEXT NOT NULL)";

/// What an application does, knowing nothing of which of the two it is on.
async fn application(shards: &Shards) {
    shards
        .everywhere(|db| async move {
            db.query("INSERT INTO products VALUES (1, 'tea')").execute().await
        })
        .await
        .unwrap();
    for user in 1..=60_i64 {
        let id = shards.id(&user).unwrap();
        let db = shards.of(&user).unwrap();
        db.transaction(|tx| async move {
            let insert = "INSERT INTO orders (id, user_id, cents) VALUES ($1, $2, $3)";
            tx.query(insert).bind(id).bind(user).bind(user * 100).execute().await?;
            let raise = "UPDATE orders SET cents = cents + 1 WHERE user_id = $1 AND id = $2";
            tx.query(raise).bind(user).bind(id).execute().await
        })
        .await
        .unwrap();
        let cents = "SELECT cents FROM orders WHERE user_id = $1 AND id = $2";
        let by_id = shards.of_id(id).unwrap();
        let by_id = by_id.query(cents).bind(user).bind(id);
        assert_eq!(by_id.scalar::<i64>().await.unwrap(), user * 100 + 1);
    }
    let best = shards
        .scatter()
        .query("SELECT user_id, cents FROM orders ORDER BY cents DESC LIMIT $1 OFFSET $2")
        .bind(2)
        .bind(1)
        .all::<(i64, i64)>()
        .await
        .unwrap();
    assert_eq!(best.rows, [(59, 5901), (58, 5801)]);
    let groups = shards
        .scatter()
        .query("SELECT user_id % 2 AS odd, COUNT(*), MAX(cents) FROM orders GROUP BY user_id % 2 ORDER BY 1")
        .groups::<(i64, i64, i64)>()
        .await
        .unwrap();
    assert_eq!(groups.rows, [(0, 30, 6001), (1, 30, 5901)]);
    let name = shards
        .any(|db| async move {
            db.query("SELECT name FROM products WHERE id = 1").scalar::<String>().await
        })
        .await;
    assert_eq!(name.unwrap(), "tea");
    assert_eq!(shards.of("").unwrap_err().code(), Code::ShardKeyMissing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_our_shards_on_postgres() {
    let four = Four::new(Engine::Postgres).await;
    four.script(PRODUCTS).await;
    four.script(
        "CREATE TABLE orders (id UUID PRIMARY KEY, user_id BIGINT NOT NULL, cents BIGINT NOT NULL)",
    )
    .await;
    application(&four.shards).await;
    let distinct = four.shards.scatter().query("SELECT DISTINCT cents FROM orders");
    assert_eq!(distinct.all::<(i64,)>().await.unwrap_err().code(), Code::ShardMerge);
    four.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_engine_that_shards_by_itself_on_postgres() {
    let mut parts = Vec::new();
    for _ in 0..4 {
        parts.push(Fresh::new(Engine::Postgres).await);
    }
    let fresh = Fresh::new(Engine::Postgres).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    db.script(PRODUCTS).await.unwrap();
    partitions(&db, &parts).await;

    let shards = Shards::coordinator(db.clone()).unwrap();
    application(&shards).await;
    // What only an engine can put together is its matter.
    let distinct = shards.scatter().query("SELECT COUNT(DISTINCT cents) AS prices, STDDEV(cents) > 0 AS spread FROM orders HAVING COUNT(*) > 1");
    let group = distinct.groups::<(i64, bool)>().await.unwrap();
    assert_eq!(group.rows, [(60, true)]);
    let window = shards
        .scatter()
        .query("SELECT rank() OVER (ORDER BY cents DESC) FROM orders WHERE user_id = 60");
    assert_eq!(window.all::<(i64,)>().await.unwrap().rows, [(1,)]);
    // The rows are on all parts.
    for part in &parts {
        let part = Db::connect(part.url()).await.unwrap();
        let count: i64 = part.query("SELECT COUNT(*) FROM orders").scalar().await.unwrap();
        assert!((5..=30).contains(&count), "a quarter, more or less: {count}");
        part.close(std::time::Duration::from_secs(5)).await.unwrap();
    }
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
    for part in parts {
        part.remove().await;
    }
}

/// Makes `orders` a table whose parts are on other databases, by the hash of the user.
async fn partitions(db: &Db, parts: &[Fresh]) {
    const TABLE: &str = "id UUID NOT NULL, user_id BIGINT NOT NULL, cents BIGINT NOT NULL";
    let run = |sql: String| async move { db.query(AssertSqlSafe(sql)).execute().await.unwrap() };
    run("CREATE EXTENSION postgres_fdw".to_owned()).await;
    run(format!("CREATE TABLE orders ({TABLE}) PARTITION BY HASH (user_id)")).await;
    for (n, fresh) in parts.iter().enumerate() {
        let part = Db::connect(fresh.url()).await.unwrap();
        let table = format!("CREATE TABLE orders ({TABLE}, PRIMARY KEY (id))");
        part.query(AssertSqlSafe(table)).execute().await.unwrap();
        part.close(std::time::Duration::from_secs(5)).await.unwrap();
        let (user, password, port, name) = pieces(fresh.url());
        for sql in [
            format!(
                "CREATE SERVER part{n} FOREIGN DATA WRAPPER postgres_fdw \
                 OPTIONS (host '127.0.0.1', port '{port}', dbname '{name}')"
            ),
            format!(
                "CREATE USER MAPPING FOR CURRENT_USER SERVER part{n} \
                 OPTIONS (user '{user}', password '{password}')"
            ),
            format!(
                "CREATE FOREIGN TABLE orders{n} PARTITION OF orders \
                 FOR VALUES WITH (MODULUS 4, REMAINDER {n}) SERVER part{n} OPTIONS (table_name 'orders')"
            ),
        ] {
            run(sql).await;
        }
    }
}

/// Of `postgres://user:password@127.0.0.1:port/name?...`.
fn pieces(url: &str) -> (&str, &str, &str, &str) {
    let rest = url.strip_prefix("postgres://").unwrap();
    let (user, rest) = rest.split_once(':').unwrap();
    let (password, rest) = rest.split_once("@127.0.0.1:").unwrap();
    let (port, rest) = rest.split_once('/').unwrap();
    (user, password, port, rest.split('?').next().unwrap())
}
