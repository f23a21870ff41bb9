//! Dead letters: looking at them, and putting them back.

use std::time::Instant;

use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use mainstay_core::Result;
use mainstay_core::clock::Clock;

use super::super::Message;
use super::publish::{Address, Item};
use super::session::{Scratch, Session};
use super::topology::{dead_of, named, not_ours};
use super::{Inner, WAIT, fault, properties};

/// Dead letters on their way back at once.
const BATCH: u32 = 128;

impl Inner {
    /// Up to `max` of the dead letters of `queue`. Dropped or not, they go back where they were.
    pub(super) async fn dead(&self, queue: &str, max: u32) -> Result<Vec<Message>> {
        let deadline = Clock::system().now() + WAIT;
        let session = self.letters(queue, deadline).await?;
        let work = async {
            let scratch = self.scratch(&session, queue).await?;
            let letters = self.take(&scratch, queue, max).await?;
            Ok(letters
                .into_iter()
                .map(|letter| properties::read(&letter.delivery.properties, letter.delivery.data))
                .collect())
        };
        self.bounded(&session, deadline, work).await
    }

    /// Puts up to `max` of them back: each is removed when it is confirmed in `queue`.
    pub(super) async fn requeue_dead(&self, queue: &str, max: u32) -> Result<u32> {
        let deadline = Clock::system().now() + WAIT;
        let session = self.letters(queue, deadline).await?;
        let dead = dead_of(queue);
        let there = self.topology.look(&session, &dead);
        let there = self.bounded(&session, deadline, there).await?.message_count();
        // What dies again meanwhile is not put back again.
        let max = max.min(there);
        let mut done = 0;
        while done < max {
            let deadline = Clock::system().now() + WAIT;
            let scratch = self.bounded(&session, deadline, self.scratch(&session, queue)).await?;
            let take = self.take(&scratch, queue, BATCH.min(max - done));
            let letters = self.bounded(&session, deadline, take).await?;
            if letters.is_empty() {
                break;
            }
            let items: Vec<_> = letters.iter().map(Item::Again).collect();
            let to = Address { exchange: "", key: queue };
            let results = Box::pin(self.publisher.publish(to, &items)).await;
            let mut failed = None;
            for (letter, result) in letters.iter().zip(results) {
                match result {
                    Ok(()) => {
                        let tag = letter.delivery.delivery_tag;
                        let ack = scratch.channel.basic_ack(tag, BasicAckOptions::default());
                        let ack = async { ack.await.map_err(|e| self.told(queue, &e)) };
                        let deadline = Clock::system().now() + WAIT;
                        self.bounded(&session, deadline, ack).await?;
                        done += 1;
                    }
                    // The others go back to the dead letters with the channel.
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(done)
    }

    /// The connection on which the dead letters of `queue` are asked for.
    async fn letters(&self, queue: &str, deadline: Instant) -> Result<std::sync::Arc<Session>> {
        named(queue)?;
        if self.topology.is_foreign(queue) {
            return Err(not_ours(queue, "where its dead letters go is not known"));
        }
        self.control.session(deadline, true).await
    }

    async fn scratch(&self, session: &Session, queue: &str) -> Result<Scratch> {
        session.scratch().await.map_err(|error| self.told(queue, &error))
    }

    /// Takes up to `max` dead letters of `queue`; they go back when `scratch` is dropped.
    async fn take(&self, scratch: &Scratch, queue: &str, max: u32) -> Result<Vec<BasicGetMessage>> {
        let dead = dead_of(queue);
        let mut letters = Vec::new();
        for _ in 0..max {
            let options = BasicGetOptions { no_ack: false };
            let letter = scratch.channel.basic_get(dead.as_str().into(), options).await;
            match letter.map_err(|error| self.told(&dead, &error))? {
                Some(letter) => letters.push(letter),
                None => break,
            }
        }
        Ok(letters)
    }

    fn told(&self, queue: &str, error: &lapin::Error) -> mainstay_core::Error {
        fault::queue(&self.target.place, queue, error)
    }
}
