//! A connection that many share. No caller waits longer for it than the link's bound: where the server was
//! away a moment ago it is told so at once, and one task at a time tries to reach it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result, Retry};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
};
use tokio::sync::Notify;

use super::url;

/// How long one attempt at a connection may take.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A connection on which so many questions in a row had no answer is given up.
const SILENT_MAX: u32 = 3;

/// Whether a question is asked again where its answer was lost: only what bears being done twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Once,
    Never,
}

/// The way to the connection of the moment.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) place: String,
    pub(crate) clock: Clock,
    limit: Duration,
    slot: Mutex<Slot>,
    changed: Notify,
    silent: AtomicU32,
}

struct Slot {
    state: State,
    pause: Duration,
    /// Counts connections, so that an old one's end is not taken for the new one's.
    epoch: u64,
}

enum State {
    None,
    Connecting { since: Instant },
    Up(MultiplexedConnection),
    Down { until: Instant, why: String },
}

/// Why there is no answer, and whether it was lost: the question may have been done.
struct Failure {
    error: Error,
    is_lost: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, is_lost: false }
    }
}

impl Link {
    /// To the server that `url` names, which is not asked yet. Errors: CACHE-004.
    pub(crate) fn open(url: &str, limit: Duration) -> Result<Arc<Self>> {
        let (client, place) = url::open(url)?;
        Ok(Arc::new(Self::new(client, place, limit)))
    }

    /// As [`open`](Self::open), and asks. Errors: also CACHE-001.
    pub(crate) async fn connect(url: &str, limit: Duration) -> Result<Arc<Self>> {
        let link = Self::open(url, limit)?;
        link.command::<()>(&redis::cmd("PING"), Again::Never).await?;
        Ok(link)
    }

    fn new(client: Client, place: String, limit: Duration) -> Self {
        let slot = Mutex::new(Slot { state: State::None, pause: PAUSE_MIN, epoch: 0 });
        let (changed, silent) = (Notify::new(), AtomicU32::new(0));
        Self { client, place, clock: Clock::system(), limit, slot, changed, silent }
    }

    pub(crate) fn with_limit(&self, limit: Duration) -> Self {
        Self::new(self.client.clone(), self.place.clone(), limit)
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, within the limit. Cancel safe: the answer is thrown away.
    ///
    /// Errors: CACHE-001.
    pub(crate) async fn ask<T, F, Fut>(self: &Arc<Self>, work: F) -> Result<T>
    where
        F: FnOnce(MultiplexedConnection) -> Fut,
        Fut: Future<Output = RedisResult<T>>,
    {
        self.answer(work).await.map_err(|failure| failure.error)
    }

    /// Runs a script. Errors: CACHE-001, with [`Retry::Unknown`] where it may have run.
    pub(crate) async fn script<T: FromRedisValue>(
        self: &Arc<Self>,
        script: &ScriptInvocation<'_>,
        again: Again,
    ) -> Result<T> {
        self.repeat(again, |mut wire| async move { script.invoke_async(&mut wire).await }).await
    }

    /// As [`script`](Self::script), of one command.
    pub(crate) async fn command<T: FromRedisValue>(
        self: &Arc<Self>,
        command: &Cmd,
        again: Again,
    ) -> Result<T> {
        self.repeat(again, |mut wire| async move { command.query_async(&mut wire).await }).await
    }

    /// The first question after a server was started anew finds the old connection dead.
    async fn repeat<T, F, Fut>(self: &Arc<Self>, again: Again, work: F) -> Result<T>
    where
        F: Fn(MultiplexedConnection) -> Fut,
        Fut: Future<Output = RedisResult<T>>,
    {
        match (self.answer(&work).await, again) {
            (Ok(answer), _) => Ok(answer),
            (Err(failure), Again::Once) if failure.is_lost => self.ask(&work).await,
            (Err(failure), Again::Never) if failure.is_lost => {
                Err(failure.error.retry(Retry::Unknown))
            }
            (Err(failure), _) => Err(failure.error),
        }
    }

    async fn answer<T, F, Fut>(self: &Arc<Self>, work: F) -> Result<T, Failure>
    where
        F: FnOnce(MultiplexedConnection) -> Fut,
        Fut: Future<Output = RedisResult<T>>,
    {
        let deadline = self.clock.now() + self.limit;
        let (epoch, wire) = self.wire(deadline).await?;
        match self.clock.timeout_at(deadline, work(wire)).await {
            Some(Ok(answer)) => {
                self.silent.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Some(Err(error)) => {
                let is_lost = error.is_io_error() || error.is_unrecoverable_error();
                // A replica that was the master before: the name may lead to the new one.
                if is_lost || error.code() == Some("READONLY") {
                    self.lost(epoch);
                }
                Err(Failure { error: self.told(&error), is_lost })
            }
            None => {
                if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_MAX {
                    self.lost(epoch);
                }
                Err(Failure { error: self.late(), is_lost: true })
            }
        }
    }

    async fn wire(self: &Arc<Self>, deadline: Instant) -> Result<(u64, MultiplexedConnection)> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the state is looked at, so that no change falls in between.
            changed.as_mut().enable();
            if let Some(found) = self.look()? {
                return Ok(found);
            }
            if self.clock.timeout_at(deadline, changed).await.is_none() {
                return Err(self.late());
            }
        }
    }

    /// The connection, `None` where it is worth waiting for one. Errors: CACHE-001.
    fn look(self: &Arc<Self>) -> Result<Option<(u64, MultiplexedConnection)>> {
        let now = self.clock.now();
        let mut slot = self.slot();
        match &slot.state {
            State::Up(wire) => return Ok(Some((slot.epoch, wire.clone()))),
            State::Down { until, why } if now < *until => return Err(self.failed(why.clone())),
            // Others have waited as long already.
            State::Connecting { since } if now < *since + ATTEMPT + ATTEMPT => {
                return if now < *since + self.limit { Ok(None) } else { Err(self.late()) };
            }
            State::None | State::Down { .. } | State::Connecting { .. } => {}
        }
        slot.state = State::Connecting { since: now };
        slot.epoch += 1;
        tokio::spawn(Arc::clone(self).make(slot.epoch));
        Ok(None)
    }

    async fn make(self: Arc<Self>, epoch: u64) {
        let made = self.clock.timeout(ATTEMPT, Box::pin(self.fresh())).await;
        let mut slot = self.slot();
        if slot.epoch != epoch {
            return;
        }
        match made {
            Some(Ok(wire)) => {
                self.silent.store(0, Ordering::Relaxed);
                slot.state = State::Up(wire);
                slot.pause = PAUSE_MIN;
            }
            failed => {
                let why = match failed {
                    Some(Err(error)) => words(&error),
                    _ => format!("it did not answer within {ATTEMPT:?}"),
                };
                tracing::debug!(code = %Code::CacheStore, place = self.place, why, "no connection");
                let until = self.clock.now() + Rng::system().jittered(slot.pause, 0.5);
                slot.state = State::Down { until, why };
                slot.pause = (slot.pause * 2).min(PAUSE_MAX);
            }
        }
        drop(slot);
        self.changed.notify_waiters();
    }

    async fn fresh(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ATTEMPT))
            // It is watched by who asks.
            .set_response_timeout(None);
        let mut wire = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // Only now does a server that wants a password, or that is frozen, say so.
        redis::cmd("PING").exec_async(&mut wire).await?;
        Ok(wire)
    }

    fn lost(&self, epoch: u64) {
        let mut slot = self.slot();
        if slot.epoch == epoch && matches!(slot.state, State::Up(_)) {
            tracing::warn!(code = %Code::CacheStore, place = self.place, "the connection was lost");
            // Who asks next has it made anew.
            slot.state = State::None;
        }
    }

    pub(crate) fn late(&self) -> Error {
        self.failed(format!("it did not answer within {:?}", self.limit))
    }

    pub(crate) fn told(&self, error: &RedisError) -> Error {
        self.failed(words(error))
    }

    fn failed(&self, why: String) -> Error {
        Error::new(Code::CacheStore, format!("{} can't be asked", self.place)).why(why)
    }
}

/// In the server's words, which name commands and users, never what was stored or a password.
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_says_why_and_has_no_password() {
        for url in ["redis://:s3cret@127.0.0.1:1/0", "redis://:s3cret@h/x", "s3cret"] {
            let error = Link::connect(url, Duration::from_secs(5)).await.err().unwrap();
            assert!(matches!(error.code(), Code::CacheStore | Code::CacheOption), "{error:?}");
            assert!(!error.report().contains("s3cret"), "{error:?}");
            let refused = error.report().contains("refused");
            assert_eq!(refused, error.code() == Code::CacheStore, "{}", error.report());
        }
    }
}
