//! A primary and its replicas, real servers that a test may delay, pause, kill and promote. They end with
//! their test process.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_local::{MariaDb, Node, Options, Postgres};

use crate::fresh::Engine;

/// A primary and its replicas. They end when it is dropped.
///
/// ```no_run
/// use mainstay_testkit::{Cluster, Engine};
///
/// # async fn example() {
/// let cluster = Cluster::new(Engine::Postgres, 2).await;
/// let database = cluster.database().await;
/// cluster.primary().kill().await;
/// cluster.replica(0).promote().await;
/// cluster.replica(1).follow(cluster.replica(0)).await;
/// println!("{}", cluster.replica(0).url(&database));
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    engine: Engine,
    /// The primary first.
    members: Vec<Member>,
    _scratch: tempfile::TempDir,
}

/// A server of a [`Cluster`]. Its operations panic, saying why, where they fail.
#[derive(Debug)]
pub struct Member {
    node: Arc<Mutex<Node>>,
    /// Up to the database's name.
    url: String,
    port: u16,
}

impl Cluster {
    /// Starts a primary and so many replicas of it, for this test alone. Panics, naming what to install, where
    /// they can't be started, and for an engine that has no replicas.
    pub async fn new(engine: Engine, replicas: usize) -> Self {
        Self::with(engine, replicas, &[]).await
    }

    /// With settings of the server's own for each, `name=value`. What is the primary's alone, such as that its
    /// commits wait for a replica, is for [`execute`](Member::execute).
    pub async fn with(engine: Engine, replicas: usize, settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let started = tokio::task::spawn_blocking(move || Self::start(engine, replicas, &settings));
        started.await.expect("it does not panic").unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// A primary and two replicas that the tests of this process share: for those that leave them as they are.
    /// Blocks while the first one starts them. Panics as [`new`](Self::new).
    pub fn shared(engine: Engine) -> &'static Self {
        static POSTGRES: OnceLock<Cluster> = OnceLock::new();
        static MARIADB: OnceLock<Cluster> = OnceLock::new();
        let shared = if engine == Engine::MariaDb { &MARIADB } else { &POSTGRES };
        let cluster =
            shared.get_or_init(|| Self::start(engine, 2, &[]).unwrap_or_else(|e| panic!("{e:?}")));
        assert_eq!(cluster.engine, engine, "no such cluster");
        cluster
    }

    fn start(engine: Engine, replicas: usize, settings: &[String]) -> Result<Self> {
        let scratch = crate::rig::scratch()?;
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let options = |name: String| Options {
            tcp_password: Some(password.clone()),
            durable: false,
            temporary: true,
            settings: settings.to_vec(),
            ..Options::new(scratch.path().join(name))
        };
        let first = options("primary".to_owned());
        let primary = match engine {
            Engine::Postgres => Postgres::primary(&first)?,
            Engine::MariaDb => MariaDb::primary(&first)?,
            other => {
                let what = format!("{other:?} has no replicas");
                return Err(Error::new(Code::LocalStart, what).fix("name Postgres or MariaDb"));
            }
        };
        let follower = |i: usize| {
            let options = options(format!("replica{i}"));
            match engine {
                Engine::MariaDb => MariaDb::replica(&options, &primary),
                _ => Postgres::replica(&options, &primary),
            }
        };
        let followers: Vec<Result<Node>> = std::thread::scope(|threads| {
            let started: Vec<_> =
                (0..replicas).map(|i| threads.spawn(move || follower(i))).collect();
            started.into_iter().map(|t| t.join().expect("it does not panic")).collect()
        });
        let followers: Vec<Node> = followers.into_iter().collect::<Result<_>>()?;
        let members = std::iter::once(primary).chain(followers).map(Member::new).collect();
        Ok(Self { engine, members, _scratch: scratch })
    }

    /// Its engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The server that began as the primary.
    pub fn primary(&self) -> &Member {
        &self.members[0]
    }

    /// A server that began as a replica, from 0.
    pub fn replica(&self, i: usize) -> &Member {
        &self.members[i + 1]
    }

    /// Those that began as replicas.
    pub fn replicas(&self) -> &[Member] {
        &self.members[1..]
    }

    /// Makes an empty database on the primary, waits until the replicas have it, and gives its name.
    pub async fn database(&self) -> String {
        let name = format!("t_{:016x}", fastrand::u64(..));
        self.primary().execute(&format!("CREATE DATABASE {name}")).await;
        self.caught_up().await;
        name
    }

    /// Waits until the replicas have what the primary has by now.
    pub async fn caught_up(&self) {
        let position = self.primary().position().await;
        for replica in self.replicas() {
            replica.wait_for(&position).await;
        }
    }
}

/// Gone before their folder is removed, since they would go on to write there.
impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &self.members {
            let _ = lock(&member.node).kill();
        }
    }
}

impl Member {
    fn new(node: Node) -> Self {
        Self { url: node.url(""), port: node.port(), node: Arc::new(Mutex::new(node)) }
    }

    /// The URL of a database on it, with the password.
    pub fn url(&self, database: &str) -> String {
        format!("{}{database}", self.url)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a crash of its machine would, and waits until it is gone.
    pub async fn kill(&self) {
        self.with(Node::kill).await;
    }

    /// Starts it again, as what it was.
    pub async fn start(&self) {
        self.with(Node::start).await;
    }

    /// Stops the time for it: its connections stay, new ones are taken, and nobody answers.
    pub async fn pause(&self) {
        self.with(|node| node.pause()).await;
    }

    /// Lets it go on.
    pub async fn resume(&self) {
        self.with(|node| node.resume()).await;
    }

    /// Makes a primary of it, and waits until it takes writes.
    pub async fn promote(&self) {
        self.with(Node::promote).await;
    }

    /// Makes it follow another primary.
    pub async fn follow(&self, primary: &Member) {
        self.beside(primary, Node::follow).await;
    }

    /// Throws away what it has and makes it a new replica: the way back for a former primary.
    pub async fn rejoin(&self, primary: &Member) {
        self.beside(primary, Node::rejoin).await;
    }

    /// From now on it applies what is this old, and no sooner; MariaDB counts whole seconds.
    pub async fn delay(&self, by: Duration) {
        self.with(move |node| node.delay(by)).await;
    }

    /// It still receives and answers reads, but applies nothing more, when this returns.
    pub async fn pause_apply(&self) {
        self.with(|node| node.pause_apply()).await;
    }

    /// Lets it apply again.
    pub async fn resume_apply(&self) {
        self.with(|node| node.resume_apply()).await;
    }

    /// How far it is: a log sequence number or a GTID.
    pub async fn position(&self) -> String {
        self.with(|node| node.position()).await
    }

    /// Waits until it has applied up to a position of its primary, at most 30 s.
    pub async fn wait_for(&self, position: &str) {
        let position = position.to_owned();
        self.with(move |node| node.wait_for(&position)).await;
    }

    /// Runs statements as an administrator, on PostgreSQL in the database `postgres`, and gives their rows, one
    /// a line.
    pub async fn execute(&self, sql: &str) -> String {
        let sql = sql.to_owned();
        self.with(move |node| node.execute(&sql)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node) -> Result<T> + Send + 'static,
    ) -> T {
        let node = Arc::clone(&self.node);
        let done = tokio::task::spawn_blocking(move || f(&mut lock(&node)));
        done.await.expect("it does not panic").unwrap_or_else(|e| panic!("{e:?}"))
    }

    async fn beside(
        &self,
        other: &Member,
        f: impl FnOnce(&mut Node, &Node) -> Result<()> + Send + 'static,
    ) {
        assert!(!Arc::ptr_eq(&self.node, &other.node), "a server does not follow itself");
        let other = Arc::clone(&other.node);
        self.with(move |node| f(node, &lock(&other))).await;
    }
}

fn lock(node: &Mutex<Node>) -> MutexGuard<'_, Node> {
    node.lock().unwrap_or_else(PoisonError::into_inner)
}
