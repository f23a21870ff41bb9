//! Dead letters: looking at them, and putting them back.

use std::sync::Arc;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use mainstay_core::Result;
use mainstay_core::clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Message;
use super::names::Names;
use super::publish::{Address, Item};
use super::session::Session;
use super::{Inner, WAIT, headers};

/// Dead letters on their way back at once.
const BATCH: u32 = 128;

/// A dead letter.
struct Letter {
    sequence: u64,
    /// By which the server knows it when it is put back a second time.
    key: String,
    message: Message,
}

#[derive(Deserialize)]
struct Found {
    message: RawMessage,
}

impl Inner {
    /// Up to `max` of the dead letters of `queue`.
    pub(super) async fn dead(&self, queue: &str, max: u32) -> Result<Vec<Message>> {
        let names = Names::of(queue)?;
        let session = self.link.session(Clock::system().now() + WAIT, true).await?;
        self.streams.dead(&session, &names).await?;
        let letters = self.letters(&session, &names, 1, u64::MAX, max).await?;
        Ok(letters.into_iter().map(|letter| letter.message).collect())
    }

    /// Puts up to `max` of them back: each is removed when it is confirmed in the queue.
    pub(super) async fn requeue_dead(&self, queue: &str, max: u32) -> Result<u32> {
        let names = Names::of(queue)?;
        let session = self.link.session(Clock::system().now() + WAIT, true).await?;
        // What dies again meanwhile is not put back again.
        let last = self.streams.dead(&session, &names).await?.state.last_sequence;
        let (mut done, mut from) = (0, 1);
        while done < max {
            let session = self.link.session(Clock::system().now() + WAIT, true).await?;
            let letters = self.letters(&session, &names, from, last, BATCH.min(max - done)).await?;
            let Some(furthest) = letters.last().map(|letter| letter.sequence) else { break };
            from = furthest + 1;
            done += self.put_back(&session, &names, letters).await?;
        }
        Ok(done)
    }

    async fn put_back(
        &self,
        session: &Arc<Session>,
        names: &Names,
        mut letters: Vec<Letter>,
    ) -> Result<u32> {
        for letter in &mut letters {
            letter.message = headers::revived(std::mem::take(&mut letter.message));
        }
        let to = Address { names, dead: false };
        let item = |index: usize| {
            let Letter { key, message, .. } = &letters[index];
            Item { headers: headers::written(message, Some(key)), body: &message.body }
        };
        let results = Box::pin(self.publish(to, letters.len(), item)).await;
        let (mut done, mut failed) = (0, None);
        for (letter, result) in letters.iter().zip(results) {
            match result {
                Ok(()) => {
                    let call = format!("STREAM.MSG.DELETE.{}", names.dead_stream);
                    let body = json!({"seq": letter.sequence});
                    match self.streams.api::<Value>(session, names, &call, &body).await? {
                        // Another was quicker.
                        Ok(_) => {}
                        Err(answer) if gone(answer.error_code()) => {}
                        Err(answer) => return Err(self.streams.told(names, &answer)),
                    }
                    done += 1;
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(done), Err)
    }

    /// Those whose sequences are `from` to `last`, oldest first.
    async fn letters(
        &self,
        session: &Session,
        names: &Names,
        mut from: u64,
        last: u64,
        max: u32,
    ) -> Result<Vec<Letter>> {
        let call = format!("STREAM.MSG.GET.{}", names.dead_stream);
        let mut letters = Vec::new();
        while letters.len() < max as usize {
            let body = json!({"seq": from, "next_by_subj": names.dead_subject});
            let found = self.streams.api::<Found>(session, names, &call, &body).await?;
            let found = match found {
                Ok(found) => found.message,
                Err(answer) if gone(answer.error_code()) => break,
                Err(answer) => return Err(self.streams.told(names, &answer)),
            };
            let Ok(found) = StreamMessage::try_from(found) else {
                return Err(self.lost("a dead letter was not understood"));
            };
            if found.sequence > last {
                break;
            }
            from = found.sequence + 1;
            let nanoseconds = found.time.unix_timestamp_nanos();
            letters.push(Letter {
                sequence: found.sequence,
                key: format!("again-{}-{nanoseconds}", found.sequence),
                message: headers::read(Some(&found.headers), &found.payload),
            });
        }
        Ok(letters)
    }
}

fn gone(code: ErrorCode) -> bool {
    code == ErrorCode::NO_MESSAGE_FOUND || code == ErrorCode::SEQUENCE_NOT_FOUND
}
