//! Consuming: a task a consumer reads for it on a connection of its own, since reading waits, and tends
//! the queue: it takes over what the dead held, and moves what is due. It ends with the consumer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Result};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult};

use super::super::{Consumer, Delivery};
use super::keys::Keys;
use super::receipt::{Hold, give_back};
use super::scripts::{self, Claimed, Entries, Holder, Question, Streams};
use super::shelf::Shelf;
use super::{IDLE_MS, Inner, WAIT, fault};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a read waits for a message.
const BLOCK_MS: u64 = 400;
/// What a server may need on top.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is looked for such.
const CLAIM: Duration = Duration::from_millis(500);
/// Messages taken over at once, at most.
const CLAIMED: usize = 100;
/// How often what is due is moved back.
const MOVE: Duration = Duration::from_millis(200);
const MOVED: usize = 100;
/// How often messages that wait are kept.
const KEEP: Duration = Duration::from_secs(1);
/// How often consumers are removed that were not heard of for [`FORGOTTEN_MS`].
const CLEAN: Duration = Duration::from_secs(10);
const FORGOTTEN_MS: u64 = 60_000;

/// Consumes one queue.
pub(super) struct QueueConsumer {
    inner: Arc<Inner>,
    holder: Arc<Holder>,
    shelf: Arc<Shelf>,
}

impl QueueConsumer {
    /// Errors: MSG-002, MSG-004.
    pub(super) async fn begin(inner: &Arc<Inner>, queue: &str, prefetch: u16) -> Result<Self> {
        let keys = Keys::of(queue)?;
        inner.declare(&keys).await?;
        // Unlike that of any other consumer, in this process or another.
        let (high, low) = (Rng::system().u64(0..u64::MAX), Rng::system().u64(0..u64::MAX));
        let holder = Arc::new(Holder { keys, name: format!("{high:016x}{low:016x}") });
        let shelf = Arc::new(Shelf::default());
        let now = Clock::system().now();
        let reader = Reader {
            inner: Arc::clone(inner),
            holder: Arc::clone(&holder),
            shelf: Arc::clone(&shelf),
            prefetch: usize::from(prefetch.max(1)),
            claim: now,
            cursor: "-".to_owned(),
            shift: now,
            keep: now + KEEP,
            clean: now + Rng::system().jittered(CLEAN, 0.5),
        };
        inner.runtime.spawn(reader.run());
        Ok(Self { inner: Arc::clone(inner), holder, shelf })
    }
}

impl Consumer for QueueConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery>> {
        Box::pin(async { Ok(self.shelf.take().await?.delivery()) })
    }
}

impl Drop for QueueConsumer {
    fn drop(&mut self) {
        for lease in self.shelf.close() {
            give_back(&self.inner, &self.holder, lease.id, lease.deliveries);
        }
    }
}

/// Reads for a consumer.
struct Reader {
    inner: Arc<Inner>,
    holder: Arc<Holder>,
    shelf: Arc<Shelf>,
    prefetch: usize,
    claim: Instant,
    /// Where the search for what to take over goes on.
    cursor: String,
    shift: Instant,
    keep: Instant,
    clean: Instant,
}

impl Reader {
    async fn run(mut self) {
        let clock = Clock::system();
        let mut pause = PAUSE_MIN;
        while !self.shelf.is_closed() {
            let began = clock.now();
            match Box::pin(self.attempt()).await {
                Ok(()) => {}
                Err(error) if error.code() == Code::BrokerQueue => return self.shelf.end(error),
                Err(error) => {
                    let queue = &self.holder.keys.queue;
                    tracing::debug!(queue, %error, "can't consume yet");
                }
            }
            if clock.now() - began >= PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            tokio::select! {
                () = self.closed() => {}
                () = clock.sleep(Rng::system().jittered(pause, 0.5)) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        // What it still holds keeps the server's record of it alive, until others have taken it over.
        let deadline = clock.now() + ANSWER;
        let leave = self.holder.leave();
        let _ = self.inner.link.ask::<()>(&self.holder.keys.queue, deadline, &leave).await;
    }

    async fn closed(&self) {
        while !self.shelf.is_closed() {
            self.shelf.changed().await;
        }
    }

    /// Consumes for as long as this connection lasts, or until the shelf is closed.
    ///
    /// Errors: MSG-004 where the queue is gone, MSG-002.
    async fn attempt(&mut self) -> Result<()> {
        let on = tokio::select! {
            made = self.inner.link.fresh() => made?,
            () = self.closed() => return Ok(()),
        };
        // A server without a file has forgotten the queue.
        self.ask::<()>(&on, &scripts::declare(&self.holder.keys)).await?;
        // What was sent on a lost connection and did not arrive is claimed at once.
        let known = self.shelf.unsettled();
        self.ask::<()>(&on, &self.holder.orphans(2 * IDLE_MS + 1, &known)).await?;
        self.claim = Clock::system().now();
        "-".clone_into(&mut self.cursor);
        while !self.shelf.is_closed() {
            self.take_over(&on).await?;
            let room = self.prefetch.saturating_sub(self.shelf.count());
            if room == 0 {
                let (clock, next) = (Clock::system(), self.next());
                tokio::select! {
                    () = self.shelf.changed() => {}
                    () = clock.sleep_until(next) => self.tend().await,
                }
                continue;
            }
            let entries = self.read(&on, room).await?;
            for (id, fields) in entries {
                self.put((id, fields, 1));
            }
        }
        Ok(())
    }

    fn put(&self, entry: Claimed) {
        self.shelf.put(Hold::of(&self.inner, &self.holder, &self.shelf, entry));
    }

    /// Reads, and tends the queue meanwhile. A read that has begun is not given up while the connection
    /// is well: what it brings would be lost until it is claimed.
    async fn read(&mut self, on: &MultiplexedConnection, room: usize) -> Result<Entries> {
        let clock = Clock::system();
        let read = self.holder.read(room, BLOCK_MS);
        let read = read.ask::<Streams>(on.clone());
        let limit = clock.now() + ANSWER + Duration::from_millis(BLOCK_MS);
        let mut read = Box::pin(clock.timeout_at(limit, read));
        let came = loop {
            let next = self.next();
            tokio::select! {
                biased;
                came = &mut read => break came,
                () = clock.sleep_until(next) => self.tend().await,
            }
        };
        let streams = self.judged(came)?.unwrap_or_default();
        Ok(streams.into_iter().flat_map(|(_, entries)| entries).collect())
    }

    /// Takes over what nothing was heard of for long, where there is room.
    async fn take_over(&mut self, on: &MultiplexedConnection) -> Result<()> {
        let clock = Clock::system();
        let room = self.prefetch.saturating_sub(self.shelf.count()).min(CLAIMED);
        if room == 0 || clock.now() < self.claim {
            return Ok(());
        }
        let claim = self.holder.claim(IDLE_MS, &self.cursor, room);
        let (cursor, claimed): (String, Vec<Claimed>) = self.ask(on, &claim).await?;
        // Else there is more to look at.
        if cursor == "-" {
            self.claim = clock.now() + Rng::system().jittered(CLAIM, 0.2);
        }
        self.cursor = cursor;
        for entry in claimed {
            self.put(entry);
        }
        Ok(())
    }

    /// When there is something to tend.
    fn next(&self) -> Instant {
        self.shift.min(self.keep).min(self.clean)
    }

    /// Does what is due besides reading. What fails is tried again the next time.
    async fn tend(&mut self) {
        let clock = Clock::system();
        let now = clock.now();
        let (link, holder) = (&self.inner.link, &self.holder);
        let deadline = now + KEEP;
        let queue = &holder.keys.queue;
        if now >= self.shift {
            let due = scripts::due(&holder.keys, MOVED);
            let more = matches!(link.ask::<usize>(queue, deadline, &due).await, Ok(MOVED));
            let pause = if more { Duration::ZERO } else { Rng::system().jittered(MOVE, 0.2) };
            self.shift = clock.now() + pause;
        }
        if now >= self.keep {
            let waiting = self.shelf.waiting();
            if !waiting.is_empty() {
                let ids: Vec<&str> = waiting.iter().map(|lease| &*lease.id).collect();
                if link.ask::<()>(queue, deadline, &holder.keep(&ids)).await.is_ok() {
                    for lease in &waiting {
                        lease.heard(now);
                    }
                }
            }
            self.keep = now + KEEP;
        }
        if now >= self.clean {
            let _ = link.ask::<()>(queue, deadline, &holder.clean(FORGOTTEN_MS)).await;
            self.clean = now + Rng::system().jittered(CLEAN, 0.5);
        }
    }

    /// An answer on the connection of its own.
    async fn ask<T: FromRedisValue>(
        &self,
        on: &MultiplexedConnection,
        question: &Question,
    ) -> Result<T> {
        self.judged(Clock::system().timeout(ANSWER, question.ask(on.clone())).await)
    }

    fn judged<T>(&self, answer: Option<RedisResult<T>>) -> Result<T> {
        let place = &self.inner.link.place;
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(fault::queue(place, &self.holder.keys.queue, &error)),
            None => Err(fault::lost(place)),
        }
    }
}

impl Inner {
    /// Makes sure of the queue, now and on each new connection.
    ///
    /// Errors: MSG-004, MSG-002.
    pub(super) async fn declare(&self, keys: &Keys) -> Result<()> {
        let deadline = Clock::system().now() + WAIT;
        self.link.ask::<()>(&keys.queue, deadline, &scripts::declare(keys)).await?;
        self.link.declared().insert(keys.queue.clone());
        Ok(())
    }
}
