//! How each engine's connections are opened, asked, put right and closed: what the pool is told.

#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::path::PathBuf;

use mainstay_core::{Code, Error, Result};
use mainstay_pool::{Activity as Notes, Condition, Manage};
use sqlx::Connection as _;

use crate::connection::{Activity, Connection, Raw};
use crate::error::from_driver;
use crate::trail::Trails;

/// An engine with what its connections are opened with.
#[derive(Debug)]
pub(crate) enum Driver {
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlite::Driver>),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Driver>),
    #[cfg(feature = "mysql")]
    MySql(Box<mysql::Driver>),
}

impl Manage for Driver {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection> {
        let (raw, trail) = match self {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite(driver) => (driver.connect().await?, None),
            #[cfg(feature = "postgres")]
            Driver::Postgres(driver) => {
                let (raw, session) = driver.connect().await?;
                (raw, session.map(|session| driver.trails.of(session)))
            }
            #[cfg(feature = "mysql")]
            Driver::MySql(driver) => {
                let (raw, session) = driver.connect().await?;
                (raw, Some(driver.trails().of(session)))
            }
        };
        Ok(Connection::new(raw, trail))
    }

    fn attach(&self, connection: &mut Connection, activity: Notes) {
        connection.activity = Some(activity);
    }

    /// A drop at the await leaves the connection as one whose answer is awaited.
    async fn check(&self, connection: &mut Connection) -> Result<()> {
        // An answer that is owed already would be taken for this one's.
        if connection.state.activity == Activity::Waiting {
            return Err(Error::new(Code::Protocol, "an earlier exchange was cut off half-way"));
        }
        connection.state.activity = Activity::Waiting;
        connection.state.checked = true;
        let answer = ping(connection).await;
        connection.state.checked = answer.is_err();
        connection.state.note(answer.as_ref().map(|()| false));
        answer.map_err(|e| from_driver(e, None))
    }

    fn condition(&self, connection: &Connection) -> Condition {
        connection.condition()
    }

    async fn recover(&self, connection: &mut Connection) -> Result<()> {
        if connection.state.activity != Activity::Idle {
            self.finish_abandoned(connection).await?;
            connection.state.activity = Activity::Idle;
        }
        if connection.state.in_transaction {
            connection.rollback().await?;
        }
        connection.synchronize().await?;
        connection.unlock().await?;
        if connection.state.spent {
            return Err(Error::new(Code::NeedsSession, "its session was changed"));
        }
        Ok(())
    }

    /// On MySQL the server may still work for it: its thread does not notice that nobody listens.
    fn discard(&self, connection: Connection) {
        #[cfg(feature = "mysql")]
        if let (Driver::MySql(driver), Raw::MySql(_, session)) = (self, &connection.raw)
            && connection.state.activity == Activity::Waiting
            && !connection.state.checked
            && let Some(activity) = &connection.activity
        {
            driver.kill(session, activity);
        }
        drop(connection);
    }

    async fn close(&self, connection: Connection) {
        // Whether the server heard it makes no difference: the socket closes in any case.
        let _ = match connection.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection, _) => connection.close().await,
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection, _) => connection.close().await,
            #[cfg(feature = "mysql")]
            Raw::MySql(connection, _) => connection.close().await,
        };
    }
}

impl Driver {
    /// What it connects to, without user and password.
    pub(crate) fn place(&self) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite(driver) => driver.place(),
            #[cfg(feature = "postgres")]
            Driver::Postgres(driver) => driver.place(),
            #[cfg(feature = "mysql")]
            Driver::MySql(driver) => driver.place(),
        }
    }

    /// The last statements of its connections, by the server's number of their sessions.
    #[allow(clippy::unnecessary_wraps, reason = "SQLite has none")]
    pub(crate) fn trails(&self) -> Option<&Trails> {
        match self {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Driver::Postgres(driver) => Some(&driver.trails),
            #[cfg(feature = "mysql")]
            Driver::MySql(driver) => Some(driver.trails()),
        }
    }

    /// Whether it is MariaDB, which has words of its own for some things.
    pub(crate) fn is_mariadb(&self) -> bool {
        match self {
            #[cfg(feature = "mysql")]
            Driver::MySql(driver) => driver.is_mariadb(),
            #[allow(unreachable_patterns, reason = "reached only with several engines")]
            _ => false,
        }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite(driver) => driver.is_in_memory(),
            #[allow(unreachable_patterns, reason = "reached only with several engines")]
            _ => false,
        }
    }

    /// Where SQLite's locks by name are: beside the database, unless that is in memory.
    pub(crate) fn lock_folder(&self) -> Option<PathBuf> {
        match self {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite(driver) => driver.lock_folder(),
            #[allow(unreachable_patterns, reason = "reached only with several engines")]
            _ => None,
        }
    }

    /// Whether the server is on this machine, as far as its address tells.
    pub(crate) fn is_local(&self) -> bool {
        let place = self.place();
        [" at /", " at 127.", " at localhost", " at [::1]", " at ::1"]
            .iter()
            .any(|l| place.contains(l))
    }

    /// Brings a connection whose statement was abandoned to where the next one may begin.
    async fn finish_abandoned(&self, connection: &mut Connection) -> Result<()> {
        match &mut connection.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection, interrupt) => {
                sqlite::finish_abandoned(connection, interrupt).await
            }
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection, backend) => match self {
                Driver::Postgres(driver) => driver.finish_abandoned(connection, backend).await,
                #[allow(unreachable_patterns, reason = "reached only with several engines")]
                _ => unreachable!("a connection is put right by its own driver"),
            },
            #[cfg(feature = "mysql")]
            Raw::MySql(connection, _) => connection.ping().await.map_err(|e| from_driver(e, None)),
        }
    }
}

async fn ping(connection: &mut Connection) -> Result<(), sqlx::Error> {
    match &mut connection.raw {
        #[cfg(feature = "sqlite")]
        Raw::Sqlite(connection, _) => connection.ping().await,
        #[cfg(feature = "postgres")]
        Raw::Postgres(connection, _) => connection.ping().await,
        #[cfg(feature = "mysql")]
        Raw::MySql(connection, _) => connection.ping().await,
    }
}
