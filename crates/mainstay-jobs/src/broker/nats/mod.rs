//! NATS JetStream: a stream a queue, confirmed publishing, acknowledged deliveries, over a connection
//! that is made anew when it is lost.
//!
//! It needs nats-server 2.9 or later with JetStream (`nats-server -js`).

mod consume;
mod dead;
mod fault;
mod headers;
mod link;
mod names;
mod publish;
mod receipt;
mod session;
mod shelf;
mod streams;
mod url;

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::Result;
use mainstay_core::clock::Clock;
use tokio::runtime::Handle;

use self::link::Link;
use self::names::Names;
use self::publish::{Address, Item};
use self::session::Session;
use self::streams::Streams;
use self::url::Target;
use super::{Broker, Consumer, Message};

/// How long the first connection may take.
const FIRST: Duration = Duration::from_secs(5);
/// How long a question to the server may take, a reconnection included.
const WAIT: Duration = Duration::from_secs(15);

/// NATS JetStream as a [`Broker`]. Cheap to clone; the connection is closed when the last clone, the
/// last of its consumers and the last receipt are dropped. A frozen server is noticed after 6 to 8 s.
///
/// A queue `orders` is a stream `mainstay-orders` on disk that keeps a message until it is
/// acknowledged (work queue retention), with one durable consumer `mainstay` that all who consume it
/// share, and a stream `mainstay-orders+dead` for its dead letters. In a cluster each is kept by three
/// servers. A queue's name is 1 to 100 of the characters `A-Za-z0-9_.:-`; in the streams' names `.`
/// becomes `=` and `:` becomes `~`.
///
/// # What is guaranteed
///
/// - **Published**: the confirmation says that the server has written the message to its file, or in a
///   cluster that the majority has. It comes before the file is synced: nats-server 2.9 does that every
///   2 min, later ones as `sync_interval` says. So what was confirmed survives a server that is killed,
///   but not a power failure of a server that is alone. Use three servers against that.
/// - **Once more**: a message published again with its id within 2 min is stored once.
/// - **Delivered** at least once, in the order published, redeliveries apart. What a consumer holds
///   comes to another one 4.5 s after the last word from it: after [`keep`](super::Receipt::keep), or
///   after its delivery. A message that waits in a consumer is kept by it.
/// - **Acknowledged**: the server has heard it. One that is killed at that moment may deliver a message
///   again that was acknowledged.
/// - A receipt that was silent for longer than that does nothing. The loss of a connection alone spoils
///   no receipt: it is settled over the next one.
/// - Delayed messages stay with the server and do not count against the prefetch.
///
/// The user needs permission to publish to `mainstay.>`, `$JS.API.>` and `$JS.ACK.>`, and to subscribe to
/// `_INBOX.>`.
///
/// ```no_run
/// use mainstay_jobs::broker::{Broker, Message, nats::Nats};
///
/// # async fn example() -> mainstay_core::Result<()> {
/// let broker = Nats::connect("nats://shop:secret@localhost:4222").await?;
/// broker.declare("mails").await?;
/// let mail = Message { id: "1".into(), name: "mail".into(), body: b"{}".to_vec(), ..Message::default() };
/// for published in broker.publish("mails", &[mail]).await {
///     published?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Nats {
    inner: Arc<Inner>,
}

/// What a [`Nats`], its consumers and their receipts share.
struct Inner {
    target: Arc<Target>,
    streams: Arc<Streams>,
    link: Link,
    /// Where receipts that are dropped outside of it find someone to speak for them.
    runtime: Handle,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Nats").field(&self.inner.target.place).finish()
    }
}

impl Nats {
    /// Connects, and keeps the connection from then on.
    ///
    /// The URL is `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]]...`, or `TOKEN@` for the user, or
    /// `tls://` where TLS is wanted (it is used anyway where the server demands it). Several hosts are
    /// the servers of one cluster. After a `?`, separated by `&`: `cacertfile=PATH` (certificates to
    /// trust instead of the machine's own), `credentials=PATH` (a user's `.creds` file), `name=TEXT` (as
    /// which it is listed there; `mainstay`), `replicas=N` (1 to 5 servers that keep each message; 3 in
    /// a cluster, else 1).
    ///
    /// With TLS, ring becomes the process's provider for rustls unless there is one.
    ///
    /// Errors: MSG-001 where the URL is malformed or names a file that can't be read; MSG-002 where the
    /// server could not be reached within 5 s, or at once where it refuses the user or has no
    /// JetStream.
    pub async fn connect(url: &str) -> Result<Self> {
        let target = Arc::new(url::parse(url)?);
        target.check()?;
        let streams = Arc::new(Streams::new(target.place.clone(), target.replicas));
        let link = Link::start(Arc::clone(&target), Arc::clone(&streams));
        link.session(Clock::system().now() + FIRST, false).await?;
        let runtime = Handle::current();
        Ok(Self { inner: Arc::new(Inner { target, streams, link, runtime }) })
    }

    async fn session(&self) -> Result<Arc<Session>> {
        self.inner.link.session(Clock::system().now() + WAIT, true).await
    }
}

impl Broker for Nats {
    fn place(&self) -> String {
        format!("NATS at {}", self.inner.target.place)
    }

    fn declare<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let names = Names::of(queue)?;
            self.inner.streams.ensure(&*self.session().await?, &names).await
        })
    }

    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(async move {
            let names = match Names::of(queue) {
                Ok(names) => names,
                Err(error) => {
                    return messages.iter().map(|_| Err(publish::copy(&error))).collect();
                }
            };
            let item = |index: usize| {
                let message = &messages[index];
                Item { headers: headers::written(message, None), body: &message.body }
            };
            let to = Address { names: &names, dead: false };
            self.inner.publish(to, messages.len(), item).await
        })
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            let begun = consume::QueueConsumer::begin(&self.inner, queue, prefetch).await?;
            Ok(Box::new(begun) as Box<dyn Consumer>)
        })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let names = Names::of(queue)?;
            self.inner.streams.depth(&*self.session().await?, &names).await
        })
    }

    fn requeue_dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<u32>> {
        Box::pin(self.inner.requeue_dead(queue, max))
    }

    fn dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<Vec<Message>>> {
        Box::pin(self.inner.dead(queue, max))
    }

    fn remove<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let names = Names::of(queue)?;
            self.inner.streams.remove(&*self.session().await?, &names).await
        })
    }
}
