//! Consuming: a channel a consumer, which is opened again when it or its connection ends. It keeps no
//! message that the broker did not send ahead, and no more of those than the prefetch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Result};

use super::super::{Consumer, Delivery, Receipt};
use super::session::{Begun, Session, begin, close};
use super::{Inner, WAIT, fault, properties};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Consumes one queue.
pub(super) struct QueueConsumer {
    inner: Arc<Inner>,
    queue: String,
    prefetch: u16,
    open: Option<Open>,
}

/// A consumer of the moment.
struct Open {
    session: Arc<Session>,
    gate: Arc<Gate>,
    deliveries: lapin::Consumer,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Before lapin's own consumer goes, which would speak on a channel that is gone by then.
        self.gate.close();
    }
}

/// A channel that is closed once, and on which nothing is said after: a frame for a closed channel
/// would make the broker end the whole connection.
struct Gate {
    channel: Channel,
    closed: Mutex<bool>,
}

impl Gate {
    fn close(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*closed {
            *closed = true;
            close(&self.channel);
        }
    }

    /// Begins `say`, unless the channel is closed.
    fn say<F: Future>(&self, say: F) -> Option<Begun<F>> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        (!*closed).then(|| begin(say))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

impl QueueConsumer {
    /// Errors: MSG-002, MSG-004.
    pub(super) async fn begin(inner: Arc<Inner>, queue: &str, prefetch: u16) -> Result<Self> {
        // None would mean no limit, and a buffer without one.
        let prefetch = prefetch.max(1);
        let mut consumer = Self { inner, queue: queue.to_owned(), prefetch, open: None };
        let deadline = Clock::system().now() + WAIT;
        let session = consumer.inner.control.session(deadline, true).await?;
        let inner = Arc::clone(&consumer.inner);
        let opened = async {
            inner.topology.ensure(&session, &consumer.queue).await?;
            consumer.open(&session).await
        };
        consumer.open = Some(inner.bounded(&session, deadline, opened).await?);
        Ok(consumer)
    }

    /// Consumes on a new channel of `session`.
    async fn open(&self, session: &Arc<Session>) -> Result<Open> {
        // Looked at first: whether it is gone for good, the broker tells only then.
        self.inner.topology.look(session, &self.queue).await?;
        let told = |error| fault::queue(&self.inner.target.place, &self.queue, &error);
        let channel = session.scratch().await.map_err(told)?.kept();
        let gate = Arc::new(Gate { channel, closed: Mutex::new(false) });
        let qos = BasicQosOptions { global: false };
        gate.channel.basic_qos(self.prefetch, qos).await.map_err(told)?;
        let options = BasicConsumeOptions::default();
        let (queue, arguments) = (self.queue.as_str().into(), FieldTable::default());
        let consumed = gate.channel.basic_consume(queue, "".into(), options, arguments).await;
        let deliveries = consumed.map_err(told)?;
        Ok(Open { session: Arc::clone(session), gate, deliveries })
    }

    /// Opens again, for as long as it takes.
    async fn reopen(&self) -> Result<Open> {
        let clock = Clock::system();
        let mut pause = PAUSE_MIN;
        loop {
            let deadline = clock.now() + WAIT;
            let opened = match self.inner.control.session(deadline, true).await {
                Ok(session) => {
                    self.inner.bounded(&session, deadline, Box::pin(self.open(&session))).await
                }
                Err(error) => Err(error),
            };
            match opened {
                Ok(open) => return Ok(open),
                Err(error) if error.code() == Code::BrokerQueue => return Err(error),
                Err(error) => tracing::debug!(queue = self.queue, %error, "can't consume yet"),
            }
            clock.sleep(Rng::system().jittered(pause, 0.5)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn following(&mut self) -> Result<Delivery> {
        loop {
            let Some(open) = &mut self.open else {
                self.open = Some(Box::pin(self.reopen()).await?);
                continue;
            };
            let came = tokio::select! {
                biased;
                // What was sent ahead on a lost connection is delivered again on the next.
                () = open.session.over() => None,
                came = open.deliveries.next() => came,
            };
            if let Some(Ok(delivery)) = came {
                return Ok(delivered(&open.gate, delivery));
            }
            // The connection or the channel has ended, or the broker has cancelled the consumer.
            self.open = None;
        }
    }
}

fn delivered(gate: &Arc<Gate>, delivery: lapin::message::Delivery) -> Delivery {
    let deliveries = properties::deliveries(&delivery.properties, delivery.redelivered);
    Delivery {
        message: properties::read(&delivery.properties, delivery.data),
        deliveries,
        receipt: Box::new(Tag { gate: Some(Arc::clone(gate)), tag: delivery.delivery_tag }),
    }
}

impl Consumer for QueueConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery>> {
        Box::pin(self.following())
    }
}

/// Settles the delivery of a tag, on the channel it came from and on no other.
struct Tag {
    gate: Option<Arc<Gate>>,
    tag: u64,
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tag").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl Tag {
    /// Takes the delivery, so that it is settled once.
    fn ack_now(&mut self) -> Option<Begun<impl Future<Output = lapin::Result<()>> + use<>>> {
        let gate = self.gate.take()?;
        let (channel, tag) = (gate.channel.clone(), self.tag);
        let options = BasicAckOptions { multiple: false };
        gate.say(async move { channel.basic_ack(tag, options).await })
    }

    fn nack_now(
        &mut self,
        requeue: bool,
    ) -> Option<Begun<impl Future<Output = lapin::Result<()>> + use<>>> {
        let gate = self.gate.take()?;
        let (channel, tag) = (gate.channel.clone(), self.tag);
        let options = BasicNackOptions { multiple: false, requeue };
        gate.say(async move { channel.basic_nack(tag, options).await })
    }
}

/// Waits until it was sent. A channel that has ended in between has given the message back.
async fn waited<F>(said: Option<Begun<F>>) -> Result<()>
where
    F: Future<Output = lapin::Result<()>>,
{
    if let Some(said) = said
        && let Err(error) = said.end().await
    {
        tracing::debug!(%error, "a delivery of a channel that has ended was not settled");
    }
    Ok(())
}

impl Drop for Tag {
    fn drop(&mut self) {
        if self.gate.is_some() {
            drop(self.nack_now(true));
        }
    }
}

impl Receipt for Tag {
    fn ack(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { waited(self.ack_now()).await })
    }

    fn again(mut self: Box<Self>, _delay: Duration) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { waited(self.nack_now(true)).await })
    }

    fn dead(mut self: Box<Self>, _reason: String) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { waited(self.nack_now(false)).await })
    }

    fn keep(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
