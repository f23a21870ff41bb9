//! A primary and its replicas, real servers of this process's own, and handles of them whose reads are counted.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay::db::Connect;
use mainstay::observe::{Observer, Statement, Subscriber};
use mainstay::pool;
use mainstay::route::Role;
use mainstay::route::replica::Settings;
use mainstay::{Db, Result, route};
use mainstay_local::{MariaDb, Node, Options, Postgres};

use super::now;
use crate::servers::Engine;

/// What roles are waited for at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// The primary first. They end when it is dropped.
pub(super) struct Servers {
    pub(super) engine: Engine,
    nodes: Vec<Arc<Mutex<Node>>>,
    scratch: tempfile::TempDir,
}

impl Servers {
    pub(super) async fn start(engine: Engine, replicas: usize) -> Self {
        let started = tokio::task::spawn_blocking(move || Self::begin(engine, replicas));
        started.await.expect("no panic").unwrap_or_else(|e| panic!("{e:?}"))
    }

    fn begin(engine: Engine, replicas: usize) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        // The servers run as accounts of their own.
        let open = std::fs::Permissions::from_mode(0o755);
        let scratch = tempfile::Builder::new().permissions(open).tempdir().expect("a folder");
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let options = |name: &str| Options {
            tcp_password: Some(password.clone()),
            durable: false,
            temporary: true,
            ..Options::new(scratch.path().join(name))
        };
        let on_mariadb = engine == Engine::MariaDb;
        let first = options("primary");
        let primary =
            if on_mariadb { MariaDb::primary(&first) } else { Postgres::primary(&first) }?;
        let mut nodes = vec![primary];
        for at in 0..replicas {
            let options = options(&format!("replica{at}"));
            let replica = if on_mariadb { MariaDb::replica } else { Postgres::replica };
            nodes.push(replica(&options, &nodes[0])?);
        }
        let nodes = nodes.into_iter().map(|node| Arc::new(Mutex::new(node))).collect();
        Ok(Self { engine, nodes, scratch })
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Without TLS, as all that is measured here.
    pub(super) fn url(&self, at: usize, database: &str) -> String {
        let plain =
            if self.engine == Engine::MariaDb { "ssl-mode=DISABLED" } else { "sslmode=disable" };
        format!("{}?{plain}", lock(&self.nodes[at]).url(database))
    }

    pub(super) fn port(&self, at: usize) -> u16 {
        lock(&self.nodes[at]).port()
    }

    /// Something that blocks.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        at: usize,
        work: impl FnOnce(&mut Node) -> Result<T> + Send + 'static,
    ) -> T {
        let node = Arc::clone(&self.nodes[at]);
        let done = tokio::task::spawn_blocking(move || work(&mut lock(&node)));
        done.await.expect("no panic").unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Something with another of them.
    pub(super) async fn beside(
        &self,
        at: usize,
        other: usize,
        work: impl FnOnce(&mut Node, &Node) -> Result<()> + Send + 'static,
    ) {
        let other = Arc::clone(&self.nodes[other]);
        self.with(at, move |node| work(node, &lock(&other))).await;
    }

    /// An empty database that the replicas have too.
    pub(super) async fn database(&self) -> String {
        let name = format!("bench_{:016x}", fastrand::u64(..));
        let create = format!("CREATE DATABASE {name}");
        self.with(0, move |node| node.execute(&create)).await;
        self.caught_up().await;
        name
    }

    /// The replicas have what the primary has by now.
    pub(super) async fn caught_up(&self) {
        let position = self.with(0, |node| node.position()).await;
        for at in 1..self.len() {
            let position = position.clone();
            self.with(at, move |node| node.wait_for(&position)).await;
        }
    }
}

/// Gone before their folder is.
impl Drop for Servers {
    fn drop(&mut self) {
        for node in &self.nodes {
            let _ = lock(node).kill();
        }
        let _ = &self.scratch;
    }
}

fn lock(node: &Mutex<Node>) -> MutexGuard<'_, Node> {
    node.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts reads of the table on one server.
struct Reads(Arc<AtomicU64>);

impl Subscriber for Reads {
    fn statement(&self, event: &Statement<'_>) {
        if event.sql.starts_with("SELECT n FROM pairs") {
            self.0.fetch_add(1, SeqCst);
        }
    }
}

/// Servers, ours over them, and a plain handle of each for the peers.
pub(super) struct Replicated {
    pub(super) servers: Servers,
    pub(super) cluster: route::Cluster,
    pub(super) plain: Vec<Db>,
    reads: Vec<Arc<AtomicU64>>,
}

impl Replicated {
    /// A primary and two replicas, with the defaults but for `change`.
    pub(super) async fn new(engine: Engine, change: impl FnOnce(&mut Settings)) -> Self {
        let servers = Servers::start(engine, 2).await;
        let database = servers.database().await;
        let reads: Vec<Arc<AtomicU64>> = (0..servers.len()).map(|_| Arc::default()).collect();
        let connect = |at: usize| {
            let observer = Observer::new();
            observer.subscribe(Reads(Arc::clone(&reads[at])));
            let pool = pool::Options { max_size: 24, ..pool::Options::default() };
            Db::builder(&servers.url(at, &database)).observer(observer).pool(pool)
        };
        let (cluster, plain) = Self::handles(&connect, servers.len(), change).await;
        let table = "CREATE TABLE pairs (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";
        plain[0].script(table).await.expect("a new table");
        let rows = (0..1000_i64).map(|id| (id, 0_i64));
        plain[0].bulk_insert("pairs", &["id", "n"], rows).await.expect("new rows");
        servers.caught_up().await;
        let all = Self { servers, cluster, plain, reads };
        all.until(|roles| roles == [Role::Primary, Role::Replica, Role::Replica]).await;
        all
    }

    async fn handles(
        connect: &impl Fn(usize) -> Connect,
        count: usize,
        change: impl FnOnce(&mut Settings),
    ) -> (route::Cluster, Vec<Db>) {
        let mut plain = Vec::new();
        let mut builder = route::Cluster::builder("bench");
        for (at, name) in (0..count).zip(["a", "b", "c"]) {
            plain.push(connect(at).connect().await.expect("a server"));
            builder = builder.server(name, connect(at));
        }
        let cluster = builder.settings(change).connect().await.expect("a cluster");
        (cluster, plain)
    }

    /// Until each is what it is to be.
    pub(super) async fn until(&self, is: impl Fn(&[Role]) -> bool) {
        let end = now() + PATIENCE;
        loop {
            let roles: Vec<Role> = self.cluster.status().iter().map(|s| s.role).collect();
            if is(&roles) {
                return;
            }
            assert!(now() < end, "{:#?}", self.cluster.status());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads of the table up to now: of the primary, and of the replicas.
    pub(super) fn reads(&self) -> (u64, u64) {
        let count = |of: &[Arc<AtomicU64>]| of.iter().map(|n| n.load(SeqCst)).sum();
        (count(&self.reads[..1]), count(&self.reads[1..]))
    }
}
