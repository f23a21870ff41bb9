//! A primary and what follows it: who is which, and who is out. Where a read goes is in `router.rs`.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mainstay_core::scope::Scope;
use mainstay_core::token::{Mark, Position, Token};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};
use tokio::sync::{Notify, watch};

use super::node::{Node, Role, Seen};
use super::own::Own;
use super::pending::After;
use super::probe::{self, Answer};
use super::router::{Freshness, Router};
use super::samples::Samples;
use super::settings::{Builder, Settings};
use crate::classify::Classifier;

/// Before a first answer of each server is given up.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// A primary and its replicas behind one handle. Cheap to clone; its probers end with the last clone and the last
/// [handle](Self::db).
///
/// ```no_run
/// # async fn f() -> mainstay_core::Result<()> {
/// use mainstay_db::Db;
/// use mainstay_route::{Cluster, Freshness};
///
/// let cluster = Cluster::builder("shop")
///     .server("a", Db::builder("postgres://me@10.0.0.1/shop"))
///     .server("b", Db::builder("postgres://me@10.0.0.2/shop"))
///     .connect()
///     .await?;
/// let db = cluster.db();
/// db.query("INSERT INTO visits DEFAULT VALUES").execute().await?;               // the primary
/// let seen: i64 = db.query("SELECT COUNT(*) FROM visits").scalar().await?;      // a replica that has it
/// let report = cluster.read(Freshness::Any).await?;                             // any replica
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
    /// What handles are made from; where they work is said by the route.
    base: Db,
}

pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    pub(crate) id: u64,
    pub(crate) engine: Engine,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) kicks: Vec<Arc<Notify>>,
    pub(crate) settings: Settings,
    pub(crate) samples: Samples,
    pub(crate) classifier: Classifier,
    /// Which of them takes writes, or why none does.
    pub(crate) primary: ArcSwapOption<std::result::Result<usize, Arc<Error>>>,
    /// Counts what was heard, for who waits.
    pub(crate) news: watch::Sender<u64>,
    /// Who waits for a replica to come further.
    pub(crate) wanted: AtomicU32,
    /// What was written outside of any scope, up to now.
    pub(crate) own: Mutex<Own>,
}

/// A server as it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub role: Role,
    /// How far it is behind, where that is known.
    pub lag: Option<Duration>,
    /// How far it has come, as it says it.
    pub position: Option<String>,
    /// Which standbys a COMMIT waits for that is asked to (PostgreSQL's `synchronous_standby_names`), or, of MariaDB,
    /// `rpl_semi_sync_master_enabled` where that is on. Empty: it waits for none, and nobody is told.
    pub synchronous: Arc<str>,
    /// Why it is out.
    pub why: Option<Arc<str>>,
}

impl Cluster {
    /// Begins one; `name` is what messages call it.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder {
        Builder {
            name: name.into(),
            servers: Vec::new(),
            settings: Settings::default(),
            safe_functions: Vec::new(),
        }
    }

    pub(crate) async fn begin(builder: Builder) -> Result<Self> {
        let Builder { name, servers, settings, safe_functions } = builder;
        let now = settings.clock.now();
        let (mut nodes, mut first): (Vec<Arc<Node>>, Option<Db>) = (Vec::new(), None);
        let connecting = servers.iter().map(|(_, connect)| connect.clone().connect());
        let mut why = None;
        for ((name, connect), db) in
            servers.iter().zip(futures_util::future::join_all(connecting).await)
        {
            let node = Node::new(Arc::clone(name), connect.clone(), now);
            match db {
                Ok(db) => {
                    first.get_or_insert_with(|| db.clone());
                    node.db.store(Some(Arc::new(db)));
                }
                Err(error) => why = Some(error),
            }
            nodes.push(Arc::new(node));
        }
        let Some(first) = first else {
            let error =
                Error::new(Code::RouteNoServer, format!("no server of cluster `{name}` answers"));
            return Err(match why {
                Some(why) => error.cause(why),
                None => error,
            });
        };
        let id = same_cluster(&nodes, &name).await?;
        let Settings { probe_every, lag_max, .. } = settings;
        let inner = Arc::new(Inner {
            name,
            id,
            engine: first.engine(),
            kicks: nodes.iter().map(|_| Arc::default()).collect(),
            nodes,
            settings,
            samples: Samples::new(probe_every, lag_max),
            classifier: Classifier::builder(first.engine()).safe_functions(safe_functions).build(),
            primary: ArcSwapOption::empty(),
            news: watch::channel(0).0,
            wanted: AtomicU32::new(0),
            own: Mutex::default(),
        });
        for at in 0..inner.nodes.len() {
            tokio::spawn(probe::run(Arc::downgrade(&inner), at));
        }
        let (_, base) = inner.primary_within(FIRST_WAIT).await?;
        Ok(Self { inner, base })
    }

    /// A handle whose reads see what was written through the cluster by the same request or job, or, outside of one, by this
    /// process; and, for the rest, are as old as the replica. Writes, transactions and what is not known to only read go
    /// to the primary, whichever that is.
    pub fn db(&self) -> Db {
        self.db_with(Freshness::Own)
    }

    /// A handle whose reads are as fresh as that.
    pub fn db_with(&self, freshness: Freshness) -> Db {
        self.base.routed(Arc::new(self.router(freshness)))
    }

    /// The handle of one server that is as fresh as asked for: what it runs is not looked at, and a write fails at a
    /// replica. It stays that server's, also when it falls behind: take it for each piece of work anew.
    ///
    /// Cancel safe.
    ///
    /// Errors: ROUTE-001 to ROUTE-005.
    pub async fn read(&self, freshness: Freshness) -> Result<Db> {
        let found = self.inner.find(&freshness)?;
        match found {
            Some(db) => Ok(db),
            None => self.inner.wait_for(&freshness).await,
        }
    }

    /// The handle of the primary. It stays that server's. Errors: ROUTE-001, ROUTE-002.
    pub async fn primary(&self) -> Result<Db> {
        Ok(self.inner.primary_within(self.inner.settings.failover_wait).await?.1)
    }

    /// A token of all that was written through the cluster by the current scope, or, outside of one, by this process.
    /// `None` where nothing was. It asks nobody, unless something was written by a statement outside a transaction, whose
    /// position the next look at the primary tells.
    ///
    /// Errors: ROUTE-001 where the primary goes away meanwhile.
    pub async fn token(&self) -> Result<Option<Token>> {
        self.inner.token().await
    }

    /// Reads of the current scope see from now on what `token` covers: for who was given it by a client or a message.
    /// Outside of a scope, all reads of this process that are not of one.
    ///
    /// Errors: ROUTE-003 where it is another cluster's.
    pub fn observe(&self, token: &Token) -> Result<()> {
        self.inner.check(token)?;
        self.inner.mark(|mark| mark.observe(token));
        Ok(())
    }

    /// Closes the pools of all servers that were reached, each with up to `limit` for what is out. It does not wait for
    /// those that are out: their connections hang.
    ///
    /// Cancel safe: dropped, those that were begun with stay closed. Errors: the first of POOL-004.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let reached = self.inner.nodes.iter().filter(|node| node.role() != Role::Out);
        let all = reached.filter_map(|node| node.handle());
        let closed = all.map(|db| async move { db.close(limit).await });
        futures_util::future::join_all(closed).await.into_iter().collect()
    }

    /// What handles ask where their work goes.
    pub(crate) fn router(&self, freshness: Freshness) -> Router {
        Router { inner: Arc::clone(&self.inner), freshness }
    }

    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn handles(&self) -> Vec<Option<Db>> {
        self.inner.nodes.iter().map(|node| node.handle()).collect()
    }

    /// All servers.
    pub fn status(&self) -> Vec<ServerStatus> {
        let of = |node: &Arc<Node>| {
            let seen = node.seen.load();
            ServerStatus {
                name: Arc::clone(&node.name),
                role: seen.role,
                lag: seen.lag,
                position: seen.position.as_ref().map(Position::to_string),
                synchronous: Arc::clone(&seen.waits),
                why: seen.why.clone(),
            }
        };
        self.inner.nodes.iter().map(of).collect()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

/// Errors: ROUTE-007 where some are of another engine or another line.
async fn same_cluster(nodes: &[Arc<Node>], name: &str) -> Result<u64> {
    let mut id = None;
    for node in nodes {
        let Some(db) = node.handle() else { continue };
        if db.engine() == Engine::Sqlite {
            return Err(Error::new(Code::Unsupported, "SQLite has no replicas"));
        }
        // A replica that has stopped answering is looked at later.
        let Ok(its) = probe::cluster_of(&db, name).await else { continue };
        let its = (its, db.engine());
        match id {
            None => id = Some(its),
            Some(known) if known == its => {}
            Some(_) => {
                let what =
                    format!("server `{}` is of another cluster than those before it", node.name);
                return Err(Error::new(Code::RouteTopology, what));
            }
        }
    }
    id.map(|(id, _)| id).ok_or_else(|| {
        Error::new(Code::RouteNoServer, format!("no server of cluster `{name}` answers"))
    })
}

impl Inner {
    /// Whether somebody waits for what the server `at` will say.
    pub(crate) fn is_wanted(&self, at: usize) -> bool {
        self.wanted.load(SeqCst) > 0 && self.nodes[at].role() == Role::Replica
    }

    /// What a server said, or why it said nothing.
    pub(crate) fn heard(&self, at: usize, sample: u64, answer: Result<Answer>) {
        let now = self.settings.clock.now();
        let node = &self.nodes[at];
        let before = node.seen.load_full();
        let seen = match answer {
            Err(error) => Seen {
                role: Role::Out,
                lag: None,
                why: Some(error.what().into()),
                ..(*before).clone()
            },
            Ok(Answer { role, position, timeline, waits }) => {
                if let (Role::Primary, Some(position)) = (role, &position)
                    && self.is_primary(at)
                {
                    self.samples.add(sample, now, position.clone());
                }
                let lag = match (&role, &position) {
                    (Role::Replica, Some(position)) => self.samples.lag(position, now),
                    _ => None,
                };
                let (role, why) = self.ejected(role, lag, &before);
                let since =
                    if before.role == Role::Out && role != Role::Out { now } else { before.since };
                let timeline = timeline.max(before.timeline);
                Seen { role, position, lag, timeline, since, waits, why }
            }
        };
        if seen.role != before.role {
            tracing::info!(cluster = %self.name, server = %node.name, role = ?seen.role, why = seen.why.as_deref(), "a server changed");
        }
        let first = !node.heard.swap(true, SeqCst);
        let changed = first || seen.role != before.role || seen.timeline != before.timeline;
        node.tell(seen);
        if changed {
            self.elect();
        }
        self.news.send_modify(|n| *n += 1);
    }

    fn ejected(
        &self,
        role: Role,
        lag: Option<Duration>,
        before: &Seen,
    ) -> (Role, Option<Arc<str>>) {
        let was_late = before.role == Role::Out && before.lag.is_some();
        let max = if was_late { self.settings.lag_max / 2 } else { self.settings.lag_max };
        match lag.filter(|lag| role == Role::Replica && *lag > max) {
            Some(lag) => (Role::Out, Some(format!("it is {lag:.1?} behind").into())),
            None => (role, None),
        }
    }

    fn is_primary(&self, at: usize) -> bool {
        matches!(self.primary.load().as_deref(), Some(Ok(primary)) if *primary == at)
    }

    /// Who takes writes. Of two, PostgreSQL's later timeline is the one that was promoted; else the one that was chosen
    /// stays, as long as it answers; and where that tells nothing, none is chosen.
    fn elect(&self) {
        // One that was not looked at may be a second.
        if !self.nodes.iter().all(|node| node.heard.load(SeqCst)) {
            return;
        }
        let of = |at: usize| self.nodes[at].seen.load_full();
        let mut all: Vec<usize> =
            (0..self.nodes.len()).filter(|at| of(*at).role == Role::Primary).collect();
        let latest = all.iter().map(|at| of(*at).timeline).max();
        all.retain(|at| Some(of(*at).timeline) == latest);
        let chosen = match (&all[..], self.primary.load().as_deref()) {
            ([], _) => None,
            ([one], _) => Some(Ok(*one)),
            (several, Some(Ok(known))) if several.contains(known) => Some(Ok(*known)),
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|at| &*self.nodes[*at].name).collect();
                let what = format!(
                    "servers {} of cluster `{}` all take writes",
                    names.join(" and "),
                    self.name
                );
                Some(Err(Arc::new(Error::new(Code::RouteSplitBrain, what))))
            }
        };
        let before = self.primary.load_full();
        let changed = match (&chosen, before.as_deref()) {
            (Some(Ok(new)), Some(Ok(old))) => new != old,
            _ => true,
        };
        // While none is there, the last stays known: a statement fails at it soon enough, and it may come back.
        if changed && let Some(chosen) = chosen {
            self.samples.forget();
            self.primary.store(Some(Arc::new(chosen)));
        }
    }

    /// The primary, if it is there.
    pub(crate) fn primary_now(&self) -> Result<Option<(usize, Db)>> {
        match self.primary.load().as_deref() {
            Some(Ok(at)) if self.nodes[*at].role() == Role::Primary => {
                Ok(self.nodes[*at].handle().map(|db| (*at, db)))
            }
            Some(Err(split)) => Err(Error::new(Code::RouteSplitBrain, split.what().to_owned())),
            _ => Ok(None),
        }
    }

    /// As soon as there is one. Errors: ROUTE-001, ROUTE-002.
    pub(crate) async fn primary_within(&self, limit: Duration) -> Result<(usize, Db)> {
        let until = self.settings.clock.now() + limit;
        let mut news = self.news.subscribe();
        loop {
            if let Some(found) = self.primary_now()? {
                return Ok(found);
            }
            if self.settings.clock.timeout_at(until, news.changed()).await.is_none() {
                return Err(self.no_primary(limit));
            }
        }
    }

    fn no_primary(&self, limit: Duration) -> Error {
        let what = format!("cluster `{}` had no primary for {limit:.1?}", self.name);
        self.nodes.iter().fold(Error::new(Code::RouteNoPrimary, what), |error, node| {
            let seen = node.seen.load();
            let why = seen.why.as_deref().unwrap_or("it follows");
            error.note(format!("{}: {:?}, {why}", node.name, seen.role))
        })
    }

    /// The mark of the current scope, or, outside of one, of the process.
    pub(crate) fn mark<T>(self: &Arc<Self>, change: impl FnOnce(&mut Mark) -> T) -> T {
        let Some(scope) = Scope::current() else {
            let now = self.settings.clock.now();
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            return change(own.mark(now, || self.after_now()));
        };
        scope.marks(|marks| marks.change(self.id, change))
    }

    /// Something was sent, and whether it was written nobody knows.
    pub(crate) fn unsure(self: &Arc<Self>) {
        let after = self.after_now();
        match Scope::current() {
            Some(scope) => {
                scope.marks(|marks| marks.change(self.id, |mark| mark.unsure(after)));
            }
            None => {
                let now = self.settings.clock.now();
                let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
                own.unsure(now, after);
            }
        }
    }

    pub(crate) fn token_at(&self, position: Position) -> Token {
        match self.engine {
            Engine::Postgres => Token::postgres(self.id, position),
            _ => Token::mariadb(self.id, position),
        }
    }

    /// What was written by now has a position that the primary tells when it is asked next, which is at once.
    pub(crate) fn after_now(self: &Arc<Self>) -> Arc<After> {
        let after = After::new(self);
        self.ask_primary();
        Arc::new(after)
    }

    pub(crate) fn ask_primary(&self) {
        if let Some(Ok(primary)) = self.primary.load().as_deref() {
            self.kicks[*primary].notify_one();
        }
    }

    /// Errors: ROUTE-003.
    pub(crate) fn check(&self, token: &Token) -> Result<()> {
        if token.cluster() == self.id {
            return Ok(());
        }
        let what = format!("the token is not of cluster `{}`", self.name);
        Err(Error::new(Code::RouteToken, what))
    }
}
