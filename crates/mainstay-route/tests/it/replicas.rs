//! Replicas of real servers: no read is older than it may be, whatever is delayed, paused, killed or promoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::observe::{Statement, Subscriber};
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::{Code, Error};
use mainstay_db::Db;
use mainstay_route::replica::Settings;
use mainstay_route::{Cluster, Freshness, Role, Token};
use mainstay_testkit::{Cluster as Servers, Engine};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Counts what runs on one server.
struct Count(Arc<AtomicU64>);

impl Subscriber for Count {
    fn statement(&self, event: &Statement<'_>) {
        if event.sql.contains("pairs") {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

/// Each is three servers; many at once only wait for each other.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

struct Rig {
    _turn: SemaphorePermit<'static>,
    servers: Servers,
    cluster: Cluster,
    /// Statements of the primary, and of each replica.
    ran: [Arc<AtomicU64>; 3],
}

impl Rig {
    async fn new(engine: Engine) -> Self {
        let turn = AT_ONCE.acquire().await.unwrap();
        let servers = Servers::new(engine, 2).await;
        let database = servers.database().await;
        let ran: [Arc<AtomicU64>; 3] = Default::default();
        let mut builder = Cluster::builder("test");
        let members = std::iter::once(servers.primary()).chain(servers.replicas());
        for ((name, member), ran) in ["a", "b", "c"].into_iter().zip(members).zip(&ran) {
            let observer = mainstay_core::observe::Observer::new();
            observer.subscribe(Count(Arc::clone(ran)));
            builder = builder.server(name, Db::builder(&member.url(&database)).observer(observer));
        }
        let patient = |s: &mut Settings| {
            s.ramp = Duration::ZERO;
            // A machine under load takes its time to answer.
            s.probe_timeout = Duration::from_secs(2);
            s.failover_wait = Duration::from_secs(10);
        };
        let cluster = builder.settings(patient).connect().await.unwrap();
        cluster
            .db()
            .script("CREATE TABLE pairs (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)")
            .await
            .unwrap();
        cluster.db().query("INSERT INTO pairs VALUES (1, 0)").execute().await.unwrap();
        let rig = Self { _turn: turn, servers, cluster, ran };
        rig.servers.caught_up().await;
        rig.until(|roles| roles == [Role::Primary, Role::Replica, Role::Replica]).await;
        rig
    }

    async fn until(&self, is: impl Fn(&[Role]) -> bool) {
        for _ in 0..1500 {
            let roles: Vec<Role> = self.cluster.status().iter().map(|s| s.role).collect();
            if is(&roles) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:#?}", self.cluster.status());
    }

    fn ran(&self) -> [u64; 3] {
        self.ran.each_ref().map(|n| n.load(SeqCst))
    }
}

async fn add(db: &Db) -> i64 {
    db.transaction(|tx| async move {
        tx.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await?;
        tx.query("SELECT n FROM pairs WHERE id = 1").scalar().await
    })
    .await
    .unwrap()
}

async fn read(db: &Db) -> i64 {
    db.query("SELECT n FROM pairs WHERE id = 1").scalar().await.unwrap()
}

/// Each writes and then reads its own, at delays of 0, 50 ms (PostgreSQL) and 1 or 2 s.
async fn who_wrote_reads_what_was_written(engine: Engine) {
    let rig = Rig::new(engine).await;
    let db = rig.cluster.db();
    let long = if engine == Engine::MariaDb { 1_000 } else { 2_000 };
    for (delay_ms, pairs) in [(0, 400), (50, 60), (long, 60)] {
        if delay_ms == 50 && engine == Engine::MariaDb {
            continue;
        }
        for replica in rig.servers.replicas() {
            replica.delay(Duration::from_millis(delay_ms)).await;
        }
        let before = rig.ran();
        for _ in 0..pairs {
            let pair = async {
                let wrote = add(&db).await;
                // Once by a statement of its own, whose position nobody tells.
                assert!(read(&db).await >= wrote, "stale at {delay_ms} ms");
                db.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await.unwrap();
                assert!(read(&db).await > wrote, "stale at {delay_ms} ms after a statement");
            };
            Scope::new(Kind::Request, "POST /pairs").run(pair).await;
        }
        let after = rig.ran();
        let by_replicas: u64 = (1..3).map(|at| after[at] - before[at]).sum();
        if delay_ms == 0 {
            assert!(by_replicas >= pairs / 2, "{before:?} {after:?}");
        }
    }
}

/// What a request needs not is left to the replicas, and each mode is what it says.
async fn reads_are_as_fresh_as_asked_for(engine: Engine) {
    let rig = Rig::new(engine).await;
    let cluster = &rig.cluster;
    let scope = Scope::new(Kind::Request, "GET /pairs");
    scope
        .run(async {
            for replica in rig.servers.replicas() {
                replica.pause_apply().await;
            }
            let old = add(&cluster.db()).await - 1;
            assert_eq!(read(&cluster.db_with(Freshness::Any)).await, old);
            assert_eq!(read(&cluster.db_with(Freshness::Fresh)).await, old + 1);
            assert_eq!(read(&cluster.db()).await, old + 1);
            let token = cluster.token().await.unwrap().unwrap();
            // As another process would be given it.
            let token: Token = token.to_string().parse().unwrap();
            let at_least = cluster.read(Freshness::AtLeast(token.clone())).await.unwrap();
            assert_eq!(read(&at_least).await, old + 1);
            tokio::time::sleep(Duration::from_millis(600)).await;
            let young = cluster.read(Freshness::MaxAge(Duration::from_millis(300))).await.unwrap();
            assert_eq!(read(&young).await, old + 1, "the primary, as both are older");
            for replica in rig.servers.replicas() {
                replica.resume_apply().await;
            }
            rig.servers.caught_up().await;
            let before = rig.ran();
            let at_least = cluster.db_with(Freshness::AtLeast(token));
            for _ in 0..20 {
                assert_eq!(read(&at_least).await, old + 1);
            }
            assert_eq!(rig.ran()[0], before[0], "the replicas have it");
        })
        .await;
    // Another request wrote nothing, and is sent to a replica.
    let before = rig.ran();
    Scope::new(Kind::Request, "GET /other").run(read(&cluster.db())).await;
    assert_eq!(rig.ran()[0], before[0]);
    let foreign: Token =
        if engine == Engine::MariaDb { "my.1.0-1" } else { "pg.1.0/1" }.parse().unwrap();
    let refused = cluster.read(Freshness::AtLeast(foreign.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::RouteToken);
    assert_eq!(cluster.observe(&foreign).unwrap_err().code(), Code::RouteToken);
}

async fn writes_and_locks_never_reach_a_replica(engine: Engine) {
    let rig = Rig::new(engine).await;
    let db = rig.cluster.db_with(Freshness::Any);
    let before = rig.ran();
    db.query("SELECT n FROM pairs WHERE id = 1 FOR UPDATE").execute().await.unwrap();
    db.bulk_insert("pairs", &["id", "n"], (10..20_i64).map(|id| (id, 0_i64))).await.unwrap();
    db.tx()
        .run(|tx| async move { tx.query("DELETE FROM pairs WHERE id >= 10").execute().await.map(drop) })
        .await
        .unwrap();
    let after = rig.ran();
    assert_eq!((after[1], after[2]), (before[1], before[2]));
    // A transaction that only reads is a replica's.
    let reads = db
        .tx()
        .read_only()
        .run(|tx| async move { tx.query("SELECT COUNT(*) FROM pairs").scalar::<i64>().await });
    reads.await.unwrap();
    assert_eq!(rig.ran()[0], after[0]);
    // And what is wrongly sent there by hand is refused by the server.
    let replica = rig.cluster.read(Freshness::Any).await.unwrap();
    assert!(replica.query("DELETE FROM pairs").execute().await.is_err());
}

/// A replica that stops, or dies, costs nobody an answer.
async fn while_one_lives_every_read_is_answered(engine: Engine) {
    let rig = Rig::new(engine).await;
    let db = rig.cluster.db_with(Freshness::Any);
    let stop = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (db, stop) = (db.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut slow = 0;
                while stop.load(SeqCst) == 0 {
                    let began = mainstay_core::clock::Clock::system().now();
                    db.query("SELECT n FROM pairs WHERE id = 1").scalar::<i64>().await?;
                    slow += u32::from(began.elapsed() > Duration::from_secs(1));
                }
                Ok::<u32, Error>(slow)
            })
        })
        .collect();
    let wait = || tokio::time::sleep(Duration::from_millis(300));
    wait().await;
    rig.servers.replica(0).pause().await;
    rig.until(|roles| roles[1] == Role::Out).await;
    wait().await;
    rig.servers.replica(0).resume().await;
    rig.until(|roles| roles[1] == Role::Replica).await;
    wait().await;
    rig.servers.replica(1).kill().await;
    rig.until(|roles| roles[2] == Role::Out).await;
    wait().await;
    stop.store(1, SeqCst);
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    // With both gone the primary answers.
    rig.servers.replica(0).kill().await;
    rig.until(|roles| roles[1] == Role::Out).await;
    read(&db).await;
}

/// A promotion is followed: writes go on at the new primary, and the old one gets none when it comes back.
async fn a_promotion_is_followed(engine: Engine) {
    let rig = Rig::new(engine).await;
    let db = rig.cluster.db();
    add(&db).await;
    rig.servers.caught_up().await;
    rig.servers.primary().kill().await;
    let writes = tokio::spawn({
        let db = db.clone();
        async move {
            // The connection that was open is found broken first.
            loop {
                let wrote = db.transaction(|tx| async move {
                    tx.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await.map(drop)
                });
                match wrote.await {
                    Ok(()) => return,
                    Err(error) => assert!(error.code() != Code::RouteSplitBrain, "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    rig.servers.replica(0).promote().await;
    rig.servers.replica(1).follow(rig.servers.replica(0)).await;
    tokio::time::timeout(Duration::from_secs(20), writes).await.unwrap().unwrap();
    rig.until(|roles| roles[1] == Role::Primary && roles[2] == Role::Replica).await;
    let wrote = add(&db).await;
    assert!(read(&db).await >= wrote);
    // It does not know that it was replaced.
    rig.servers.primary().start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let wrote = add(&db).await;
    assert_eq!(wrote, read(&rig.cluster.primary().await.unwrap()).await);
    assert!(rig.cluster.status()[1].role == Role::Primary);
    assert!(read(&db).await >= wrote);
}

crate::on_servers!(
    who_wrote_reads_what_was_written,
    reads_are_as_fresh_as_asked_for,
    writes_and_locks_never_reach_a_replica,
    while_one_lives_every_read_is_answered,
    a_promotion_is_followed
);

#[tokio::test]
async fn what_is_no_cluster_is_refused() {
    let code = |result: mainstay_core::Result<Cluster>| result.unwrap_err().code();
    assert_eq!(code(Cluster::builder("none").connect().await), Code::RouteTopology);
    let memory = || Db::builder("sqlite::memory:");
    let twice = Cluster::builder("twice").server("a", memory()).server("a", memory());
    assert_eq!(code(twice.connect().await), Code::RouteTopology);
    assert_eq!(
        code(Cluster::builder("lite").server("a", memory()).connect().await),
        Code::Unsupported
    );
    let nobody = Db::builder("postgres://u:p@127.0.0.1:1/none");
    assert_eq!(
        code(Cluster::builder("down").server("a", nobody).connect().await),
        Code::RouteNoServer
    );
}

/// Two that both take writes, and neither follows the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_primaries_neither_is_written_to() {
    let _turn = AT_ONCE.acquire().await.unwrap();
    let servers = Servers::new(Engine::MariaDb, 1).await;
    let database = servers.database().await;
    servers.replica(0).promote().await;
    let cluster = Cluster::builder("split")
        .server("a", Db::builder(&servers.primary().url(&database)))
        .server("b", Db::builder(&servers.replica(0).url(&database)));
    let patient = |s: &mut Settings| s.probe_timeout = Duration::from_secs(5);
    let refused = cluster.settings(patient).connect().await.unwrap_err();
    assert_eq!(refused.code(), Code::RouteSplitBrain, "{refused}");
    assert!(refused.what().contains("a and b"), "{refused}");
}
