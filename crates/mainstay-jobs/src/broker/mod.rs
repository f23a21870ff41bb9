//! What a message broker must be able to do to carry jobs: durable queues, confirmed publishing,
//! acknowledged delivery. Implemented for RabbitMQ, NATS JetStream and Redis streams.
//!
//! A broker carries; it decides nothing. Retries, delays, keys and dead letters of jobs are the
//! database's, so that a handler sees no difference. For the messages of others, which no database
//! knows, it has dead letters of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::Result;

#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Tells it from every other, so that a second delivery is known as such. Others' may be empty.
    pub id: String,
    /// What it is: a job's or an event's name. Others' may be empty.
    pub name: String,
    /// Whatever else its sender says of it, as text.
    pub headers: BTreeMap<String, String>,
    /// What it carries; of a job's, JSON.
    pub body: Vec<u8>,
}

/// A message broker. Its connection is supervised: lost, it is made anew with a backoff of 50 ms to
/// 2 s for as long as the value lives, and what was [declared](Broker::declare) and is consumed is
/// set up again.
pub trait Broker: Send + Sync + std::fmt::Debug + 'static {
    /// Which it is and where, for people; without a password.
    fn place(&self) -> String;

    /// Makes sure that `queue` and its dead letters are there: durable, on disk, replicated where the
    /// broker does so. Again is no error.
    ///
    /// Errors: MSG-004 where it is there with other properties; MSG-002.
    fn declare<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Publishes them all at once, and waits until the broker has confirmed each: it is on disk by
    /// then, as far as the broker goes. One result a message, in their order; a failed one may have
    /// arrived all the same, so it is published again with the same id. Waits for at most 30 s.
    ///
    /// Dropped half-way, any of them may or may not have been published.
    ///
    /// Errors, of each: MSG-002 (no connection in time), MSG-003 (refused, or no such queue).
    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Vec<Result<()>>>;

    /// Begins to consume: at most `prefetch` messages are unsettled at a time.
    ///
    /// Errors: MSG-002, MSG-004.
    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Consumer>>>;

    /// How many messages wait in `queue`, delivered and unsettled ones left out where the broker tells.
    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64>>;

    /// Takes up to `max` messages from the dead letters of `queue`, oldest first, and puts them back to
    /// be consumed again; returns how many. None is lost if this is interrupted; some may come twice.
    fn requeue_dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<u32>>;

    /// Up to `max` of the dead letters of `queue`, oldest first, left where they are.
    fn dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<Vec<Message>>>;

    /// Removes `queue` and its dead letters with all messages in them.
    fn remove<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>>;
}

/// A queue that is being consumed. Dropped, its unsettled messages go back to the queue at once, or as
/// soon as the broker notices.
pub trait Consumer: Send {
    /// The next message; waits for one, through losses of the connection.
    ///
    /// Cancel safe: no message is lost by a drop.
    ///
    /// Errors: MSG-004 where the queue is gone for good.
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery>>;
}

/// A delivered message, which must be settled. Dropped without, it is delivered again.
#[derive(Debug)]
pub struct Delivery {
    /// What was delivered.
    pub message: Message,
    /// How often it was delivered, this time included, as far as the broker knows; at least 1.
    pub deliveries: u32,
    /// How it is settled.
    pub receipt: Box<dyn Receipt>,
}

/// Settles one delivery. After a loss of the connection each does nothing: the broker delivers again.
pub trait Receipt: Send + Sync + std::fmt::Debug {
    /// It is done: it never comes again.
    fn ack(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
    /// It is to be delivered again, after `delay` at the earliest where the broker can (NATS, Redis);
    /// RabbitMQ delivers again at once, and counts it against the queue's delivery limit.
    fn again(self: Box<Self>, delay: Duration) -> BoxFuture<'static, Result<()>>;
    /// It can't be processed: to the dead letters, with `reason` in the header `mainstay-reason` where
    /// the broker can add one.
    fn dead(self: Box<Self>, reason: String) -> BoxFuture<'static, Result<()>>;
    /// It is still being worked on: puts off the time at which the broker takes its consumer for dead.
    /// Called about every second. Nothing to do where only the end of the connection tells that.
    fn keep(&self) -> BoxFuture<'_, Result<()>>;
}
