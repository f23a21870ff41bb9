//! Connecting: what a handle is made from.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::observe::Observer;
use mainstay_core::once::Pairs;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_pool::{Manage, Options, Pool};
use tokio::runtime::Handle;

use crate::db::{Db, Pools, Shared};
use crate::driver::Driver;
use crate::engine::Engine;
use crate::local::{self, Local};
use crate::lock::LocalNames;
use crate::text::Texts;
use crate::url::{self, Target, Url};

/// PostgreSQL takes no more.
const STATEMENT_TIMEOUT_MAX: Duration = Duration::from_hours(24 * 24);

/// Sets a handle up; made by [`Db::builder`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_db::Db;
///
/// let db = Db::builder("sqlite::memory:").name("orders").connect().await?;
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Connect {
    url: Url,
    options: Options,
    statement_timeout: Option<Duration>,
    name: Arc<str>,
    clock: Clock,
    rng: Rng,
    observer: Observer,
    lazy: bool,
}

impl Connect {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: Url(url.into()),
            options: Options::default(),
            statement_timeout: None,
            name: "main".into(),
            clock: Clock::system(),
            rng: Rng::system(),
            observer: Observer::new(),
            lazy: false,
        }
    }

    /// Opens no connection before the first work needs one: [`connect`](Self::connect) then succeeds where the server is
    /// down, and the work fails until it is up. A file and a private server are opened at once all the same. Default:
    /// the first one is opened at once.
    #[must_use]
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// The pool's bounds; default [`Options::default`]. With SQLite, `max_size` is the readers'
    /// number: there is one writer beside them.
    #[must_use]
    pub fn pool(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// How long one statement may take: PostgreSQL, MariaDB and (for reads) MySQL are told to end it
    /// then, and half a second later it is given up here, on every engine: DB-035. 1 ms to 24 days;
    /// `None`, the default, is no bound but the deadline of the current
    /// [`Scope`](mainstay_core::scope::Scope).
    #[must_use]
    pub fn statement_timeout(mut self, limit: Option<Duration>) -> Self {
        self.statement_timeout = limit;
        self
    }

    /// What events and messages call it; default `main`. The pool of SQLite's one writer has
    /// `.writer` after it.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Where its statements, checkouts and transactions are told; default a new [`Observer`],
    /// which [`Db::observer`] gives.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The clock; default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The source of jitter; default the machine's.
    #[must_use]
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// The engine that the URL names, without connecting. Errors: CFG-004, DB-016.
    pub fn engine(&self) -> Result<Engine> {
        Ok(match url::target(&self.url.0)? {
            Target::Server(engine) => engine,
            Target::Local(_) => Engine::Postgres,
        })
    }

    /// What it would connect to, such as `PostgreSQL at 127.0.0.1:5432`, without user and password, and without
    /// connecting; of a private server its folder. Errors: CFG-004, DB-016.
    pub fn place(&self) -> Result<String> {
        Ok(match url::target(&self.url.0)? {
            Target::Server(engine) => self.driver(engine)?.place(),
            Target::Local(folder) => format!("PostgreSQL in {folder}"),
        })
    }

    /// Opens the first connection, unless it is [`lazy`](Self::lazy), so that what is wrong is told here and now.
    ///
    /// Errors: CFG-003 (pool), CFG-004 (URL), DB-016 (engine not compiled in), DB-020 to DB-027
    /// (server or file), LOCAL-001 to LOCAL-003 (private server).
    pub async fn connect(self) -> Result<Db> {
        self.options.validate()?;
        let bounds = Duration::from_millis(1)..=STATEMENT_TIMEOUT_MAX;
        if self.statement_timeout.is_some_and(|limit| !bounds.contains(&limit)) {
            let what = "database.statement_timeout must be at least 1 ms and at most 24 days";
            return Err(Error::new(Code::ConfigValue, what));
        }
        let (engine, driver, local) = match url::target(&self.url.0)? {
            Target::Server(engine) => (engine, self.driver(engine)?, Local::none()),
            Target::Local(folder) => {
                let (driver, server) =
                    local::start(folder, self.statement_timeout, &self.clock).await?;
                (Engine::Postgres, driver, server)
            }
        };
        let pools = self.pools(driver).await?;
        Ok(Db::new(Shared {
            engine,
            pools,
            texts: Texts::default(),
            schema_epoch: AtomicU64::new(0),
            name: self.name,
            url: self.url,
            options: self.options,
            statement_timeout: self.statement_timeout,
            clock: self.clock,
            rng: self.rng,
            observer: self.observer,
            runtime: Handle::current(),
            findings: Pairs::default(),
            asked: Mutex::default(),
            names: LocalNames::default(),
            local,
        }))
    }

    fn driver(&self, engine: Engine) -> Result<Driver> {
        match engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite => crate::driver::sqlite::Driver::from_url(&self.url.0)
                .map(|d| Driver::Sqlite(Box::new(d))),
            #[cfg(feature = "postgres")]
            Engine::Postgres => {
                let (limit, clock) = (self.statement_timeout, self.clock.clone());
                crate::driver::postgres::Driver::from_url(&self.url.0, limit, clock)
                    .map(|d| Driver::Postgres(Box::new(d)))
            }
            #[cfg(feature = "mysql")]
            Engine::MySql => {
                let (limit, clock) = (self.statement_timeout, self.clock.clone());
                crate::driver::mysql::Driver::from_url(&self.url.0, limit, clock)
                    .map(|d| Driver::MySql(Box::new(d)))
            }
            #[allow(unreachable_patterns, reason = "reached where an engine is left out")]
            other => Err(Error::new(Code::Unsupported, format!("{other} is not compiled in"))),
        }
    }

    /// SQLite has one writer and many readers, or, in memory, one connection that never ends.
    async fn pools(&self, driver: Driver) -> Result<Pools> {
        match driver {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite(writer) => {
                let only = Options {
                    max_size: 1,
                    min_idle: self.options.min_idle.min(1),
                    ..self.options.clone()
                };
                if writer.is_in_memory() {
                    let forever = Options { max_lifetime: None, idle_timeout: None, ..only };
                    return Ok(Pools {
                        main: self
                            .pool_of(Driver::Sqlite(writer), forever, self.name.clone())
                            .await?,
                        readers: None,
                    });
                }
                let reader = Driver::Sqlite(Box::new(writer.reader()));
                // Told apart, so that neither hides behind the other's numbers.
                let name = format!("{}.writer", self.name).into();
                let main = self.pool_of(Driver::Sqlite(writer), only, name).await?;
                Ok(Pools {
                    main,
                    readers: Some(
                        self.pool_of(reader, self.options.clone(), self.name.clone()).await?,
                    ),
                })
            }
            #[allow(unreachable_patterns, reason = "reached only with several engines")]
            driver => Ok(Pools {
                main: self.pool_of(driver, self.options.clone(), self.name.clone()).await?,
                readers: None,
            }),
        }
    }

    async fn pool_of(
        &self,
        driver: Driver,
        options: Options,
        name: Arc<str>,
    ) -> Result<Pool<Driver>> {
        let limit: Duration = options.connect_timeout;
        let lazy = self.lazy && self.engine()? != Engine::Sqlite;
        let first = if lazy {
            None
        } else {
            let first = self.clock.timeout(limit, driver.connect()).await.unwrap_or_else(|| {
                Err(Error::new(
                    Code::Unreachable,
                    format!("the database did not answer within {limit:?}"),
                ))
            });
            Some(first?)
        };
        let builder = Pool::builder(driver)
            .options(options)
            .name(name)
            .clock(self.clock.clone())
            .rng(self.rng.clone())
            .observer(self.observer.clone());
        match first {
            Some(first) => builder.first(first).build(),
            None => builder.build(),
        }
    }
}
