//! `mainstay lab replication-lag`: who writes and then reads from a replica that is behind is shown what was before; then the
//! same through a cluster that knows how far each server is. On a private primary with a replica, which end with it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::scope::{Kind as ScopeKind, Scope};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};
use mainstay_local::{MariaDb, Node, Options, Postgres};
use mainstay_route::{Cluster, Freshness};
use serde::Serialize;

/// How far behind the replica is; MariaDB counts whole seconds.
const DELAY: Duration = Duration::from_secs(1);
/// Pairs of a write and a read.
const PAIRS: u32 = 20;
/// How long the replica is waited for; it needs `DELAY`, on a slow machine more.
const PATIENCE: Duration = Duration::from_secs(30);
const DATABASE: &str = "lab";

/// What who writes and reads was shown, and by which server.
#[derive(Clone, Debug, Serialize)]
pub struct Lag {
    /// The engine.
    pub engine: String,
    /// How far behind the replica was made.
    pub delay_ms: u64,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
    /// Pairs of a write and the read after it, each way.
    pub pairs: Vec<Pairs>,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// Since the first.
    pub at_ms: u64,
    /// On which server.
    pub server: String,
    /// What.
    pub what: String,
    /// Whether it was shown something older than what it had written.
    pub stale: bool,
}

/// Writes, each with a read after it.
#[derive(Clone, Debug, Serialize)]
pub struct Pairs {
    /// How it was read.
    pub how: String,
    /// How many pairs.
    pub pairs: u32,
    /// Reads that were shown what was before.
    pub stale: u32,
    /// Reads that the replica served.
    pub by_replica: u32,
    /// Reads that the primary served.
    pub by_primary: u32,
}

/// Two servers. They end with the process, or by [`stop`](Self::stop).
struct Servers {
    nodes: Arc<Mutex<Option<(Node, Node)>>>,
    engine: Engine,
}

impl Servers {
    async fn start(engine: Engine, folder: &Path) -> Result<Self> {
        let rng = Rng::system();
        let password = format!("{:016x}{:016x}", rng.u64(0..u64::MAX), rng.u64(0..u64::MAX));
        let options = |name: &str| Options {
            tcp_password: Some(password.clone()),
            durable: false,
            temporary: true,
            ..Options::new(folder.join(name))
        };
        let (first, second) = (options("primary"), options("replica"));
        let nodes = blocking(move || {
            let primary = match engine {
                Engine::MySql => MariaDb::primary(&first)?,
                _ => Postgres::primary(&first)?,
            };
            primary.execute(&format!("CREATE DATABASE {DATABASE}"))?;
            let replica = match engine {
                Engine::MySql => MariaDb::replica(&second, &primary)?,
                _ => Postgres::replica(&second, &primary)?,
            };
            replica.wait_for(&primary.position()?)?;
            Ok((primary, replica))
        });
        Ok(Self { nodes: Arc::new(Mutex::new(Some(nodes.await?))), engine })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node, &Node) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let nodes = Arc::clone(&self.nodes);
        let gone = || Error::new(Code::LocalStart, "the lab's servers are stopped");
        blocking(move || {
            let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let (primary, replica) = nodes.as_ref().ok_or_else(gone)?;
            work(primary, replica)
        })
        .await
    }

    /// Has the replica apply what is so old, from now on.
    async fn delay(&self, by: Duration) -> Result<()> {
        self.with(move |_, replica| replica.delay(by)).await
    }

    async fn caught_up(&self) -> Result<()> {
        self.with(|primary, replica| replica.wait_for(&primary.position()?)).await
    }

    async fn urls(&self) -> Result<[String; 2]> {
        self.with(|primary, replica| Ok([primary.url(DATABASE), replica.url(DATABASE)])).await
    }

    async fn stop(&self) -> Result<()> {
        let nodes = Arc::clone(&self.nodes);
        blocking(move || match nodes.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some((primary, replica)) => replica.stop().and(primary.stop()),
            None => Ok(()),
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::wrap)?
}

/// Runs it on servers of its own. `say` is told what is about to happen.
///
/// Errors: DB-016 for SQLite, which has no replicas; LOCAL-001 to LOCAL-003 where the servers can't be started; those of a
/// statement, and of [`Cluster`]. The servers are stopped again.
pub async fn replication_lag(engine: Engine, say: impl Fn(&str) + Sync) -> Result<Lag> {
    if engine == Engine::Sqlite {
        return Err(Error::new(Code::Unsupported, "SQLite has no replicas, so nothing lags")
            .fix("run it with --engine postgres or --engine mariadb"));
    }
    let folder =
        tempfile::tempdir().map_err(|e| Error::new(Code::File, "no temporary folder").cause(e))?;
    say("a private primary and a replica are started");
    let servers = Servers::start(engine, folder.path()).await?;
    let report = show(&servers, &say).await;
    let stopped = servers.stop().await;
    let report = report?;
    stopped.map(|()| report)
}

/// What is worked with.
struct Stage {
    primary: Db,
    replica: Db,
    cluster: Cluster,
    /// As another process has it.
    other: Cluster,
    clock: Clock,
    began: Instant,
    timeline: Vec<Moment>,
}

impl Stage {
    async fn open(servers: &Servers) -> Result<Self> {
        let [primary, replica] = servers.urls().await?;
        let cluster = || {
            let server = |name: &'static str, url: &str| Db::builder(url).name(name);
            let both = Cluster::builder(DATABASE)
                .server("primary", server("primary", &primary))
                .server("replica", server("replica", &replica));
            // Both are fresh: the replica is to have all of its share at once.
            both.settings(|settings| settings.ramp = Duration::ZERO).connect()
        };
        let clock = Clock::system();
        Ok(Self {
            primary: Db::builder(&primary).name("primary").connect().await?,
            replica: Db::builder(&replica).name("replica").connect().await?,
            cluster: cluster().await?,
            other: cluster().await?,
            began: clock.now(),
            clock,
            timeline: Vec::new(),
        })
    }

    fn note(&mut self, server: &str, what: String, stale: bool) {
        let at_ms = (self.clock.now() - self.began).as_millis() as u64;
        self.timeline.push(Moment { at_ms, server: server.to_owned(), what, stale });
    }

    async fn close(&self) -> Result<()> {
        let limit = Duration::from_secs(10);
        self.primary.close(limit).await?;
        self.replica.close(limit).await?;
        self.cluster.close(limit).await?;
        self.other.close(limit).await
    }
}

async fn show(servers: &Servers, say: &(impl Fn(&str) + Sync)) -> Result<Lag> {
    let mut stage = Stage::open(servers).await?;
    stage
        .primary
        .script(
            "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL); \
             INSERT INTO accounts VALUES (1, 100)",
        )
        .await?;
    servers.caught_up().await?;
    servers.delay(DELAY).await?;
    say("a balance is changed on the primary and read on the replica, which is a second behind");
    stage.began = stage.clock.now();
    naive(&mut stage).await?;
    say("the same through the cluster, which knows how far each is");
    cured(&mut stage).await?;
    let mut pairs = Vec::new();
    say("many pairs of a write and a read, each way");
    pairs.push(count(&stage, "whatever the replica has", &Freshness::Any).await?);
    pairs.push(count(&stage, "one's own writes, 1 s behind", &Freshness::Own).await?);
    servers.delay(Duration::ZERO).await?;
    servers.caught_up().await?;
    pairs.push(count(&stage, "one's own writes, no delay", &Freshness::Own).await?);
    stage.close().await?;
    let engine = if servers.engine == Engine::MySql { "MariaDB" } else { "PostgreSQL" };
    Ok(Lag {
        engine: engine.to_owned(),
        delay_ms: DELAY.as_millis() as u64,
        timeline: stage.timeline,
        pairs,
    })
}

/// In a transaction, whose position comes with COMMIT's answer.
async fn write(db: &Db, balance: i64) -> Result<()> {
    db.transaction(|tx| async move {
        let update = "UPDATE accounts SET balance = $1 WHERE id = 1";
        tx.query(update).bind(balance).execute().await.map(drop)
    })
    .await
}

async fn read(db: &Db) -> Result<i64> {
    db.query("SELECT balance FROM accounts WHERE id = 1").scalar().await
}

/// The mistake: reads go to a replica, whatever was just written.
async fn naive(stage: &mut Stage) -> Result<()> {
    write(&stage.primary, 90).await?;
    stage.note("primary", "balance is set from 100 to 90, and committed".to_owned(), false);
    let seen = read(&stage.replica).await?;
    stage.note("replica", format!("it is read: {seen}"), seen != 90);
    let until = stage.clock.now() + PATIENCE;
    while read(&stage.replica).await? != 90 {
        if stage.clock.now() > until {
            let what = format!("the replica has not followed within {PATIENCE:?}");
            return Err(Error::new(Code::RouteStale, what));
        }
        stage.clock.sleep(Duration::from_millis(10)).await;
    }
    stage.note("replica", "it is read again and again, until it is 90".to_owned(), false);
    Ok(())
}

/// One request writes and reads, and hands a token to another process.
async fn cured(stage: &mut Stage) -> Result<()> {
    let cluster = stage.cluster.clone();
    let request = Scope::new(ScopeKind::Request, "POST /transfers");
    let (seen, by, token) = request
        .run(async {
            write(&cluster.db(), 80).await?;
            let by = cluster.read(Freshness::Own).await?;
            let seen = read(&by).await?;
            let token = cluster.token().await?;
            Ok::<_, Error>((seen, by.name().to_owned(), token))
        })
        .await?;
    stage.note("primary", "balance is set to 80 through the cluster".to_owned(), false);
    stage.note(&by, format!("the same request reads its own write: {seen}"), seen != 80);
    let none = || Error::new(Code::RouteToken, "the write has no position");
    let token = token.ok_or_else(none)?;
    stage.note(&by, format!("it gives its token to another process: {token}"), false);
    let any = stage.other.read(Freshness::Any).await?;
    let seen = read(&any).await?;
    stage.note(any.name(), format!("that reads whatever a replica has: {seen}"), seen != 80);
    let at_least = Freshness::AtLeast(token);
    let there = stage.other.read(at_least.clone()).await?;
    let seen = read(&there).await?;
    stage.note(there.name(), format!("it reads at least the token: {seen}"), seen != 80);
    let until = stage.clock.now() + PATIENCE;
    loop {
        let there = stage.other.read(at_least.clone()).await?;
        if there.name() == "replica" {
            let seen = read(&there).await?;
            stage.note("replica", format!("later, with the same token: {seen}"), seen != 80);
            return Ok(());
        }
        if stage.clock.now() > until {
            return Err(Error::new(Code::RouteStale, "the replica has never reached the token"));
        }
        stage.clock.sleep(Duration::from_millis(10)).await;
    }
}

/// Each pair is a request of its own.
async fn count(stage: &Stage, how: &str, freshness: &Freshness) -> Result<Pairs> {
    let mut pairs =
        Pairs { how: how.to_owned(), pairs: PAIRS, stale: 0, by_replica: 0, by_primary: 0 };
    for n in 0..i64::from(PAIRS) {
        // Never what the one before has written.
        let balance = 1_000 + n;
        let request = Scope::new(ScopeKind::Request, "POST /transfers");
        let (seen, by) = request
            .run(async {
                write(&stage.cluster.db(), balance).await?;
                let by = stage.cluster.read(freshness.clone()).await?;
                Ok::<_, Error>((read(&by).await?, by.name().to_owned()))
            })
            .await?;
        pairs.stale += u32::from(seen != balance);
        match by.as_str() {
            "replica" => pairs.by_replica += 1,
            _ => pairs.by_primary += 1,
        }
    }
    Ok(pairs)
}
