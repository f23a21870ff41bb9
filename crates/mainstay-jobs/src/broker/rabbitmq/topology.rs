//! Queues: ours are declared, durable and replicated, each with its dead letters; those of others are
//! only looked at.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::Queue;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};

use super::fault;
use super::session::Session;

/// What the dead letters' queue is called, after its queue.
const DEAD: &str = ".dead";
/// So that the name with [`DEAD`] is one that AMQP can carry.
const NAME_BYTES: usize = 250;

/// What is declared, and how.
pub(super) struct Topology {
    place: String,
    delivery_limit: u32,
    declared: Mutex<BTreeSet<String>>,
    foreign: Mutex<BTreeSet<String>>,
}

/// The name of the dead letters of `queue`.
pub(super) fn dead_of(queue: &str) -> String {
    format!("{queue}{DEAD}")
}

impl Topology {
    pub(super) fn new(place: String, delivery_limit: u32) -> Self {
        Self { place, delivery_limit, declared: Mutex::default(), foreign: Mutex::default() }
    }

    /// `queue` is another's from now on.
    pub(super) fn make_foreign(&self, queue: String) {
        lock(&self.declared).remove(&queue);
        lock(&self.foreign).insert(queue);
    }

    pub(super) fn is_foreign(&self, queue: &str) -> bool {
        lock(&self.foreign).contains(queue)
    }

    /// Makes sure of `queue`; looks whether it is there if it is another's.
    ///
    /// Errors: MSG-004, MSG-002.
    pub(super) async fn ensure(&self, session: &Session, queue: &str) -> Result<()> {
        if self.is_foreign(queue) {
            self.look(session, queue).await?;
            return Ok(());
        }
        named(queue)?;
        self.declare(session, queue).await?;
        lock(&self.declared).insert(queue.to_owned());
        Ok(())
    }

    /// `queue` as it is, with the number of messages that wait.
    ///
    /// Errors: MSG-004 where it is not there, MSG-002.
    pub(super) async fn look(&self, session: &Session, queue: &str) -> Result<Queue> {
        named(queue)?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = self.declare_one(session, queue, options, FieldTable::default()).await;
        if asked.is_ok() {
            session.saw("queue", queue);
        }
        asked
    }

    /// Removes `queue` and its dead letters.
    pub(super) async fn remove(&self, session: &Session, queue: &str) -> Result<()> {
        named(queue)?;
        if self.is_foreign(queue) {
            return Err(not_ours(queue, "it is not removed from here"));
        }
        lock(&self.declared).remove(queue);
        for name in [queue.to_owned(), dead_of(queue)] {
            session.forget("queue", &name);
            let scratch = self.told(queue, session.scratch().await)?;
            let options = QueueDeleteOptions::default();
            self.told(&name, scratch.channel.queue_delete(name.as_str().into(), options).await)?;
        }
        Ok(())
    }

    /// Declares all queues on a new connection.
    pub(super) async fn replay(&self, session: &Session, limit: Duration) -> Result<()> {
        let queues: Vec<String> = lock(&self.declared).iter().cloned().collect();
        for queue in queues {
            let declared = Clock::system().timeout(limit, self.declare(session, &queue)).await;
            match declared.unwrap_or_else(|| Err(fault::lost(&self.place))) {
                Ok(()) => {}
                // Somebody made it another way meanwhile: that is for its users, not for all.
                Err(error) if error.code() == Code::BrokerQueue => {
                    tracing::warn!(queue, %error, "the queue could not be declared again");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn declare(&self, session: &Session, queue: &str) -> Result<()> {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        // The dead letters first: what dies in between must find them.
        self.declare_one(session, &dead_of(queue), options, quorum()).await?;
        let mut arguments = quorum();
        let text = |text: &str| AMQPValue::LongString(text.into());
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongUInt(self.delivery_limit));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(&dead_of(queue)));
        // Together: a message leaves the queue when its dead letters have it, not before.
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        self.declare_one(session, queue, options, arguments).await?;
        session.saw("queue", queue);
        Ok(())
    }

    async fn declare_one(
        &self,
        session: &Session,
        queue: &str,
        options: QueueDeclareOptions,
        arguments: FieldTable,
    ) -> Result<Queue> {
        let scratch = self.told(queue, session.scratch().await)?;
        self.told(queue, scratch.channel.queue_declare(queue.into(), options, arguments).await)
    }

    fn told<T>(&self, queue: &str, answer: lapin::Result<T>) -> Result<T> {
        answer.map_err(|error| fault::queue(&self.place, queue, &error))
    }
}

/// What can't be done with the queue of others.
pub(super) fn not_ours(queue: &str, why: &'static str) -> Error {
    Error::new(Code::BrokerQueue, format!("the queue `{queue}` is another's")).why(why)
}

/// Whether `queue` is a name. Errors: MSG-004.
pub(super) fn named(queue: &str) -> Result<()> {
    if queue.is_empty() || queue.len() > NAME_BYTES {
        return Err(Error::new(Code::BrokerQueue, format!("no queue can be called `{queue}`"))
            .why(format!("a name has 1 to {NAME_BYTES} bytes"))
            .fix("use another name"));
    }
    Ok(())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

fn lock(set: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
