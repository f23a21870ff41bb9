//! What is written, where it arrives, and what a fault does to that.

use std::time::Duration;

use mainstay_testkit::{Cluster, Engine, Member};

use crate::sql::sql;

const HOUR: Duration = Duration::from_secs(3600);

/// An empty table `t` on the primary and on the replicas.
async fn table(cluster: &Cluster) -> String {
    let database = cluster.database().await;
    let url = cluster.primary().url(&database);
    sql(&url, "CREATE TABLE t (n BIGINT PRIMARY KEY)").await.unwrap();
    cluster.caught_up().await;
    database
}

async fn insert(member: &Member, database: &str, n: i64) -> Result<Vec<i64>, String> {
    sql(&member.url(database), &format!("INSERT INTO t VALUES ({n})")).await
}

async fn rows(member: &Member, database: &str) -> Vec<i64> {
    sql(&member.url(database), "SELECT n FROM t ORDER BY n").await.unwrap()
}

async fn a_row_arrives_on_both_replicas(engine: Engine) {
    let cluster = Cluster::shared(engine);
    let database = table(cluster).await;
    insert(cluster.primary(), &database, 1).await.unwrap();
    cluster.caught_up().await;
    assert_eq!(cluster.replicas().len(), 2);
    for replica in cluster.replicas() {
        assert_eq!(rows(replica, &database).await, [1]);
        let refused = insert(replica, &database, 2).await.unwrap_err();
        assert!(refused.contains("read-only"), "{refused}");
    }
}

async fn one_lags_and_the_other_does_not(engine: Engine) {
    let cluster = Cluster::new(engine, 2).await;
    let database = table(&cluster).await;
    let (late, prompt) = (cluster.replica(0), cluster.replica(1));
    late.delay(HOUR).await;
    insert(cluster.primary(), &database, 1).await.unwrap();
    prompt.wait_for(&cluster.primary().position().await).await;
    assert_eq!(rows(prompt, &database).await, [1]);
    assert_eq!(rows(late, &database).await, [0; 0]);
    late.delay(Duration::ZERO).await;
    cluster.caught_up().await;
    assert_eq!(rows(late, &database).await, [1]);

    late.pause_apply().await;
    insert(cluster.primary(), &database, 2).await.unwrap();
    prompt.wait_for(&cluster.primary().position().await).await;
    assert_eq!(rows(prompt, &database).await, [1, 2]);
    assert_eq!(rows(late, &database).await, [1]);
    late.resume_apply().await;
    cluster.caught_up().await;
    assert_eq!(rows(late, &database).await, [1, 2]);

    late.pause().await;
    let url = late.url(&database);
    let silent = tokio::time::timeout(Duration::from_millis(500), sql(&url, "SELECT n FROM t"));
    assert!(silent.await.is_err(), "a paused server answered");
    assert_eq!(rows(prompt, &database).await, [1, 2]);
    late.resume().await;
    assert_eq!(rows(late, &database).await, [1, 2]);
}

async fn a_promoted_replica_is_followed(engine: Engine) {
    let cluster = Cluster::new(engine, 2).await;
    let database = table(&cluster).await;
    insert(cluster.primary(), &database, 1).await.unwrap();
    cluster.caught_up().await;
    cluster.primary().kill().await;
    let (new, other) = (cluster.replica(0), cluster.replica(1));
    insert(new, &database, 2).await.unwrap_err();
    new.promote().await;
    insert(new, &database, 2).await.unwrap();
    assert_eq!(rows(other, &database).await, [1]);
    other.follow(new).await;
    other.wait_for(&new.position().await).await;
    assert_eq!(rows(other, &database).await, [1, 2]);
    insert(other, &database, 3).await.unwrap_err();

    let old = cluster.primary();
    old.rejoin(new).await;
    assert_eq!(rows(old, &database).await, [1, 2]);
    insert(old, &database, 3).await.unwrap_err();
    insert(new, &database, 3).await.unwrap();
    for replica in [old, other] {
        replica.wait_for(&new.position().await).await;
        assert_eq!(rows(replica, &database).await, [1, 2, 3]);
    }

    // A start makes of each what it was.
    for member in [new, other] {
        member.kill().await;
        member.start().await;
    }
    insert(new, &database, 4).await.unwrap();
    other.wait_for(&new.position().await).await;
    insert(other, &database, 5).await.unwrap_err();
}

async fn what_was_received_survives_a_promotion(engine: Engine) {
    let cluster = Cluster::new(engine, 1).await;
    let database = table(&cluster).await;
    let replica = cluster.replica(0);
    replica.pause_apply().await;
    insert(cluster.primary(), &database, 1).await.unwrap();
    received(engine, replica, &cluster.primary().position().await).await;
    cluster.primary().kill().await;
    assert_eq!(rows(replica, &database).await, [0; 0]);
    replica.promote().await;
    assert_eq!(rows(replica, &database).await, [1]);
}

/// Waits until it is there, though it may not be applied.
async fn received(engine: Engine, replica: &Member, position: &str) {
    loop {
        let there = match engine {
            Engine::MariaDb => replica.execute("SHOW SLAVE STATUS;").await.contains(position),
            _ => {
                let sql = format!("SELECT pg_last_wal_receive_lsn() >= '{position}'");
                replica.execute(&sql).await == "t"
            }
        };
        if there {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_killed_server_comes_back(engine: Engine) {
    let cluster = Cluster::new(engine, 1).await;
    let database = table(&cluster).await;
    let (primary, replica) = (cluster.primary(), cluster.replica(0));
    replica.kill().await;
    insert(primary, &database, 1).await.unwrap();
    sql(&replica.url(&database), "SELECT n FROM t").await.unwrap_err();
    replica.start().await;
    cluster.caught_up().await;
    assert_eq!(rows(replica, &database).await, [1]);

    // What was committed a moment before the kill is there.
    for n in 2..=50 {
        insert(primary, &database, n).await.unwrap();
    }
    primary.kill().await;
    sql(&primary.url(&database), "SELECT n FROM t").await.unwrap_err();
    primary.start().await;
    assert_eq!(rows(primary, &database).await, (1..=50).collect::<Vec<_>>());
    insert(primary, &database, 51).await.unwrap();
    cluster.caught_up().await;
    assert_eq!(rows(replica, &database).await, (1..=51).collect::<Vec<_>>());
}

async fn a_synchronous_commit_waits_for_a_replica(engine: Engine) {
    let cluster = Cluster::with(engine, 1, semi_sync(engine)).await;
    let database = table(&cluster).await;
    let synchronous = match engine {
        Engine::MariaDb => {
            "SET GLOBAL rpl_semi_sync_master_timeout = 3600000;\n\
             SET GLOBAL rpl_semi_sync_master_enabled = ON;"
        }
        _ => "ALTER SYSTEM SET synchronous_standby_names = '*';\nSELECT pg_reload_conf();",
    };
    cluster.primary().execute(synchronous).await;
    insert(cluster.primary(), &database, 0).await.unwrap();
    cluster.replica(0).pause().await;
    let url = cluster.primary().url(&database);
    let commit = tokio::spawn(async move { sql(&url, "INSERT INTO t VALUES (1)").await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!commit.is_finished(), "it waited for nobody");
    cluster.replica(0).resume().await;
    commit.await.unwrap().unwrap();
    cluster.caught_up().await;
    assert_eq!(rows(cluster.replica(0), &database).await, [0, 1]);
}

fn semi_sync(engine: Engine) -> &'static [&'static str] {
    if engine == Engine::MariaDb { &["rpl-semi-sync-slave-enabled=ON"] } else { &[] }
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Engine::Postgres).await;
            })*
        }
        mod mariadb {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Engine::MariaDb).await;
            })*
        }
    };
}

on_both! {
    a_row_arrives_on_both_replicas,
    one_lags_and_the_other_does_not,
    a_promoted_replica_is_followed,
    what_was_received_survives_a_promotion,
    a_killed_server_comes_back,
    a_synchronous_commit_waits_for_a_replica,
}
