//! Publishing: commands are sent many at once, and the answers awaited after. What a lost connection
//! leaves unanswered is published again.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use redis::{RedisError, RedisResult};

use super::super::Message;
use super::Inner;
use super::entry;
use super::fault::{self, Verdict, copy};
use super::keys::Keys;
use super::link::Wire;

/// How long a call waits for its answers, with all its repetitions.
const LIMIT: Duration = Duration::from_secs(30);
/// How long nothing may be answered before the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(10);
/// Messages that are sent together.
const CHUNK: usize = 128;
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks of one call on their way at once.
const CHUNKS: usize = 8;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Inner {
    /// Publishes, and waits for the answers: one result a message, in their order.
    pub(super) async fn publish(&self, keys: &Keys, messages: &[Message]) -> Vec<Result<()>> {
        let clock = Clock::system();
        let deadline = clock.now() + LIMIT;
        let mut results: Vec<Option<Result<()>>> = messages.iter().map(|_| None).collect();
        let mut pause = PAUSE_MIN;
        let mut last = None;
        loop {
            let open: Vec<usize> =
                (0..messages.len()).filter(|index| results[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let wire = match self.link.wire(deadline, true).await {
                Ok(wire) => wire,
                // What the server said before tells more than that time is over.
                Err(error) => {
                    last = last.or(Some(error));
                    break;
                }
            };
            let round = self.round(&wire, keys, messages, &open, &mut results);
            match clock.timeout_at(deadline, Box::pin(round)).await {
                Some(None) => continue,
                Some(Some(error)) => last = Some(error),
                None => {}
            }
            if clock.now() + pause >= deadline {
                break;
            }
            clock.sleep(Rng::system().jittered(pause, 0.5)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        let last = last.unwrap_or_else(|| fault::lost(&self.link.place));
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(copy(&last)))).collect()
    }

    /// Publishes those of `open` once. Returns why some remain open, if any.
    async fn round(
        &self,
        wire: &Wire,
        keys: &Keys,
        messages: &[Message],
        open: &[usize],
        results: &mut [Option<Result<()>>],
    ) -> Option<Error> {
        let clock = Clock::system();
        let mut going = FuturesUnordered::new();
        let mut rest = open;
        let mut last = None;
        loop {
            while going.len() < CHUNKS && !rest.is_empty() {
                let (chunk, after) = rest.split_at(chunk(messages, rest));
                rest = after;
                going.push(send(wire, keys, messages, chunk));
            }
            let answered = tokio::select! {
                biased;
                answered = going.next() => answered,
                () = clock.sleep(SILENCE) => {
                    wire.is_lost();
                    return Some(fault::lost(&self.link.place).why("it is silent"));
                }
            };
            let Some((chunk, answers)) = answered else { return last };
            match answers {
                Ok(answers) => {
                    for (index, answer) in chunk.iter().zip(answers) {
                        match self.judge(wire, keys, answer) {
                            Ok(result) => results[*index] = Some(result),
                            Err(error) => last = Some(error),
                        }
                    }
                }
                Err(error) => match self.judge(wire, keys, Err(error)) {
                    // It was about all of them.
                    Ok(result) => {
                        let error = result.err().unwrap_or_else(|| fault::lost(&self.link.place));
                        for index in chunk {
                            results[*index] = Some(Err(copy(&error)));
                        }
                    }
                    Err(error) => last = Some(error),
                },
            }
        }
    }

    /// What an answer means; an error where the message is to be published again.
    fn judge(
        &self,
        wire: &Wire,
        keys: &Keys,
        answer: RedisResult<Option<String>>,
    ) -> Result<Result<()>> {
        let place = &self.link.place;
        let queue = &keys.queue;
        let error = match answer {
            Ok(Some(_)) => return Ok(Ok(())),
            Ok(None) => {
                let what = format!("{place} has no queue `{queue}`");
                let told = Error::new(Code::BrokerRefused, what);
                return Ok(Err(told.fix("declare the queue before")));
            }
            Err(error) => error,
        };
        match fault::verdict(&error) {
            Verdict::Reconnect => {
                wire.is_lost();
                Err(fault::lost(place).why(fault::words(&error)))
            }
            Verdict::Wait => Err(refused(place, queue, &error)),
            Verdict::Missing | Verdict::Kind | Verdict::Refused => {
                Ok(Err(refused(place, queue, &error)))
            }
        }
    }
}

/// No queue can be called so.
pub(super) fn nameless(queue: &str) -> Error {
    Error::new(Code::BrokerRefused, format!("no queue can be called `{queue}`"))
        .fix("use another name")
}

fn refused(place: &str, queue: &str, error: &RedisError) -> Error {
    let what = format!("{place} did not take the message for `{queue}`");
    Error::new(Code::BrokerRefused, what).why(fault::words(error))
}

/// How many of `open` are sent together; at least one.
fn chunk(messages: &[Message], open: &[usize]) -> usize {
    let mut bytes = 0;
    let fit = open.iter().take(CHUNK).take_while(|index| {
        let fits = bytes < CHUNK_BYTES;
        bytes += messages[**index].body.len();
        fits
    });
    fit.count().max(1)
}

async fn send<'a>(
    wire: &Wire,
    keys: &Keys,
    messages: &[Message],
    chunk: &'a [usize],
) -> (&'a [usize], RedisResult<Vec<RedisResult<Option<String>>>>) {
    let mut pipe = redis::Pipeline::with_capacity(chunk.len());
    pipe.ignore_errors();
    for index in chunk {
        pipe.add_command(entry::add(&keys.stream, &messages[*index]));
    }
    let mut connection = wire.connection.clone();
    (chunk, pipe.query_async(&mut connection).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_messages_are_sent_few_at_a_time() {
        let sized = |size: usize| Message { body: vec![0; size], ..Message::default() };
        let messages: Vec<_> = (0..300).map(|_| sized(10)).collect();
        let open: Vec<_> = (0..300).collect();
        assert_eq!(chunk(&messages, &open), CHUNK);
        let messages: Vec<_> = (0..300).map(|_| sized(CHUNK_BYTES)).collect();
        assert_eq!(chunk(&messages, &open), 1);
        let messages: Vec<_> = (0..300).map(|_| sized(CHUNK_BYTES / 2)).collect();
        assert_eq!(chunk(&messages, &open), 2);
    }
}
