//! RabbitMQ: durable quorum queues with dead letters, persistent messages with confirms, and
//! acknowledged deliveries, over connections that are made anew when they are lost.
//!
//! It needs RabbitMQ 3.10 or later and nothing but AMQP 0-9-1 on it: no plugin, no management API.
//! lapin speaks the protocol; its own recovery is off, as it forgets what was unconfirmed.

mod consume;
mod dead;
mod fault;
mod link;
mod properties;
mod publish;
mod session;
mod topology;
mod url;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::future::BoxFuture;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};

use self::link::Link;
use self::publish::{Address, Item, Publisher};
use self::session::Session;
use self::topology::Topology;
use self::url::Target;
use super::{Broker, Consumer, Message};

/// How long the first connection may take.
const FIRST: Duration = Duration::from_secs(5);
/// How long a question to the broker may take, a reconnection included.
const WAIT: Duration = Duration::from_secs(15);
const DELIVERY_LIMIT: u32 = 20;

/// RabbitMQ as a [`Broker`]. Cheap to clone; the connections are closed when the last clone and the
/// last of its consumers are dropped.
///
/// There are two: what publishes has one of its own, since a broker whose disk or memory is full stops
/// reading from it. A heartbeat every 5 s tells a frozen broker after 10 s; `?heartbeat=SECONDS` in
/// the URL changes that (1 to 600).
///
/// A queue `orders` is declared as a quorum queue, with a quorum queue `orders.dead` for what was
/// delivered more often than the [delivery limit](Builder::delivery_limit) or refused. A message moves
/// there at least once: it may be in both for a moment, never in neither. Messages that were sent ahead
/// to a consumer and not looked at when it ended count as delivered.
///
/// RabbitMQ 3.10 notes on disk which quorum queues it has about half a second after one was declared:
/// killed before, it forgets the new queue's messages, and the queue must be removed and declared again.
///
/// Properties that others use are read and written as headers: `content-type` (left out where it is
/// `application/json`), `content-encoding`, `correlation-id`, `reply-to` and `app-id`; `user-id`,
/// `expiration`, `priority` and `timestamp` are read only.
///
/// ```no_run
/// use mainstay_jobs::broker::{Broker, Message, rabbitmq::RabbitMq};
///
/// # async fn example() -> mainstay_core::Result<()> {
/// let broker = RabbitMq::connect("amqp://shop:secret@localhost:5672/shop").await?;
/// broker.declare("mails").await?;
/// let mut mail = Message { id: "1".into(), name: "mail".into(), ..Message::default() };
/// mail.body = b"{}".to_vec();
/// for published in broker.publish("mails", &[mail]).await {
///     published?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RabbitMq {
    inner: Arc<Inner>,
}

/// What a [`RabbitMq`] and its consumers share.
struct Inner {
    target: Arc<Target>,
    topology: Arc<Topology>,
    control: Link,
    publisher: Publisher,
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RabbitMq").field(&self.inner.target.place).finish()
    }
}

/// How RabbitMQ is used; see [`RabbitMq::builder`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder<'a> {
    url: &'a str,
    delivery_limit: u32,
}

impl Builder<'_> {
    /// How often a message may be delivered again before it goes to the dead letters: 20 if not given.
    /// A queue that is there with another limit is not changed: MSG-004 at
    /// [`declare`](Broker::declare).
    pub fn delivery_limit(mut self, limit: u32) -> Self {
        self.delivery_limit = limit;
        self
    }

    /// Connects, and keeps the connection from then on.
    ///
    /// Errors: MSG-001 where the URL is malformed; MSG-002 where the broker could not be reached within
    /// 5 s, or at once where it refuses the user or the virtual host.
    pub async fn connect(self) -> Result<RabbitMq> {
        let target = Arc::new(url::parse(self.url)?);
        let topology = Arc::new(Topology::new(target.place.clone(), self.delivery_limit));
        let control = Link::start(Arc::clone(&target), Some(Arc::clone(&topology)));
        control.session(Clock::system().now() + FIRST, false).await?;
        let publisher = Publisher::new(Arc::clone(&target), Arc::clone(&topology));
        Ok(RabbitMq { inner: Arc::new(Inner { target, topology, control, publisher }) })
    }
}

impl RabbitMq {
    /// Connects with the defaults of a [`builder`](Self::builder).
    ///
    /// Errors: as [`Builder::connect`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Begins with `amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST]`, and after a `?`, separated by
    /// `&`: `heartbeat=SECONDS` (1 to 600; 5), `cacertfile=PATH` (certificates to trust besides the
    /// machine's own), `name=TEXT` (as which it is listed there; `mainstay`). The user `guest` with the
    /// password `guest`, the ports 5672 and 5671, and the virtual host `/` may be left out.
    pub fn builder(url: &str) -> Builder<'_> {
        Builder { url, delivery_limit: DELIVERY_LIMIT }
    }

    /// Says that `queue` is another's, for all clones: it is used as it is and never declared or removed;
    /// it may be of any type, with or without dead letters. What can't be processed is refused without
    /// being put back: it goes where its owner decided, which may be nowhere.
    pub fn foreign(self, queue: impl Into<String>) -> Self {
        self.inner.topology.make_foreign(queue.into());
        self
    }

    /// As [`publish`](Broker::publish), to the exchange of another.
    ///
    /// Errors, of each: MSG-002; MSG-003 where there is no such exchange, or it leads `routing_key` to
    /// no queue.
    pub async fn publish_to(
        &self,
        exchange: &str,
        routing_key: &str,
        messages: &[Message],
    ) -> Vec<Result<()>> {
        let items: Vec<_> = messages.iter().map(Item::New).collect();
        let to = Address { exchange, key: routing_key };
        Box::pin(self.inner.publisher.publish(to, &items)).await
    }

    /// Asks something of the control connection.
    async fn ask<T>(&self, question: impl AsyncFnOnce(&Session) -> Result<T>) -> Result<T> {
        let deadline = Clock::system().now() + WAIT;
        let session = self.inner.control.session(deadline, true).await?;
        self.inner.bounded(&session, deadline, question(&session)).await
    }
}

impl Inner {
    /// Ends `work` with the connection it is for, or at `deadline`.
    async fn bounded<T>(
        &self,
        session: &Session,
        deadline: Instant,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let clock = Clock::system();
        tokio::select! {
            biased;
            done = work => done,
            () = session.over() => Err(self.lost("the connection was lost")),
            () = clock.sleep_until(deadline) => Err(self.lost("it is silent")),
        }
    }

    fn lost(&self, why: &'static str) -> Error {
        let place = &self.target.place;
        Error::new(Code::BrokerDown, format!("{place} did not answer in time")).why(why)
    }
}

impl Broker for RabbitMq {
    fn place(&self) -> String {
        format!("RabbitMQ at {}", self.inner.target.place)
    }

    fn declare<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.ask(async move |session| self.inner.topology.ensure(session, queue).await))
    }

    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(self.publish_to("", queue, messages))
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let consumer = consume::QueueConsumer::begin(inner, queue, prefetch).await?;
            Ok(Box::new(consumer) as Box<dyn Consumer>)
        })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.ask(async move |session| {
            let queue = self.inner.topology.look(session, queue).await?;
            Ok(u64::from(queue.message_count()))
        }))
    }

    fn requeue_dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<u32>> {
        Box::pin(self.inner.requeue_dead(queue, max))
    }

    fn dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<Vec<Message>>> {
        Box::pin(self.inner.dead(queue, max))
    }

    fn remove<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.ask(async move |session| self.inner.topology.remove(session, queue).await))
    }
}
