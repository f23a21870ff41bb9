//! The connection, and the circuit before it: a store that failed is left alone for a while, and then asked
//! by one call alone. It knows nothing of limits.
//!
//! The connection is the client's `ConnectionManager`, which makes it anew where it was lost. It is watched,
//! since it would stay for ever with a refusal that is not the network's (a password that was changed), and
//! with a network that swallows what is sent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, RedisResult};

use super::url;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long nobody is let through after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How long nothing may be heard on a connection before it is given up for another.
const SILENCE: Duration = Duration::from_secs(1);
/// Questions that may wait to be sent.
const WAITING: usize = 1024;
/// Said by a server with which there is nothing wrong but its state.
const BUSY: &[&str] = &["OOM", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"];

/// The way to the server.
pub(super) struct Link {
    client: Client,
    pub(super) place: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wire: Option<ConnectionManager>,
    /// Since when nothing has succeeded.
    failing: Option<Instant>,
    /// While it is there, the circuit is open, and at that time somebody may try.
    retry_at: Option<Instant>,
    why: String,
}

impl Link {
    /// Connects to nothing yet. Errors: MSG-001.
    pub(super) fn new(url: &str) -> Result<Self> {
        let (client, place) = url::open(url)?;
        Ok(Self { client, place, state: Mutex::default() })
    }

    /// Waits until the server has answered once, for up to 2 s. Errors: LIMIT-002.
    pub(super) async fn ready(&self) -> Result<()> {
        let clock = Clock::system();
        let deadline = clock.now() + CONNECT;
        loop {
            let mut wire = self.wire(&mut self.state())?;
            let ping = async { redis::cmd("PING").exec_async(&mut wire).await };
            match clock.timeout_at(deadline, ping).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) if is_stuck(&error) || clock.now() + PAUSE >= deadline => {
                    self.state().wire = None;
                    return Err(self.error("can't be reached", words(&error)));
                }
                Some(Err(_)) => self.state().wire = None,
                None => return Err(self.error("can't be reached", silence(CONNECT))),
            }
            clock.sleep(PAUSE).await;
        }
    }

    /// Asks until `deadline`, unless the circuit is open. Cancel safe, as far as `work` is.
    ///
    /// Errors: LIMIT-002.
    pub(super) async fn ask<T, F>(
        &self,
        deadline: Instant,
        work: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let clock = Clock::system();
        let began = clock.now();
        let wire = self.enter(began, deadline)?;
        match clock.timeout_at(deadline, work(wire)).await {
            Some(Ok(answer)) => {
                let mut state = self.state();
                (state.failing, state.retry_at) = (None, None);
                Ok(answer)
            }
            Some(Err(error)) => {
                let told = self.error("can't decide limits", words(&error));
                // Of one key alone.
                if !words(&error).contains("WRONGTYPE") {
                    self.failed(clock.now(), words(&error), is_stuck(&error));
                }
                Err(told)
            }
            None => {
                let why = silence(deadline.saturating_duration_since(began));
                self.failed(clock.now(), why.clone(), false);
                Err(self.error("can't decide limits", why))
            }
        }
    }

    /// Asks for what can wait, whatever the circuit, and does not change it.
    pub(super) async fn tell<T, F>(
        &self,
        limit: Duration,
        work: impl FnOnce(ConnectionManager) -> F,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let wire = self.wire(&mut self.state()).ok()?;
        Clock::system().timeout(limit, work(wire)).await?.ok()
    }

    fn enter(&self, now: Instant, deadline: Instant) -> Result<ConnectionManager> {
        let mut state = self.state();
        if let Some(retry_at) = state.retry_at {
            if now < retry_at {
                let why = format!("{}; it is tried again each 100 ms", state.why);
                return Err(self.error("is not asked for the moment", why));
            }
            // This one tries; the others wait for what it finds.
            state.retry_at = Some(deadline.max(now + PAUSE));
        }
        self.wire(&mut state)
    }

    fn failed(&self, now: Instant, why: String, is_stuck: bool) {
        let mut state = self.state();
        if state.retry_at.is_none() {
            tracing::warn!(place = self.place, why, "the store of limits fails");
        }
        (state.retry_at, state.why) = (Some(now + PAUSE), why);
        let since = *state.failing.get_or_insert(now);
        if is_stuck || now.saturating_duration_since(since) >= SILENCE {
            state.wire = None;
            state.failing = Some(now);
        }
    }

    /// The connection, which may still have to be made.
    fn wire(&self, state: &mut State) -> Result<ConnectionManager> {
        if let Some(wire) = &state.wire {
            return Ok(wire.clone());
        }
        let config = ConnectionManagerConfig::new()
            // The circuit makes the pauses.
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT))
            // Each question has its own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let made = ConnectionManager::new_lazy_with_config(self.client.clone(), config);
        let wire = made.map_err(|error| self.error("can't be reached", words(&error)))?;
        // Decisions give up within milliseconds: somebody has to see the connection through.
        let mut driven = wire.clone();
        tokio::spawn(async move {
            let ping = redis::cmd("PING");
            let _ = Clock::system().timeout(CONNECT, ping.exec_async(&mut driven)).await;
        });
        state.wire = Some(wire.clone());
        Ok(wire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, what: &str, why: String) -> Error {
        Error::new(Code::LimitStore, format!("{} {what}", self.place)).why(why)
    }
}

/// Whether another connection is needed, which the manager would not make.
fn is_stuck(error: &RedisError) -> bool {
    !error.is_io_error() && !error.code().is_some_and(|code| BUSY.contains(&code))
}

fn silence(limit: Duration) -> String {
    format!("it did not answer within {limit:?}")
}

/// As the server or the client said it: neither repeats a password.
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
