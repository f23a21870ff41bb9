//! Publishing: all messages of a call are on their way at once, and the broker's confirms are awaited
//! after. What a lost connection leaves unconfirmed is published again, under its own id.
//!
//! A call has a channel of its own while it lasts. lapin hands a returned message to whichever confirm
//! comes next, so only among the messages of one call can it be told whose it was; and two tasks that
//! publish on one channel at once may get each other's confirms.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use lapin::message::BasicGetMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::Message;
use super::link::Link;
use super::session::{Session, begin, close};
use super::topology::Topology;
use super::url::Target;
use super::{fault, properties};

/// How long a call waits for its confirms, with all its repetitions.
const LIMIT: Duration = Duration::from_secs(30);
/// Calls that publish at once; others wait in line.
const CALLS: usize = 32;
/// Messages of one call that are neither confirmed nor refused. More would make others wait.
const WINDOW: usize = 4096;
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// Messages handed over at once, before any is waited for.
const CHUNK: usize = 64;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Publishes over a connection of its own: a broker whose disk is full stops reading from those that
/// publish, and acknowledgements must not wait behind that.
pub(super) struct Publisher {
    target: Arc<Target>,
    topology: Arc<Topology>,
    link: OnceLock<Link>,
    turns: Arc<Semaphore>,
}

/// What is published.
pub(super) enum Item<'a> {
    New(&'a Message),
    /// As it came, with what the broker wrote into it taken out.
    Again(&'a BasicGetMessage),
}

impl<'a> Item<'a> {
    fn properties(&self) -> Result<BasicProperties> {
        match self {
            Item::New(message) => properties::written(message),
            Item::Again(message) => Ok(properties::revived(&message.properties)),
        }
    }

    fn body(&self) -> &'a [u8] {
        match self {
            Item::New(message) => &message.body,
            Item::Again(message) => &message.data,
        }
    }

    fn id(&self) -> &'a str {
        match self {
            Item::New(message) => &message.id,
            Item::Again(message) => {
                message.properties.message_id().as_ref().map_or("", ShortString::as_str)
            }
        }
    }
}

/// Where messages go.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) exchange: &'a str,
    pub(super) key: &'a str,
}

impl Publisher {
    pub(super) fn new(target: Arc<Target>, topology: Arc<Topology>) -> Self {
        let turns = Arc::new(Semaphore::new(CALLS));
        Self { target, topology, link: OnceLock::new(), turns }
    }

    /// Publishes, and waits for the confirms: one result an item, in their order.
    pub(super) async fn publish(&self, to: Address<'_>, items: &[Item<'_>]) -> Vec<Result<()>> {
        let mut results: Vec<Option<Result<()>>> = items.iter().map(|_| None).collect();
        if let Err(error) = addressable(to) {
            return results.iter().map(|_| Err(copy(&error))).collect();
        }
        let clock = Clock::system();
        let deadline = clock.now() + LIMIT;
        let mut pause = PAUSE_MIN;
        let last = loop {
            let open: Vec<usize> =
                (0..items.len()).filter(|index| results[*index].is_none()).collect();
            if open.is_empty() {
                break None;
            }
            let round = self.round(to, items, &open, &mut results, deadline);
            match Box::pin(round).await {
                Ok(()) => {}
                Err(End::Final(error)) => break Some(error),
                // Whatever it was: the next connection tells, if there is time for one.
                Err(End::Lost(error)) if clock.now() + pause >= deadline => break Some(error),
                Err(End::Lost(_)) => {
                    clock.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        };
        let unknown = || Error::new(Code::BrokerDown, "the message was not confirmed");
        let rest = || Err(last.as_ref().map_or_else(unknown, copy));
        results.into_iter().map(|result| result.unwrap_or_else(rest)).collect()
    }

    /// Publishes those of `open` once.
    async fn round(
        &self,
        to: Address<'_>,
        items: &[Item<'_>],
        open: &[usize],
        results: &mut [Option<Result<()>>],
        deadline: Instant,
    ) -> std::result::Result<(), End> {
        let clock = Clock::system();
        let place = self.target.place.as_str();
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Some(Ok(turn)) = clock.timeout_at(deadline, turn).await else {
            return Err(End::Final(unconfirmed(place, None)));
        };
        let link = self.link.get_or_init(|| Link::start(Arc::clone(&self.target), None));
        let session = link.session(deadline, true).await.map_err(End::Final)?;
        let opening = async {
            self.check(&session, to).await?;
            session.publishing().await.map_err(|_| End::Lost(fault::lost(place)))
        };
        let channel = tokio::select! {
            channel = opening => channel?,
            () = session.over() => return Err(End::Lost(fault::lost(place))),
            () = clock.sleep_until(deadline) => {
                return Err(End::Final(unconfirmed(place, Some(&session))));
            }
        };
        let mut round = Round {
            channel,
            session: Arc::clone(&session),
            turn: Some(turn),
            clean: false,
            to,
            going: VecDeque::new(),
            bytes: 0,
            returned: BTreeSet::new(),
        };
        let ended = tokio::select! {
            ended = Box::pin(round.run(items, open, results)) => ended,
            () = session.over() => Err(End::Lost(fault::lost(place))),
            () = clock.sleep_until(deadline) => {
                Err(End::Final(unconfirmed(place, Some(&session))))
            }
        };
        round.judge(place, items, open, results);
        ended
    }

    /// Whether there is anything at `to`, asked once for each connection: a message that can't be
    /// routed comes back, but lapin writes it into the log when it does.
    async fn check(&self, session: &Session, to: Address<'_>) -> std::result::Result<(), End> {
        let place = self.target.place.as_str();
        if !to.exchange.is_empty() {
            return session.check_exchange(to.exchange).await.map_err(|error| {
                if fault::is_refusal(&error) {
                    let what = format!("{place} has no exchange `{}` for this", to.exchange);
                    End::Final(refused(what).why(fault::words(&error)))
                } else {
                    End::Lost(fault::lost(place).why(fault::words(&error)))
                }
            });
        }
        if session.has_seen("queue", to.key) {
            return Ok(());
        }
        match self.topology.look(session, to.key).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Code::BrokerQueue => {
                if self.topology.is_foreign(to.key) {
                    return Err(End::Final(error));
                }
                let why = error.reason().unwrap_or_default().to_owned();
                Err(End::Final(
                    refused(error.what().to_owned()).why(why).fix("declare the queue before"),
                ))
            }
            Err(error) => Err(End::Lost(error)),
        }
    }
}

/// Why a round did not confirm everything.
enum End {
    /// The connection was lost: it is worth another round.
    Lost(Error),
    Final(Error),
}

/// One call's use of one channel. Dropped half-way, the channel is closed as soon as everything on it
/// is confirmed: closed before, the broker would end the whole connection at the next message.
struct Round<'a> {
    channel: Channel,
    session: Arc<Session>,
    turn: Option<OwnedSemaphorePermit>,
    clean: bool,
    to: Address<'a>,
    going: VecDeque<(usize, usize, PublisherConfirm)>,
    bytes: usize,
    /// Ids of messages that the broker could not route.
    returned: BTreeSet<String>,
}

impl Round<'_> {
    async fn run(
        &mut self,
        items: &[Item<'_>],
        open: &[usize],
        results: &mut [Option<Result<()>>],
    ) -> std::result::Result<(), End> {
        let exchange = ShortString::from(self.to.exchange);
        let key = ShortString::from(self.to.key);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        for chunk in open.chunks(CHUNK) {
            while self.going.len() + chunk.len() > WINDOW || self.bytes > WINDOW_BYTES {
                self.confirm_oldest(results).await?;
            }
            // Of its own, so that what borrows it does not borrow the round.
            let channel = self.channel.clone();
            let mut sending = Vec::with_capacity(chunk.len());
            for index in chunk {
                let item = &items[*index];
                let properties = match item.properties() {
                    Ok(properties) => properties,
                    Err(error) => {
                        results[*index] = Some(Err(error));
                        continue;
                    }
                };
                let (exchange, key) = (exchange.clone(), key.clone());
                let publish =
                    channel.basic_publish(exchange, key, options, item.body(), properties);
                sending.push((*index, item.body().len(), begin(publish)));
            }
            for (index, bytes, sent) in sending {
                let confirm = sent.end().await.map_err(|error| self.failed(&error))?;
                self.bytes += bytes;
                self.going.push_back((index, bytes, confirm));
            }
        }
        while !self.going.is_empty() {
            self.confirm_oldest(results).await?;
        }
        self.clean = true;
        Ok(())
    }

    async fn confirm_oldest(
        &mut self,
        results: &mut [Option<Result<()>>],
    ) -> std::result::Result<(), End> {
        let Some((index, bytes, confirm)) = self.going.front_mut() else { return Ok(()) };
        let (index, bytes) = (*index, *bytes);
        let confirmation = confirm.await;
        self.going.pop_front();
        self.bytes -= bytes;
        let confirmation = confirmation.map_err(|error| self.failed(&error))?;
        self.confirmed(index, confirmation, results);
        Ok(())
    }

    fn confirmed(
        &mut self,
        index: usize,
        confirmation: Confirmation,
        results: &mut [Option<Result<()>>],
    ) {
        let taken = confirmation.is_ack();
        if let Some(message) = confirmation.take_message() {
            let id = message.properties.message_id().as_ref().map_or("", ShortString::as_str);
            self.returned.insert(id.to_owned());
        }
        results[index] = Some(if taken {
            Ok(())
        } else {
            let what = format!("the broker did not take the message for `{}`", self.to.key);
            Err(refused(what)
                .why("it answered basic.nack: the queue is full, or has too few members"))
        });
    }

    fn failed(&self, error: &lapin::Error) -> End {
        if fault::is_refusal(error) && !self.session.is_over() {
            let what = format!("the broker refused to publish to `{}`", self.to.key);
            self.session.forget("exchange", self.to.exchange);
            return End::Final(refused(what).why(fault::words(error)));
        }
        End::Lost(
            Error::new(Code::BrokerDown, "the connection was lost while publishing")
                .why(fault::words(error)),
        )
    }

    /// A message that could not be routed is confirmed all the same; that it came back may be told by
    /// a confirm that nobody has looked at yet.
    fn judge(
        &mut self,
        place: &str,
        items: &[Item<'_>],
        open: &[usize],
        results: &mut [Option<Result<()>>],
    ) {
        for (index, _, confirm) in std::mem::take(&mut self.going) {
            if let Some(Ok(confirmation)) = confirm.now_or_never() {
                self.confirmed(index, confirmation, results);
            }
        }
        if self.returned.is_empty() {
            return;
        }
        self.session.forget("queue", self.to.key);
        for index in open {
            let came_back = self.returned.contains(items[*index].id());
            if came_back && matches!(results[*index], Some(Ok(()))) {
                let to = if self.to.exchange.is_empty() {
                    format!("{place} has no queue `{}`", self.to.key)
                } else {
                    let Address { exchange, key } = self.to;
                    format!("no queue of {place} is bound to `{exchange}` for `{key}`")
                };
                results[*index] = Some(Err(refused(to).fix("declare or bind the queue before")));
            }
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let (channel, session) = (self.channel.clone(), Arc::clone(&self.session));
        if self.clean {
            session.give_back(channel);
            return;
        }
        if !channel.status().connected() {
            return;
        }
        // They stay known to the channel, which is asked for them below.
        self.going.clear();
        let turn = self.turn.take();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return session.end();
        };
        runtime.spawn(async move {
            let _turn = turn;
            let confirmed = async {
                tokio::select! {
                    _ = channel.wait_for_confirms() => {}
                    () = session.over() => {}
                }
            };
            match Clock::system().timeout(LIMIT, confirmed).await {
                Some(()) => close(&channel),
                None => session.end(),
            }
        });
    }
}

fn addressable(to: Address<'_>) -> Result<()> {
    for (part, name) in [("exchange", to.exchange), ("routing key", to.key)] {
        if name.len() > 255 {
            return Err(refused(format!("the {part} has {} bytes, more than 255", name.len())));
        }
    }
    Ok(())
}

/// The time is over.
fn unconfirmed(place: &str, session: Option<&Session>) -> Error {
    match session {
        Some(session) if session.blocked() => {
            refused(format!("{place} takes no messages at present"))
                .why("its disk or its memory is full, by its own alarm")
        }
        Some(session) if !session.is_over() => {
            refused(format!("{place} did not confirm within {LIMIT:?}"))
                .why("the connection is well: the queue may lack the majority of its members")
        }
        _ => fault::lost(place),
    }
}

fn refused(what: String) -> Error {
    Error::new(Code::BrokerRefused, what)
}

/// The same error for another message.
fn copy(error: &Error) -> Error {
    let copy = Error::new(error.code(), error.what().to_owned())
        .fix(error.advice().to_owned())
        .retry(error.retryability());
    match error.reason() {
        Some(why) => copy.why(why.to_owned()),
        None => copy,
    }
}
