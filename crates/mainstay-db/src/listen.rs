//! What PostgreSQL's NOTIFY says, as it says it: a wake-up, for who would otherwise ask again and again.
//!
//! It is no queue: what is said while the connection is away is not heard. Whoever listens looks for
//! itself as well, now and then, and whenever the connection was made anew.

use mainstay_core::{Code, Error, Place, Result};
use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::db::Db;
use crate::driver::Driver;
use crate::error::from_driver;
use crate::hold::needs_session;
use crate::route::Work;

/// A connection of its own, beside the pool, that hears what is said on some channels.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// NOTIFY on `channel`.
    Said {
        /// The channel.
        channel: String,
        /// What was said; may be empty.
        payload: String,
    },
    /// The connection was lost and is there again: something may have been missed.
    Again,
}

impl Db {
    /// Listens on `channels` of PostgreSQL (LISTEN), on a connection of its own that is not the pool's.
    ///
    /// Errors: DB-017 (another engine), DB-036 (behind a transaction pooler, where LISTEN is another
    /// client's a moment later), those of connecting.
    #[allow(irrefutable_let_patterns, reason = "refutable only with several engines")]
    pub async fn listen(&self, channels: &[&str]) -> Result<Listener> {
        // Of a cluster, the primary: a standby hears nothing.
        let there = self.chosen(Work::Write, Place::here()).await?;
        let Driver::Postgres(driver) = there.as_ref().unwrap_or(self).shared.driver() else {
            return Err(Error::new(Code::WrongEngine, "only PostgreSQL has LISTEN"));
        };
        if self.session().await?.is_pooled() {
            return Err(needs_session("LISTEN"));
        }
        // The driver offers its listener over a pool of its own only.
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(driver.options());
        let mut inner = PgListener::connect_with(&pool).await.map_err(|e| from_driver(e, None))?;
        inner.listen_all(channels.iter().copied()).await.map_err(|e| from_driver(e, None))?;
        Ok(Listener { inner })
    }
}

impl Listener {
    /// Waits for the next. A lost connection is made anew, and tells so.
    ///
    /// Cancel safe: nothing that was heard is lost by a drop.
    ///
    /// Errors: those of connecting, where the connection was lost and the server is away; the next call
    /// tries again.
    pub async fn next(&mut self) -> Result<Heard> {
        let heard = self.inner.try_recv().await.map_err(|e| from_driver(e, None))?;
        Ok(heard.map_or(Heard::Again, |said| Heard::Said {
            channel: said.channel().to_owned(),
            payload: said.payload().to_owned(),
        }))
    }
}
