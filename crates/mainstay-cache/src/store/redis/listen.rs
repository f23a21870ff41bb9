//! Hears what other processes made invalid, and tells the near tier. What was not heard can't be known:
//! whenever the subscription is new, the near tier is emptied. It decides nothing about entries.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Result};
use redis::aio::PubSub;

use crate::redis::{ATTEMPT, Link, PAUSE_MAX};
use crate::store::What;
use crate::store::memory::Near;

/// A channel on which nothing was heard for so long is asked whether it lives.
const BEAT: Duration = Duration::from_secs(1);
/// And if it does not answer within this, it is dead.
const SILENCE: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Where to listen, and for whom.
pub(in crate::store) struct Listener {
    pub(super) link: Arc<Link>,
    pub(super) channel: String,
    /// What ids of the cache begin with, up to their kind; and what follows that.
    pub(super) prefix: String,
    pub(super) name: String,
    pub(super) near: Arc<Near>,
}

impl Listener {
    /// Until it is dropped.
    pub(in crate::store) async fn run(self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.subscribe().await {
                Ok(wire) => {
                    pause = PAUSE_MIN;
                    self.hear(wire).await;
                    let place = &self.link.place;
                    tracing::warn!(code = %Code::CacheStore, place, "the channel of invalidations was lost");
                }
                Err(error) => tracing::debug!(code = %error.code(), "{error}"),
            }
            // What is near now is bounded by its TTL alone: emptied, it would not help while Redis is away.
            Clock::system().sleep(Rng::system().jittered(pause, 0.5)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn subscribe(&self) -> Result<PubSub> {
        let made = async {
            let mut wire = self.link.client.get_async_pubsub().await?;
            wire.subscribe(&self.channel).await?;
            Ok::<_, redis::RedisError>(wire)
        };
        match self.link.clock.timeout(ATTEMPT, Box::pin(made)).await {
            Some(Ok(wire)) => Ok(wire),
            Some(Err(error)) => Err(self.link.told(&error)),
            None => Err(self.link.late()),
        }
    }

    /// Until the connection is lost.
    async fn hear(&self, wire: PubSub) {
        // What became invalid before the subscription stood was not heard.
        self.near.clear();
        let clock = Clock::system();
        let (mut sink, mut heard) = wire.split();
        loop {
            match clock.timeout(BEAT, heard.next()).await {
                Some(Some(message)) => {
                    let Ok(id) = message.get_payload::<String>() else { continue };
                    self.obey(&id);
                }
                Some(None) => return,
                // The answer is the sign of life of a channel on which nothing happens. What comes
                // meanwhile waits in the client.
                None => match clock.timeout(SILENCE, sink.ping::<redis::Value>()).await {
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }

    fn obey(&self, id: &str) {
        let Some(rest) = id.strip_prefix(&self.prefix) else { return };
        let named = |kind: &str| {
            rest.strip_prefix(kind)?.strip_prefix(':')?.strip_prefix(&*self.name)?.strip_prefix(':')
        };
        if let Some(key) = named("g") {
            self.near.remove(What::Key(key));
        } else if let Some(tag) = named("t") {
            self.near.remove(What::Tag(tag));
        }
    }
}
