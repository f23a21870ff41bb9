//! Consuming: a task a consumer asks the server for as many messages as may be unsettled, and keeps
//! those that wait to be taken. It ends with the consumer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Request, StatusCode, Subscriber};
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use futures_util::future::join_all;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Result};
use serde_json::json;

use super::super::{Consumer, Delivery};
use super::names::Names;
use super::receipt::{Hold, Lease, PROGRESS};
use super::session::Session;
use super::shelf::Shelf;
use super::streams::CONSUMER;
use super::{Inner, WAIT};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often messages that wait are kept, and the server is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a request for messages lasts.
const EXPIRES: Duration = Duration::from_secs(30);
/// A server with nothing to send says so this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// One that says nothing for so long has forgotten what it was asked for.
const SILENCE: Duration = Duration::from_secs(4);

/// Consumes one queue.
pub(super) struct QueueConsumer {
    inner: Arc<Inner>,
    shelf: Arc<Shelf>,
}

impl QueueConsumer {
    /// Errors: MSG-002, MSG-004.
    pub(super) async fn begin(inner: &Arc<Inner>, queue: &str, prefetch: u16) -> Result<Self> {
        let names = Arc::new(Names::of(queue)?);
        let session = inner.link.session(Clock::system().now() + WAIT, true).await?;
        inner.streams.ensure(&session, &names).await?;
        let shelf = Arc::new(Shelf::default());
        let fetcher = Fetcher {
            inner: Arc::clone(inner),
            names,
            shelf: Arc::clone(&shelf),
            prefetch: usize::from(prefetch.max(1)),
        };
        inner.runtime.spawn(fetcher.run());
        Ok(Self { inner: Arc::clone(inner), shelf })
    }
}

impl Consumer for QueueConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery>> {
        Box::pin(async { Ok(self.shelf.take().await?.delivery()) })
    }
}

impl Drop for QueueConsumer {
    fn drop(&mut self) {
        let leases = self.shelf.close();
        if leases.is_empty() {
            return;
        }
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            join_all(leases.iter().map(|lease| lease.give_back(&inner))).await;
        });
    }
}

/// Fetches for a consumer.
struct Fetcher {
    inner: Arc<Inner>,
    names: Arc<Names>,
    shelf: Arc<Shelf>,
    prefetch: usize,
}

/// What is asked for on one connection.
struct Asking {
    inbox: String,
    messages: Subscriber,
    /// Messages asked for that have not come.
    asked: usize,
    heard: Instant,
    tick: Instant,
    keeping: Option<BoxFuture<'static, ()>>,
}

impl Fetcher {
    async fn run(self) {
        let clock = Clock::system();
        let mut pause = PAUSE_MIN;
        while !self.shelf.is_closed() {
            let began = clock.now();
            match Box::pin(self.attempt()).await {
                Ok(()) => {}
                Err(error) if error.code() == Code::BrokerQueue => return self.shelf.end(error),
                Err(error) => {
                    tracing::debug!(queue = self.names.queue, %error, "can't consume yet");
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
    }

    async fn closed(&self) {
        while !self.shelf.is_closed() {
            self.shelf.changed().await;
        }
    }

    /// Consumes for as long as this connection lasts.
    ///
    /// Errors: MSG-004 where the queue is gone, MSG-002.
    async fn attempt(&self) -> Result<()> {
        let deadline = Clock::system().now() + WAIT;
        let session = tokio::select! {
            session = self.inner.link.session(deadline, true) => session?,
            () = self.closed() => return Ok(()),
        };
        self.inner.streams.consumer(&session, &self.names).await?;
        let client = session.client();
        let inbox = client.new_inbox();
        let subscribed = client.subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|_| self.inner.lost("the connection was lost"))?;
        let now = Clock::system().now();
        let mut asking =
            Asking { inbox, messages, asked: 0, heard: now, tick: now + TICK, keeping: None };
        let ended = self.fetch(&session, &mut asking).await;
        self.leave(asking).await;
        ended
    }

    async fn fetch(&self, session: &Arc<Session>, asking: &mut Asking) -> Result<()> {
        let clock = Clock::system();
        loop {
            self.ask(session, asking).await?;
            let keeping = async {
                match &mut asking.keeping {
                    Some(keeping) => keeping.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = session.over() => return Ok(()),
                message = asking.messages.next() => match message {
                    Some(message) => {
                        asking.heard = clock.now();
                        if !self.took(message, &mut asking.asked) {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                () = keeping => asking.keeping = None,
                () = self.shelf.changed() => {
                    if self.shelf.is_closed() {
                        return Ok(());
                    }
                }
                () = clock.sleep_until(asking.tick) => {
                    asking.tick = clock.now() + TICK;
                    if asking.asked > 0 && clock.now() - asking.heard > SILENCE {
                        return Err(self.inner.lost("the consumer is silent"));
                    }
                    if asking.keeping.is_none() {
                        asking.keeping = self.keep(session);
                    }
                }
            }
        }
    }

    /// Asks for as many as may be unsettled, not one by one.
    async fn ask(&self, session: &Session, asking: &mut Asking) -> Result<()> {
        let room = self.prefetch.saturating_sub(self.shelf.unsettled() + asking.asked);
        if room == 0 || (asking.asked > 0 && room * 2 < self.prefetch) {
            return Ok(());
        }
        let request = json!({
            "batch": room,
            "expires": EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", self.names.stream);
        let inbox = asking.inbox.clone();
        let sent = session.client().publish_with_reply(subject, inbox, request.to_string().into());
        tokio::select! {
            sent = sent => sent.map_err(|_| self.inner.lost("the connection was lost"))?,
            () = session.over() => return Err(self.inner.lost("the connection was lost")),
        }
        if asking.asked == 0 {
            asking.heard = Clock::system().now();
        }
        asking.asked += room;
        Ok(())
    }

    /// Puts a message down; false where it says that all must be asked anew.
    fn took(&self, message: Message, asked: &mut usize) -> bool {
        match message.status {
            None | Some(StatusCode::OK) => {
                *asked = asked.saturating_sub(1);
                if let Some(hold) = Hold::of(&self.inner, &self.names, &self.shelf, message) {
                    self.shelf.put(hold);
                }
                true
            }
            Some(StatusCode::IDLE_HEARTBEAT) => true,
            // A request has expired, and the server tells what was left of it.
            Some(StatusCode::TIMEOUT) => {
                let left = message.headers.as_ref().and_then(|headers| {
                    headers.get("Nats-Pending-Messages")?.as_str().parse::<usize>().ok()
                });
                *asked = asked.saturating_sub(left.unwrap_or(usize::MAX));
                true
            }
            Some(status) => {
                let words = message.description.as_deref().unwrap_or_default();
                tracing::debug!(queue = self.names.queue, %status, words, "consuming anew");
                false
            }
        }
    }

    /// Tells the server that what waits to be taken is in good hands. The server hears the words about
    /// the messages of one consumer in their order: its answer to the last is one to all.
    fn keep(&self, session: &Arc<Session>) -> Option<BoxFuture<'static, ()>> {
        let leases: Vec<Lease> = self.shelf.waiting();
        let last = leases.last()?.subject.to_string();
        let session = Arc::clone(session);
        Some(Box::pin(async move {
            let since = Clock::system().now();
            let (_, others) = leases.split_last().unwrap_or((&leases[0], &[]));
            for lease in others {
                let subject = lease.subject.to_string();
                if session.client().publish(subject, PROGRESS.into()).await.is_err() {
                    return;
                }
            }
            if session.ask(last, Request::new().payload(PROGRESS.into())).await.is_ok() {
                for lease in &leases {
                    lease.renew(since);
                }
            }
        }))
    }

    /// What has come and was not put down goes back, or on the shelf.
    async fn leave(&self, mut asking: Asking) {
        let left = async {
            if asking.messages.unsubscribe().await.is_ok() {
                while let Some(message) = asking.messages.next().await {
                    if matches!(message.status, None | Some(StatusCode::OK)) {
                        self.took(message, &mut asking.asked);
                    }
                }
            }
        };
        // What is not settled by then is delivered again all the same.
        let _ = Clock::system().timeout(TICK, left).await;
    }
}
