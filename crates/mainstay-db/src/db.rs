//! The handle.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::observe::Observer;
use mainstay_core::once::Pairs;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::{Options, Pool, Status};
use tokio::runtime::Handle;

use crate::config::Connect;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::local::Local;
use crate::lock::LocalNames;
use crate::record::Record;
use crate::route::{Route, Work};
use crate::statement::Sql;
use crate::text::Texts;
use crate::transaction::Open;
use crate::url::Url;

/// A handle to a database: its pool or, inside [`transaction`](Db::transaction), the open
/// transaction. Cheap to clone; `Send` and `Sync`; clones share the pool.
///
/// The engine is chosen by the URL: `sqlite:PATH`, `sqlite::memory:`, `postgres://...`,
/// `mysql://...` or `mariadb://...`, and `postgres+local:PATH`, a private PostgreSQL in a folder.
#[derive(Clone)]
pub struct Db {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transaction: Option<Arc<Open>>,
    /// Who says which server the work goes to.
    pub(crate) route: Option<Arc<dyn Route>>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) pools: Pools,
    pub(crate) texts: Texts,
    /// Counts the changes of the schema made through this handle.
    pub(crate) schema_epoch: AtomicU64,
    pub(crate) name: Arc<str>,
    pub(crate) url: Url,
    pub(crate) options: Options,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) observer: Observer,
    /// Where what must go on without its caller does.
    pub(crate) runtime: Handle,
    /// The findings that were logged already.
    pub(crate) findings: Pairs,
    /// When the server was last asked about a deadlock.
    pub(crate) asked: Mutex<Option<Instant>>,
    /// SQLite's advisory locks within this process.
    pub(crate) names: LocalNames,
    /// Ends after the pools: fields are dropped in their order.
    pub(crate) local: Local,
}

pub(crate) struct Pools {
    pub(crate) main: Pool<Driver>,
    /// SQLite's, beside its one writer.
    pub(crate) readers: Option<Pool<Driver>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn pool(&self, reads: bool) -> &Pool<Driver> {
        match &self.pools.readers {
            Some(readers) if reads => readers,
            _ => &self.pools.main,
        }
    }

    pub(crate) fn driver(&self) -> &Driver {
        self.pools.main.manager()
    }
}

impl Db {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), transaction: None, route: None }
    }

    /// Connects with the defaults. Errors: as [`Connect::connect`].
    pub async fn connect(url: &str) -> Result<Self> {
        Connect::new(url).connect().await
    }

    /// Begins a handle with settings of its own.
    pub fn builder(url: &str) -> Connect {
        Connect::new(url)
    }

    /// The engine behind the handle.
    pub fn engine(&self) -> Engine {
        self.shared.engine
    }

    /// Whether the server is MariaDB, whose SQL differs from MySQL's in places.
    pub fn is_mariadb(&self) -> bool {
        self.shared.driver().is_mariadb()
    }

    /// What it is connected to, such as `PostgreSQL at 127.0.0.1:5432`, without user and password.
    pub fn place(&self) -> String {
        self.shared.driver().place()
    }

    /// The name that events and messages call it by.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where to subscribe to what happens on it.
    pub fn observer(&self) -> &Observer {
        &self.shared.observer
    }

    /// Begins another handle of the same database, with a pool of its own: what runs there takes no
    /// connection from anybody here (a bulkhead, as for reports). It has this one's settings until it is
    /// given others, and an [`Observer`] of its own. The two are closed each by itself.
    ///
    /// Errors: DB-016 for a database in memory, which lives in its one connection.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = format!("sqlite:{}/shop.db", folder.path().display());
    /// let db = mainstay_db::Db::connect(&url).await?;
    /// let two = mainstay_pool::Options { max_size: 2, ..Default::default() };
    /// let reports = db.apart()?.name("reports").pool(two).connect().await?;
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    pub fn apart(&self) -> Result<Connect> {
        if self.shared.driver().is_in_memory() {
            let what = "a database in memory has one connection and no second pool";
            return Err(Error::new(Code::Unsupported, what).fix("use a file: sqlite:PATH"));
        }
        let shared = &self.shared;
        Ok(Connect::new(&shared.url.0)
            .pool(shared.options.clone())
            .statement_timeout(shared.statement_timeout)
            .name(Arc::clone(&shared.name))
            .clock(shared.clock.clone())
            .rng(shared.rng.clone()))
    }

    /// Whether this is the handle of a transaction.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// How the pool stands; of SQLite, the readers and the writer together.
    pub fn status(&self) -> Status {
        let main = self.shared.pools.main.status();
        let Some(readers) = &self.shared.pools.readers else { return main };
        let readers = readers.status();
        Status {
            max_size: main.max_size + readers.max_size,
            open: main.open + readers.open,
            idle: main.idle + readers.idle,
            in_use: main.in_use + readers.in_use,
            connecting: main.connecting + readers.connecting,
            waiting: main.waiting + readers.waiting,
            suspended: main.suspended || readers.suspended,
            closed: main.closed,
        }
    }

    /// Asks the database for an answer, with a connection of the pool. For readiness probes.
    #[track_caller]
    pub fn ping(&self) -> impl Future<Output = Result<()>> + Send + '_ {
        let query = self.query("SELECT 1");
        async { query.execute().await.map(drop) }
    }

    /// Runs a text of several statements, without values, as it is: for schemas and set-up. It is
    /// told to subscribers as one statement.
    ///
    /// PostgreSQL runs the whole as one transaction unless it says otherwise itself; the others run
    /// statement by statement, and stop at the first that fails. It may begin and end transactions,
    /// save inside one; what it leaves open is rolled back.
    ///
    /// Errors: as [`Query`](crate::Query); TX-006.
    #[track_caller]
    pub fn script(&self, sql: &'static str) -> impl Future<Output = Result<()>> + Send + '_ {
        let place = Place::here();
        async move {
            let there = self.chosen(Work::Write, place).await?;
            // Its beginning may have been committed, however it ends.
            let mut doubt = self.doubt(Work::Write);
            there.as_ref().unwrap_or(self).script_here(sql, place).await?;
            self.ran(Work::Write);
            doubt.settled();
            Ok(())
        }
    }

    async fn script_here(&self, sql: &'static str, place: Place) -> Result<()> {
        let shown = Sql::Static(sql);
        let (_, text) = self.shared.texts.of_driver(sql, self.engine());
        if self.in_transaction() {
            text.check_control(self.engine(), true).map_err(|e| e.at(place))?;
        }
        let mut record = Record::begin(&self.shared, &shown, &text, place, self.transaction_id());
        let outcome = async {
            let mut hold = record.held(pin!(self.hold(false, false, place))).await?;
            let _ran = hold.begins(self, &text, &shown, place)?;
            let work = async { hold.run(sql).await.map_err(|e| from_driver(e, Some(sql))) };
            let outcome = self.in_time(self.deadline(), work).await;
            hold.explain(self, outcome).await
        }
        .await;
        record.check(outcome, place)?;
        record.done();
        Ok(())
    }

    /// Refuses further work, waits up to `limit` for what is out, and closes all connections; a
    /// private server is stopped. Closing twice is fine.
    ///
    /// Cancel safe: dropped, the handle stays closed and only the wait ends.
    ///
    /// Errors: POOL-004, naming who still holds connections.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let deadline = self.shared.clock.now() + limit;
        let main = self.shared.pools.main.close(limit).await;
        let readers = match &self.shared.pools.readers {
            Some(readers) => {
                let left = deadline.saturating_duration_since(self.shared.clock.now());
                readers.close(left.max(Duration::from_millis(1))).await
            }
            None => Ok(()),
        };
        self.shared.local.stop().await?;
        main.and(readers)
    }

    pub(crate) fn transaction_id(&self) -> Option<u64> {
        self.transaction.as_ref().map(|t| t.whole.id)
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("engine", &self.engine())
            .field("name", &self.shared.name)
            .field("transaction", &self.transaction_id())
            .finish_non_exhaustive()
    }
}
