//! PostgreSQL: connecting, and ending what an abandoned statement left running.

use std::str::FromStr;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, PgConnection, Row as _};
use tokio::sync::Semaphore;

use crate::connection::Raw;
use crate::error::from_driver;
use crate::trail::Trails;
use crate::url::{self, Shape};

/// Most abandoned statements end by themselves in this time: cancelling costs a connection.
const GRACE: Duration = Duration::from_millis(20);
/// Connections opened at the same time to cancel statements.
const CANCELS_MAX: usize = 2;
/// Cancels sent for one statement, each wait twice the one before: a little over a second together.
const CANCELS_EACH_MAX: u32 = 6;
/// Answers read until one shows that the connection is in step.
const EXCHANGES_MAX: u32 = 4;

const SHAPE: Shape = Shape {
    example: "postgres://USER:PASSWORD@HOST:5432/DATABASE",
    parameters: &[
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "statement-cache-capacity",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "application_name",
        "options",
    ],
};

/// A server that we talk to ourselves has this setting from us, at the start of the session; PgBouncer
/// never passes it on.
const WHO_AM_I: &str = "SELECT pid, CAST(EXTRACT(EPOCH FROM backend_start) * 1000000 AS BIGINT), \
     (SELECT source <> 'client' FROM pg_settings WHERE name = 'extra_float_digits') \
     FROM pg_stat_activity WHERE pid = pg_backend_pid()";
const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 \
     AND CAST(EXTRACT(EPOCH FROM backend_start) * 1000000 AS BIGINT) = $2";

/// The server's process behind a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pid: i32,
    /// With the number it tells the process from a later one, and from one on another server.
    started_us: i64,
    /// A transaction pooler is between: the process is another client's after each transaction.
    pub(crate) pooled: bool,
}

#[derive(Debug)]
pub(crate) struct Driver {
    options: PgConnectOptions,
    statement_timeout: Option<Duration>,
    cancels: Semaphore,
    clock: Clock,
    pub(crate) trails: Trails,
}

impl Driver {
    pub(crate) fn from_url(
        text: &str,
        statement_timeout: Option<Duration>,
        clock: Clock,
    ) -> Result<Self> {
        SHAPE.check(text)?;
        let options =
            PgConnectOptions::from_str(text).map_err(|e| url::refused(&e, SHAPE.example))?;
        Ok(Self::new(options, statement_timeout, clock))
    }

    pub(crate) fn new(
        options: PgConnectOptions,
        statement_timeout: Option<Duration>,
        clock: Clock,
    ) -> Self {
        // Statements are observed by ourselves.
        let options = options.disable_statement_logging().extra_float_digits(2);
        Self {
            options,
            statement_timeout,
            cancels: Semaphore::new(CANCELS_MAX),
            clock,
            trails: Trails::default(),
        }
    }

    /// Also gives the number of the session, unless it changes with each transaction.
    pub(crate) async fn connect(&self) -> Result<(Raw, Option<u64>)> {
        let mut connection = self.open().await?;
        let row = connection.fetch_one(WHO_AM_I).await.map_err(|e| from_driver(e, None))?;
        let read = |e| from_driver(e, None);
        let backend = Backend {
            pid: row.try_get(0).map_err(read)?,
            started_us: row.try_get(1).map_err(read)?,
            pooled: row.try_get(2).map_err(read)?,
        };
        // A pooler would hand it to others.
        if let Some(limit) = self.statement_timeout.filter(|_| !backend.pooled) {
            let set = format!("SET statement_timeout = {}", limit.as_millis());
            connection.execute(AssertSqlSafe(set)).await.map_err(|e| from_driver(e, None))?;
        }
        let session = (!backend.pooled).then_some(u64::from(backend.pid.unsigned_abs()));
        Ok((Raw::Postgres(connection, backend), session))
    }

    /// What a connection is opened with.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    async fn open(&self) -> Result<PgConnection> {
        let opened = PgConnection::connect_with(&self.options).await;
        opened.map_err(|e| url::connect_error(e, &self.place()))
    }

    pub(crate) fn place(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => format!("PostgreSQL at {}", socket.display()),
            None => {
                format!("PostgreSQL at {}:{}", self.options.get_host(), self.options.get_port())
            }
        }
    }

    /// Waits for the end of what was abandoned; after a grace, has the server cancel it, and again
    /// for as long as it works on: a cancel that comes before the statement has begun is lost.
    ///
    /// The first answers read here may be the abandoned statement's own, an error among them: only
    /// an exchange that was begun and answered after the cancel shows that the connection is in
    /// step again. The server has taken the signal by then, so it can hit nobody else.
    pub(crate) async fn finish_abandoned(
        &self,
        connection: &mut PgConnection,
        backend: &Backend,
    ) -> Result<()> {
        let (mut cancels, mut grace) = (0, GRACE);
        for exchange in 0..EXCHANGES_MAX {
            let before = cancels;
            let mut ping = std::pin::pin!(connection.ping());
            let answer = loop {
                if let Some(answer) = self.clock.timeout(grace, ping.as_mut()).await {
                    break answer;
                }
                if cancels == CANCELS_EACH_MAX {
                    return Err(Error::new(Code::Protocol, "a cancelled statement goes on"));
                }
                cancels += 1;
                grace *= 2;
                if let Err(error) = self.cancel(*backend).await {
                    tracing::debug!(%error, "an abandoned statement could not be cancelled");
                }
            };
            if exchange > 0 && answer.is_ok() && cancels == before {
                return Ok(());
            }
        }
        Err(Error::new(Code::Protocol, "an abandoned statement did not end"))
    }

    async fn cancel(&self, backend: Backend) -> Result<()> {
        let _permit = self.cancels.acquire().await;
        let mut other = self.open().await?;
        let cancel = sqlx::query(CANCEL).bind(backend.pid).bind(backend.started_us);
        let cancelled = cancel.execute(&mut other).await;
        cancelled.map_err(|e| from_driver(e, None))?;
        // Dropping it closes the socket, which is all the good-bye it needs.
        Ok(())
    }
}
