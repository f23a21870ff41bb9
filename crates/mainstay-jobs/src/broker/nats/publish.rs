//! Publishing: all messages of a call are on their way at once, and the server's confirmations are
//! awaited after. What a lost connection leaves unconfirmed is published again, under its own id.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{HeaderMap, Request};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};

use super::Inner;
use super::fault::{self, Fault};
use super::names::Names;
use super::session::Session;

/// How long a call waits for its confirmations, with all its repetitions.
const LIMIT: Duration = Duration::from_secs(30);
/// How long nothing at all may be confirmed before the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(10);
/// Messages of one call that are neither confirmed nor refused.
const WINDOW: usize = 1024;
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What is published.
pub(super) struct Item<'a> {
    pub(super) headers: HeaderMap,
    pub(super) body: &'a [u8],
}

/// Where to: the subject of a queue, or of its dead letters.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) names: &'a Names,
    pub(super) dead: bool,
}

/// What became of one message.
enum End {
    Done(Result<()>),
    /// It is to be published again.
    Open(Error),
}

impl Inner {
    /// Publishes `count` messages, which `make` gives by their number, and waits for the
    /// confirmations: one result each, in their order.
    pub(super) async fn publish<'a>(
        &self,
        to: Address<'_>,
        count: usize,
        make: impl Fn(usize) -> Item<'a>,
    ) -> Vec<Result<()>> {
        let clock = Clock::system();
        let deadline = clock.now() + LIMIT;
        let mut results: Vec<Option<Result<()>>> = (0..count).map(|_| None).collect();
        let mut pause = PAUSE_MIN;
        let mut last = None;
        loop {
            let open: Vec<usize> = (0..count).filter(|index| results[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let session = match self.link.session(deadline, true).await {
                Ok(session) => session,
                // What the server said before tells more than that time is over.
                Err(error) => {
                    last = last.or(Some(error));
                    break;
                }
            };
            let round = self.round(&session, to, &open, &make, &mut results);
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
        let last = last.unwrap_or_else(|| fault::lost(&self.target.place));
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(copy(&last)))).collect()
    }

    /// Publishes those of `open` once. Returns why some remain open, if any.
    async fn round<'a>(
        &self,
        session: &Arc<Session>,
        to: Address<'_>,
        open: &[usize],
        make: &impl Fn(usize) -> Item<'a>,
        results: &mut [Option<Result<()>>],
    ) -> Option<Error> {
        let clock = Clock::system();
        let subject = if to.dead { &to.names.dead_subject } else { &to.names.subject };
        let mut going = FuturesUnordered::new();
        let mut waiting = open.iter();
        let mut bytes = 0;
        let mut last = None;
        let mut nobody = false;
        loop {
            while going.len() < WINDOW && bytes < WINDOW_BYTES {
                let Some(index) = waiting.next() else { break };
                let item = make(*index);
                let size = item.body.len();
                let request =
                    Request::new().headers(item.headers).payload(item.body.to_vec().into());
                let sent = session.request(subject.clone(), request);
                going.push(async move { (*index, size, sent.await) });
                bytes += size;
            }
            let answered = tokio::select! {
                biased;
                answered = going.next() => answered,
                () = session.over() => return Some(self.lost("the connection was lost")),
                () = clock.sleep(SILENCE) => {
                    // The client would remember what is unanswered for as long as it lives.
                    session.end();
                    return Some(self.lost("it is silent"));
                }
            };
            let Some((index, size, answer)) = answered else { break };
            bytes -= size;
            match self.judge(to.names, answer) {
                Ok(End::Done(result)) => results[index] = Some(result),
                Ok(End::Open(error)) => last = Some(error),
                Err(Nobody) => nobody = true,
            }
        }
        if nobody {
            return self.nobody(session, to.names, open, results).await.or(last);
        }
        last
    }

    fn judge(
        &self,
        names: &Names,
        answer: std::result::Result<async_nats::Message, Fault>,
    ) -> std::result::Result<End, Nobody> {
        let place = &self.target.place;
        let answer = match answer {
            Ok(answer) => answer,
            Err(Fault::Nobody) => return Err(Nobody),
            Err(Fault::Refused(why)) => {
                let what = format!("{place} can't take the message for `{}`", names.queue);
                return Ok(End::Done(Err(fault::refused(what).why(why))));
            }
            Err(Fault::Lost(_)) => return Ok(End::Open(self.lost("the connection was lost"))),
        };
        Ok(match serde_json::from_slice(&answer.payload) {
            Ok(Response::Ok(PublishAck { .. })) => End::Done(Ok(())),
            Ok(Response::Err { error }) => {
                let what = format!("{place} did not take the message for `{}`", names.queue);
                let told = fault::refused(what).why(error.to_string());
                // No leader, or no room: it may be otherwise in a moment.
                if error.code() == 503 { End::Open(told) } else { End::Done(Err(told)) }
            }
            Err(_) => End::Open(self.lost("its answer was not understood")),
        })
    }

    /// Nobody listens on the subject: there is no such queue, or JetStream is not up yet.
    async fn nobody(
        &self,
        session: &Session,
        names: &Names,
        open: &[usize],
        results: &mut [Option<Result<()>>],
    ) -> Option<Error> {
        match self.streams.is_there(session, names).await {
            Ok(false) => {
                let what = format!("{} has no queue `{}`", self.target.place, names.queue);
                let told = || fault::refused(what.clone()).fix("declare the queue before");
                for index in open {
                    results[*index].get_or_insert_with(|| Err(told()));
                }
                None
            }
            Ok(true) => Some(self.lost("the queue's stream is not up")),
            Err(error) => Some(error),
        }
    }

    pub(super) fn lost(&self, why: &'static str) -> Error {
        fault::lost(&self.target.place).why(why)
    }
}

/// Nobody listened.
struct Nobody;

/// The same error for another message.
pub(super) fn copy(error: &Error) -> Error {
    // Of a message, it is that it can't be published now.
    let code = if error.code() == Code::BrokerQueue { Code::BrokerRefused } else { error.code() };
    let copy = Error::new(code, error.what().to_owned())
        .fix(error.advice().to_owned())
        .retry(error.retryability());
    match error.reason() {
        Some(why) => copy.why(why.to_owned()),
        None => copy,
    }
}
