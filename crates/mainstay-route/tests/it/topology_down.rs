//! A topology some of whose servers are down, refuse, or follow.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::token::Tokens;
use mainstay_db::Db;
use mainstay_route::topology::Database;
use mainstay_route::{Databases, Role, Topology};
use mainstay_testkit::{Cluster, Fresh, Proxy, Weather};

use crate::shard_support::Engine;
use crate::topology::until;

const ORDERS: &str = "CREATE TABLE orders (user_id BIGINT NOT NULL, cents BIGINT NOT NULL)";

/// Of each shard a key that is on it.
fn keys(all: &Databases) -> [i64; 2] {
    let map = all.shards().map();
    ["a", "b"].map(|name| (0..1000).find(|key: &i64| map.shard_of(key).unwrap() == name).unwrap())
}

async fn insert(all: &Databases, user: i64) -> mainstay_core::Result<u64> {
    let db = all.shards().of(&user).unwrap();
    let sql = "INSERT INTO orders (user_id, cents) VALUES ($1, 5)";
    db.query(sql).bind(user).execute().await.map(|done| done.rows_affected())
}

async fn count(db: &Db) -> i64 {
    db.query("SELECT COUNT(*) FROM orders").scalar().await.unwrap()
}

/// Shards that are down at the start, one alone and one with a replica, do not stop the others, and are used later.
async fn a_shard_that_is_down_is_begun_without(engine: Engine) {
    let (main, a) = (Fresh::new(engine).await, Fresh::new(engine).await);
    let servers = Cluster::shared(engine);
    let database = servers.database().await;
    let (alone, alone_url) = Proxy::before(a.url()).await.unwrap();
    let (primary, primary_url) = Proxy::before(&servers.primary().url(&database)).await.unwrap();
    let (replica, replica_url) = Proxy::before(&servers.replica(0).url(&database)).await.unwrap();
    let mut topology = Topology { database: Database::at(main.url()), ..Topology::default() };
    let b = Database { replicas: vec![replica_url], ..Database::at(primary_url) };
    let with =
        |url: &str| [("a".to_owned(), Database::at(url)), ("b".to_owned(), b.clone())].into();
    topology.shards.databases = with(&alone_url);

    for proxy in [&alone, &primary, &replica] {
        proxy.set(Weather::Down);
    }
    let all = topology.connect().await.unwrap();
    let [on_a, on_b] = keys(&all);
    let error = insert(&all, on_b).await.unwrap_err();
    assert_eq!((error.code(), error.what()), (Code::ShardDown, "the shard b does not answer"));
    assert!(error.report().contains("no server of cluster `b` answers"), "{error:?}");
    assert!(insert(&all, on_a).await.is_err());
    assert!(all.status()[2].why.is_some(), "{:?}", all.status());
    assert!(all.cluster("b").unwrap().is_none());

    for proxy in [&alone, &primary, &replica] {
        proxy.set(Weather::Fair);
    }
    for name in ["a", "b"] {
        let db = all.primary(name).unwrap();
        until("the shard is there", async || db.script("SELECT 1").await.is_ok()).await;
        db.script(ORDERS).await.unwrap();
    }
    assert_eq!((insert(&all, on_a).await.unwrap(), insert(&all, on_b).await.unwrap()), (1, 1));
    assert_eq!(count(&all.shards().of(&on_b).unwrap()).await, 1, "it reads what it wrote");
    let servers = &all.status()[2].servers;
    assert_eq!(servers.iter().filter(|s| s.role == Role::Primary).count(), 1, "{servers:?}");
    all.close(Duration::from_secs(10)).await.unwrap();

    // One that refuses is a mistake, and the others would hide it.
    let (_, rest) = a.url().split_once('@').unwrap();
    let scheme = a.url().split_once(':').unwrap().0;
    topology.shards.databases = with(&format!("{scheme}://nobody:hunter2@{rest}"));
    let error = topology.connect().await.unwrap_err();
    assert!(error.what().starts_with("`shards.databases.a`: "), "{error:?}");
    assert!(!error.report().contains("hunter2"), "{error:?}");
    // So is a main database that is not there.
    alone.set(Weather::Down);
    topology.database = Database::at(alone_url.as_str());
    let error = topology.connect().await.unwrap_err();
    assert!(error.what().starts_with("`database`: "), "{error:?}");
    main.remove().await;
    a.remove().await;
}

/// What one request wrote is read by the next one, which is told so by text, as between processes.
async fn a_request_sees_what_another_wrote(engine: Engine) {
    let servers = Cluster::shared(engine);
    let database = servers.database().await;
    let replicas = servers.replicas().iter().map(|r| r.url(&database)).collect();
    let url = servers.primary().url(&database);
    let topology =
        Topology { database: Database { replicas, ..Database::at(url) }, ..Topology::default() };
    let (writer, reader) = (topology.connect().await.unwrap(), topology.connect().await.unwrap());
    writer.main().script(ORDERS).await.unwrap();
    let request = || Scope::new(Kind::Request, "GET /orders");
    for n in 1..=100_i64 {
        let work = async {
            let insert = |tx: Db| async move {
                tx.query("INSERT INTO orders VALUES (1, 5)").execute().await
            };
            writer.main().transaction(insert).await.unwrap();
            Scope::current().unwrap().tokens().await.to_string()
        };
        let token = request().run(work).await;
        let seen = request().run(async {
            let scope = Scope::current().unwrap();
            token.parse::<Tokens>().unwrap().iter().for_each(|token| scope.observe(token));
            count(&reader.main()).await
        });
        assert_eq!(seen.await, n);
    }
    let roles: Vec<Role> = writer.status()[0].servers.iter().map(|s| s.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Replica, Role::Replica]);
    assert_eq!(count(&writer.primary("main").unwrap()).await, 100);
    writer.close(Duration::from_secs(10)).await.unwrap();
    reader.close(Duration::from_secs(10)).await.unwrap();
}

crate::on_servers!(a_shard_that_is_down_is_begun_without, a_request_sees_what_another_wrote);
