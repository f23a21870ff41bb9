//! A delivered message in our hands, and how it is settled. The server takes a word about a message
//! from anyone at any time, so it is here that one which may be in other hands by now is left alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Message as Received, Request};
use futures_core::future::BoxFuture;
use mainstay_core::Result;
use mainstay_core::clock::Clock;

use super::super::{Delivery, Message, Receipt};
use super::names::Names;
use super::publish::{Address, Item};
use super::shelf::{Shelf, Slot};
use super::streams::ACK_WAIT;
use super::{Inner, headers};

/// For this long after it was sent or kept, a message is surely ours: the server waits for a little
/// longer.
const OURS: Duration = ACK_WAIT.saturating_sub(Duration::from_millis(500));
/// How often a message is kept that is on its way to the dead letters.
const KEEP: Duration = Duration::from_secs(1);

pub(super) const PROGRESS: &str = "+WPI";

/// A delivered message. Dropped unsettled, it goes back.
pub(super) struct Hold {
    inner: Arc<Inner>,
    names: Arc<Names>,
    received: Received,
    ticket: Ticket,
    lease: Lease,
    settled: bool,
    _slot: Slot,
}

/// What the server says of a delivery, in the subject that answers to it are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ticket {
    subject: Arc<str>,
    deliveries: u32,
    sequence: u64,
    published: u64,
}

impl Ticket {
    /// `$JS.ACK.STREAM.CONSUMER.DELIVERIES.SEQUENCE.ITS_SEQUENCE.PUBLISHED.PENDING`, or with the
    /// domain and the account before the stream and maybe more at the end.
    fn of(subject: &str) -> Option<Self> {
        let parts: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let skipped = match parts.len() {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        let number = |index: usize| parts.get(skipped + index)?.parse::<u64>().ok();
        Some(Self {
            subject: subject.into(),
            deliveries: number(0)?.clamp(1, u64::from(u32::MAX)) as u32,
            sequence: number(1)?,
            published: number(3)?,
        })
    }
}

impl Hold {
    /// Takes what was received; `None` where it is no delivery.
    pub(super) fn of(
        inner: &Arc<Inner>,
        names: &Arc<Names>,
        shelf: &Arc<Shelf>,
        received: Received,
    ) -> Option<Self> {
        let ticket = Ticket::of(received.reply.as_ref()?)?;
        let lease = Lease::new(ticket.subject.clone());
        Some(Self {
            inner: Arc::clone(inner),
            names: Arc::clone(names),
            received,
            ticket,
            lease: lease.clone(),
            settled: false,
            _slot: shelf.slot(lease),
        })
    }

    pub(super) fn delivery(self) -> Delivery {
        Delivery {
            message: self.message(),
            deliveries: self.ticket.deliveries,
            receipt: Box::new(self),
        }
    }

    fn message(&self) -> Message {
        headers::read(self.received.headers.as_ref(), &self.received.payload)
    }

    pub(super) fn is_valid(&self) -> bool {
        self.lease.is_valid()
    }

    /// How long it is ours.
    pub(super) fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Says `word` about it, and waits until the server has heard it; over the next connection where
    /// this one is lost, while the message is ours.
    async fn say(&mut self, word: String) {
        self.settled = true;
        while let Some(until) = self.lease.until() {
            let Ok(session) = self.inner.link.session(until, true).await else { break };
            let request = Request::new().payload(word.clone().into());
            match session.ask(self.ticket.subject.to_string(), request).await {
                Ok(_) => return,
                // Asked at once, it would not be there either.
                Err(fault) => {
                    tracing::debug!(queue = self.names.queue, ?fault, "not settled yet");
                    Clock::system().sleep(Duration::from_millis(50)).await;
                }
            }
        }
        tracing::debug!(queue = self.names.queue, "a delivery was not settled: it comes again");
    }

    /// To the dead letters, then out of the queue.
    async fn bury(&mut self, reason: String) -> Result<()> {
        if !self.is_valid() {
            self.settled = true;
            return Ok(());
        }
        let dead = headers::died(self.message(), reason);
        let key = format!("dead-{}-{}", self.ticket.sequence, self.ticket.published);
        let (inner, names) = (Arc::clone(&self.inner), Arc::clone(&self.names));
        let to = Address { names: &names, dead: true };
        let item = |_| Item { headers: headers::written(&dead, Some(&key)), body: &dead.body };
        let mut publishing = Box::pin(inner.publish(to, 1, item));
        let clock = Clock::system();
        let published = loop {
            tokio::select! {
                published = &mut publishing => break published,
                () = clock.sleep(KEEP) => self.lease.keep(&self.inner).await,
            }
        };
        // If it failed, the drop gives the message back.
        published.into_iter().collect::<Result<()>>()?;
        self.say("+TERM".to_owned()).await;
        Ok(())
    }
}

/// How long a message is ours.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) subject: Arc<str>,
    /// `None`: not any more.
    until: Arc<Mutex<Option<Instant>>>,
}

impl Lease {
    fn new(subject: Arc<str>) -> Self {
        Self { subject, until: Arc::new(Mutex::new(Some(Clock::system().now() + OURS))) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when it is ours, if it is.
    fn until(&self) -> Option<Instant> {
        let now = Clock::system().now();
        self.lock().filter(|until| *until > now)
    }

    pub(super) fn is_valid(&self) -> bool {
        self.until().is_some()
    }

    /// The server has heard, after `since`, that it is worked on.
    pub(super) fn renew(&self, since: Instant) {
        if let Some(until) = &mut *self.lock() {
            *until = since + OURS;
        }
    }

    /// It is ours no more; gives it back where it was until now.
    pub(super) fn revoke(&self) -> Option<Self> {
        let was = self.is_valid();
        *self.lock() = None;
        was.then(|| self.clone())
    }

    /// Lets another have it.
    pub(super) async fn give_back(&self, inner: &Inner) {
        // What is not heard is noticed by its silence.
        if let Ok(session) = inner.link.session(Clock::system().now() + OURS, true).await {
            let request = Request::new().payload("-NAK".into());
            let _ = session.ask(self.subject.to_string(), request).await;
        }
    }

    async fn keep(&self, inner: &Inner) {
        let since = Clock::system().now();
        let Some(until) = self.until() else { return };
        let Ok(session) = inner.link.session(until, true).await else { return };
        let request = Request::new().payload(PROGRESS.into());
        if session.ask(self.subject.to_string(), request).await.is_ok() {
            self.renew(since);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if let Some(lease) = self.lease.revoke() {
            let inner = Arc::clone(&self.inner);
            self.inner.runtime.spawn(async move { lease.give_back(&inner).await });
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ticket { sequence, deliveries, .. } = &self.ticket;
        f.debug_struct("Hold")
            .field("queue", &self.names.queue)
            .field("sequence", sequence)
            .field("deliveries", deliveries)
            .finish_non_exhaustive()
    }
}

impl Receipt for Hold {
    fn ack(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            self.say("+ACK".to_owned()).await;
            Ok(())
        })
    }

    fn again(mut self: Box<Self>, delay: Duration) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let word = if delay.is_zero() {
                "-NAK".to_owned()
            } else {
                let nanoseconds = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
                format!("-NAK {{\"delay\": {nanoseconds}}}")
            };
            self.say(word).await;
            Ok(())
        })
    }

    fn dead(mut self: Box<Self>, reason: String) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { self.bury(reason).await })
    }

    fn keep(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.lease.keep(&self.inner).await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_read_from_the_subject_of_its_answers() {
        let ticket = Ticket::of("$JS.ACK.s.c.3.17.21.1700000000000000000.5").unwrap();
        assert_eq!((ticket.deliveries, ticket.sequence), (3, 17));
        assert_eq!(ticket.published, 1_700_000_000_000_000_000);
        for longer in ["$JS.ACK._.hash.s.c.3.17.21.8.5", "$JS.ACK.d.hash.s.c.3.17.21.8.5.token"] {
            let ticket = Ticket::of(longer).unwrap();
            assert_eq!((ticket.deliveries, ticket.sequence, ticket.published), (3, 17, 8));
        }
    }

    #[test]
    fn what_is_no_delivery_has_no_ticket() {
        for subject in ["", "_INBOX.x", "$JS.ACK.s.c", "$JS.ACK.s.c.x.17.21.8.5"] {
            assert_eq!(Ticket::of(subject), None, "{subject}");
        }
    }
}
