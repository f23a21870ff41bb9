//! The connection that all but reading consumers share: made when it is asked for, and made anew when
//! it was lost, with pauses between. No task keeps it. It knows nothing of messages.
//!
//! The client's own `ConnectionManager` is not used: where a new connection is refused for another
//! reason than the network (too many clients, a password that was changed), it stays with that for ever.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Result, Retry};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue};
use tokio::sync::Mutex;

use super::fault::{self, Verdict};
use super::keys::Keys;
use super::scripts::{self, Question};
use super::url::Target;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a question may be unanswered before the connection is taken for dead.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The way to the connection of the moment.
pub(super) struct Link {
    client: Client,
    pub(super) place: String,
    slot: Mutex<Slot>,
    declared: std::sync::Mutex<BTreeSet<String>>,
}

struct Slot {
    wire: Option<Wire>,
    pause: Duration,
    not_before: Option<Instant>,
}

/// A connection.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

impl Wire {
    /// It is made anew by who asks for it next.
    pub(super) fn is_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

impl Link {
    /// Errors: MSG-001.
    pub(super) fn new(target: &Target) -> Result<Self> {
        if target.tls() && rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another may have been quicker, which is as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self {
            client: target.client()?,
            place: target.place.clone(),
            slot: Mutex::new(Slot { wire: None, pause: PAUSE_MIN, not_before: None }),
            declared: std::sync::Mutex::default(),
        })
    }

    /// The connection. Cancel safe.
    ///
    /// Errors: MSG-002 at `deadline`, or where the server refuses the user and `patient` is false.
    pub(super) async fn wire(&self, deadline: Instant, patient: bool) -> Result<Wire> {
        let clock = Clock::system();
        let Some(mut slot) = clock.timeout_at(deadline, self.slot.lock()).await else {
            return Err(fault::lost(&self.place));
        };
        if let Some(wire) = &slot.wire {
            if !wire.lost.load(Ordering::Relaxed) {
                return Ok(wire.clone());
            }
            tracing::warn!(place = self.place, "the connection was lost");
            slot.wire = None;
        }
        let mut last = None;
        loop {
            if let Some(time) = slot.not_before {
                clock.sleep_until(time.min(deadline)).await;
            }
            match clock.timeout_at(deadline, Box::pin(self.make())).await {
                // What was wrong before tells more than that time is over.
                None => return Err(last.unwrap_or_else(|| fault::lost(&self.place))),
                Some(Ok(connection)) => {
                    let wire = Wire { connection, lost: Arc::default() };
                    *slot = Slot { wire: Some(wire.clone()), pause: PAUSE_MIN, not_before: None };
                    return Ok(wire);
                }
                Some(Err(error)) => {
                    let now = clock.now();
                    slot.not_before = Some(now + Rng::system().jittered(slot.pause, 0.5));
                    slot.pause = (slot.pause * 2).min(PAUSE_MAX);
                    let refused = error.retryability() == Retry::Never && !patient;
                    if refused || now >= deadline {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
    }

    /// A connection on which everything is as it was.
    async fn make(&self) -> Result<MultiplexedConnection> {
        let connection = self.fresh().await?;
        let queues: Vec<String> = self.declared().iter().cloned().collect();
        for queue in queues {
            let declare = scripts::declare(&Keys::of(&queue)?);
            match declare.ask::<()>(connection.clone()).await {
                Ok(()) => {}
                Err(error) if fault::verdict(&error) == Verdict::Kind => {
                    tracing::warn!(queue, %error, "the queue could not be declared again");
                }
                Err(error) => return Err(fault::down(&self.place, &error)),
            }
        }
        Ok(connection)
    }

    /// A connection for one user alone.
    ///
    /// Errors: MSG-002.
    pub(super) async fn fresh(&self) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ATTEMPT))
            // It is watched by who asks.
            .set_response_timeout(None);
        let connect = async {
            let made = self.client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = Box::pin(made).await?;
            // Only now does a server that wants a password say so.
            redis::cmd("PING").exec_async(&mut connection).await?;
            Ok(connection)
        };
        match Clock::system().timeout(ATTEMPT, connect).await {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(error)) => Err(fault::down(&self.place, &error)),
            None => Err(fault::lost(&self.place)),
        }
    }

    /// Asks, and asks again where the connection is lost or the server is not ready, until `deadline`.
    /// What is asked must bear being done twice.
    ///
    /// Errors: MSG-002 at `deadline`, else what `queue` has to do with it.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        queue: &str,
        deadline: Instant,
        question: &Question,
    ) -> Result<T> {
        let clock = Clock::system();
        let mut pause = PAUSE_MIN;
        loop {
            let wire = self.wire(deadline, true).await?;
            let limit = deadline.min(clock.now() + ANSWER);
            let asked = question.ask(wire.connection.clone());
            let told = match clock.timeout_at(limit, asked).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => {
                    let verdict = fault::verdict(&error);
                    if verdict == Verdict::Reconnect {
                        wire.is_lost();
                    }
                    let told = fault::queue(&self.place, queue, &error);
                    if !matches!(verdict, Verdict::Reconnect | Verdict::Wait) {
                        return Err(told);
                    }
                    told
                }
                None => {
                    if clock.now() < deadline {
                        wire.is_lost();
                    }
                    fault::lost(&self.place)
                }
            };
            if clock.now() + pause >= deadline {
                return Err(told);
            }
            clock.sleep(Rng::system().jittered(pause, 0.5)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// What is declared again on a new connection.
    pub(super) fn declared(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
