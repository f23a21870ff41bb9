//! MySQL and MariaDB: connecting, and ending what an abandoned statement left running.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use mainstay_core::Result;
use mainstay_core::clock::{Clock, Tick};
use mainstay_pool::Activity;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, MySqlConnection, Row as _};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::connection::Raw;
use crate::error::from_driver;
use crate::trail::Trails;
use crate::url::{self, Shape};

/// Most abandoned statements end by themselves in this time: ending them costs a connection.
const GRACE: Duration = Duration::from_millis(20);
/// Connections opened at the same time to end statements.
const KILLS_MAX: usize = 2;
/// Statements that wait to be ended; of more at once the rest run to their own end.
const WAITING_MAX: usize = 64;
/// How long ending one may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

const SHAPE: Shape = Shape {
    example: "mysql://USER:PASSWORD@HOST:3306/DATABASE",
    parameters: &[
        "sslmode",
        "ssl-mode",
        "sslca",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "charset",
        "collation",
        "statement-cache-capacity",
        "socket",
        "timezone",
        "time-zone",
    ],
};

const WHO_AM_I: &str = "SELECT CONNECTION_ID(), CONCAT(@@hostname, ':', @@port), VERSION() LIKE '%MariaDB%', \
     @@innodb_rollback_on_timeout";

/// The server's thread behind a connection.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    id: u64,
    /// Behind a proxy another server may have the same number.
    server: String,
    /// Whether a lock that is not had in time costs the whole transaction.
    pub(crate) timeout_ends: bool,
}

#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: MySqlConnectOptions,
    statement_timeout: Option<Duration>,
    kills: Semaphore,
    waiting: AtomicUsize,
    trails: Trails,
    /// What the last connection was to.
    mariadb: AtomicBool,
    clock: Clock,
    /// Where statements are ended: a connection may be dropped outside it.
    runtime: Handle,
}

impl Driver {
    pub(crate) fn from_url(
        text: &str,
        statement_timeout: Option<Duration>,
        clock: Clock,
    ) -> Result<Self> {
        SHAPE.check(text)?;
        let text = text.replacen("mariadb:", "mysql:", 1);
        let options =
            MySqlConnectOptions::from_str(&text).map_err(|e| url::refused(&e, SHAPE.example))?;
        let shared = Shared {
            // Statements are observed by ourselves.
            options: options.disable_statement_logging(),
            statement_timeout,
            kills: Semaphore::new(KILLS_MAX),
            waiting: AtomicUsize::new(0),
            trails: Trails::default(),
            mariadb: AtomicBool::new(false),
            clock,
            runtime: Handle::current(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn place(&self) -> String {
        let options = &self.shared.options;
        match options.get_socket() {
            Some(socket) => format!("MySQL at {}", socket.display()),
            None => format!("MySQL at {}:{}", options.get_host(), options.get_port()),
        }
    }

    pub(crate) fn trails(&self) -> &Trails {
        &self.shared.trails
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.shared.mariadb.load(Relaxed)
    }

    /// Also gives the number of the session.
    pub(crate) async fn connect(&self) -> Result<(Raw, u64)> {
        let opened = MySqlConnection::connect_with(&self.shared.options).await;
        let mut connection = opened.map_err(|e| url::connect_error(e, &self.place()))?;
        let failed = |e| from_driver(e, None);
        let row = connection.fetch_one(WHO_AM_I).await.map_err(failed)?;
        let (id, server) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        let is_mariadb: bool = row.try_get(2).map_err(failed)?;
        let timeout_ends = row.try_get(3).map_err(failed)?;
        self.shared.mariadb.store(is_mariadb, Relaxed);
        if let Some(limit) = self.shared.statement_timeout {
            // MySQL has it for reads alone, and in milliseconds.
            let set = if is_mariadb {
                format!("SET SESSION max_statement_time = {}", limit.as_secs_f64())
            } else {
                format!("SET SESSION max_execution_time = {}", limit.as_millis())
            };
            connection.execute(AssertSqlSafe(set)).await.map_err(failed)?;
        }
        Ok((Raw::MySql(connection, Session { id, server, timeout_ends }), id))
    }

    /// Has the server end what runs on `session`, whose connection is being dropped, if it has run for
    /// longer than most do. In the background, and a few at a time.
    pub(crate) fn kill(&self, session: &Session, activity: &Activity) {
        let shared = Arc::clone(&self.shared);
        let now: Tick = shared.clock.coarse();
        let ran = activity.begun_at().map(|at| now.since(at)).unwrap_or_default();
        if ran < GRACE || shared.waiting.fetch_add(1, Relaxed) >= WAITING_MAX {
            if ran >= GRACE {
                shared.waiting.fetch_sub(1, Relaxed);
            }
            return;
        }
        let waits = Waits(Arc::clone(&shared));
        let session = session.clone();
        self.shared.runtime.spawn(async move {
            let _waits = waits;
            let _permit = shared.kills.acquire().await;
            let kill = shared.end(&session, ran);
            if let Some(Err(error)) = shared.clock.timeout(KILL_TIMEOUT, kill).await {
                tracing::debug!(%error, "an abandoned statement could not be ended");
            }
        });
    }
}

impl Shared {
    async fn end(&self, session: &Session, ran: Duration) -> Result<(), sqlx::Error> {
        let mut other = MySqlConnection::connect_with(&self.options).await?;
        let row = other.fetch_one(WHO_AM_I).await?;
        if row.try_get::<String, _>(1)? != session.server {
            return Ok(());
        }
        // After a restart the number may be another's: so it must have worked for as long, for our
        // user.
        let (id, seconds) = (session.id, ran.as_secs());
        let is_ours = format!(
            "SELECT id FROM information_schema.processlist WHERE id = {id} AND command <> 'Sleep' \
             AND time >= {seconds} AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"
        );
        if other.fetch_optional(AssertSqlSafe(is_ours)).await?.is_some() {
            other.execute(AssertSqlSafe(format!("KILL {id}"))).await?;
        }
        // Dropping it closes the socket, which is all the good-bye it needs.
        Ok(())
    }
}

/// One that waits to be ended, until dropped.
struct Waits(Arc<Shared>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
