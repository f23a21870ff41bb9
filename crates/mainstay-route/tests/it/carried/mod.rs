//! What was written is read by whoever comes next: the next request, a job, another service, a loader. A primary and one
//! replica of each engine, which apply nothing while it is tried: what is read of them is old.

mod durability;
mod http;
mod jobs;
mod loaders;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::observe::{Observer, Statement, Subscriber};
use mainstay_db::Db;
use mainstay_route::replica::Settings;
use mainstay_route::{Cluster, Freshness, Role};
use mainstay_testkit::{Cluster as Servers, Engine};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The servers of an engine, for one test at a time. They end with the process.
pub struct Pair(&'static Servers, MutexGuard<'static, ()>);

impl Pair {
    pub async fn of(engine: Engine) -> Self {
        static POSTGRES: (OnceCell<Servers>, Mutex<()>) =
            (OnceCell::const_new(), Mutex::const_new(()));
        static MARIADB: (OnceCell<Servers>, Mutex<()>) =
            (OnceCell::const_new(), Mutex::const_new(()));
        let (servers, turn) = if engine == Engine::MariaDb { &MARIADB } else { &POSTGRES };
        let turn = turn.lock().await;
        // For transactions over several databases.
        let settings: &[&str] = match engine {
            Engine::Postgres => &["max_prepared_transactions=10"],
            _ => &[],
        };
        let servers = servers.get_or_init(|| Servers::with(engine, 1, settings)).await;
        // Where a test failed in the middle.
        servers.replica(0).resume_apply().await;
        if engine == Engine::Postgres {
            let primary = servers.primary();
            primary.execute("ALTER SYSTEM RESET synchronous_standby_names").await;
            primary.execute("SELECT pg_reload_conf()").await;
        }
        Self(servers, turn)
    }

    pub fn servers(&self) -> &'static Servers {
        let Self(servers, _turn) = self;
        servers
    }

    /// A cluster with a table of counters in a database of its own.
    pub async fn cluster(&self, name: &'static str) -> Tried {
        let servers = self.servers();
        let database = servers.database().await;
        let on_replica = Arc::new(AtomicU64::new(0));
        let observer = Observer::new();
        observer.subscribe(Count(Arc::clone(&on_replica)));
        let patient = |s: &mut Settings| {
            s.ramp = Duration::ZERO;
            s.probe_timeout = Duration::from_secs(5);
        };
        let cluster = Cluster::builder(name)
            .server("a", Db::builder(&servers.primary().url(&database)))
            .server("b", Db::builder(&servers.replica(0).url(&database)).observer(observer))
            .settings(patient)
            .connect()
            .await
            .unwrap();
        let db = cluster.db();
        db.script("CREATE TABLE pairs (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)").await.unwrap();
        db.query("INSERT INTO pairs VALUES (1, 0)").execute().await.unwrap();
        let tried = Tried { servers, cluster, on_replica, database };
        tried.caught_up().await;
        tried
    }
}

/// Counts the reads of counters on the replica.
struct Count(Arc<AtomicU64>);

impl Subscriber for Count {
    fn statement(&self, event: &Statement<'_>) {
        if event.sql.contains("pairs") {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

pub struct Tried {
    pub servers: &'static Servers,
    pub cluster: Cluster,
    pub on_replica: Arc<AtomicU64>,
    pub database: String,
}

impl Tried {
    pub fn db(&self) -> Db {
        self.cluster.db()
    }

    /// The replica applies nothing more.
    pub async fn hold(&self) {
        self.servers.replica(0).pause_apply().await;
    }

    pub async fn resume(&self) {
        self.servers.replica(0).resume_apply().await;
        self.caught_up().await;
    }

    /// And the cluster knows.
    async fn caught_up(&self) {
        self.servers.caught_up().await;
        let here = self.servers.primary().position().await;
        until(|| {
            let status = self.cluster.status();
            status[1].role == Role::Replica && status[0].role == Role::Primary
        })
        .await;
        let scope = mainstay_core::scope::Scope::new(mainstay_core::scope::Kind::Job, "catch up");
        scope
            .run(async {
                self.db().observe_now();
                let token = self.cluster.token().await.unwrap().unwrap();
                for _ in 0..2000 {
                    let read = self.cluster.read(Freshness::AtLeast(token.clone())).await.unwrap();
                    if !read.is_same(&self.cluster.primary().await.unwrap()) {
                        return;
                    }
                }
                panic!("it does not get to {here}: {:#?}", self.cluster.status());
            })
            .await;
    }

    pub fn on_replica(&self) -> u64 {
        self.on_replica.load(SeqCst)
    }
}

pub async fn until(is: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to that");
}

pub async fn add(db: &Db) -> i64 {
    db.transaction(|tx| async move {
        tx.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await?;
        tx.query("SELECT n FROM pairs WHERE id = 1").scalar().await
    })
    .await
    .unwrap()
}

pub async fn read(db: &Db) -> mainstay_db::Result<i64> {
    db.query("SELECT n FROM pairs WHERE id = 1").scalar().await
}
