//! Dead letters: looking at them, and putting them back; and what else is asked of a queue as a whole.

use mainstay_core::Result;
use mainstay_core::clock::Clock;

use super::super::Message;
use super::keys::Keys;
use super::scripts::Entries;
use super::{Inner, WAIT, entry, scripts};

/// Dead letters that are put back, or looked at, at once.
const BATCH: u32 = 100;

impl Inner {
    /// Up to `max` of the dead letters of `queue`.
    pub(super) async fn dead(&self, queue: &str, max: u32) -> Result<Vec<Message>> {
        let keys = Keys::of(queue)?;
        // Tells whether there is such a queue.
        self.depth(queue).await?;
        let mut letters: Vec<Message> = Vec::new();
        let mut from = "-".to_owned();
        while letters.len() < max as usize {
            let count = BATCH.min(max - letters.len() as u32);
            let deadline = Clock::system().now() + WAIT;
            let asked = scripts::letters(&keys, &from, count);
            let found: Entries = self.link.ask(queue, deadline, &asked).await?;
            let Some((last, _)) = found.last() else { break };
            from = format!("({last}");
            letters.extend(found.into_iter().map(|(_, fields)| entry::read(fields).0));
        }
        Ok(letters)
    }

    /// Puts up to `max` of them back, each in one step.
    pub(super) async fn requeue_dead(&self, queue: &str, max: u32) -> Result<u32> {
        let keys = Keys::of(queue)?;
        let deadline = Clock::system().now() + WAIT;
        // What dies again meanwhile is not put back again.
        let newest = scripts::newest(&keys);
        let mut newest: Entries = self.link.ask(queue, deadline, &newest).await?;
        let newest = newest.pop().map_or_else(|| "+".to_owned(), |(id, _)| id);
        let mut done = 0;
        while done < max {
            let count = BATCH.min(max - done);
            let deadline = Clock::system().now() + WAIT;
            let requeue = scripts::requeue(&keys, count, &newest);
            let moved: u32 = self.link.ask(queue, deadline, &requeue).await?;
            done += moved;
            if moved < count {
                break;
            }
        }
        Ok(done)
    }

    pub(super) async fn depth(&self, queue: &str) -> Result<u64> {
        let keys = Keys::of(queue)?;
        let deadline = Clock::system().now() + WAIT;
        self.link.ask(queue, deadline, &scripts::depth(&keys)).await
    }

    /// Removes the queue and all that belongs to it.
    pub(super) async fn remove(&self, queue: &str) -> Result<()> {
        let keys = Keys::of(queue)?;
        self.link.declared().remove(queue);
        let deadline = Clock::system().now() + WAIT;
        self.link.ask(queue, deadline, &scripts::remove(&keys)).await
    }
}
