//! Redis streams: a stream and a consumer group a queue, with delays and dead letters beside it, over
//! connections that are made anew when they are lost.
//!
//! It needs Redis 6.2 or later, or what is compatible with it. One node: the keys suit a cluster, but
//! the client does not follow its redirections.

mod consume;
mod dead;
mod entry;
mod fault;
mod keys;
mod link;
mod publish;
mod receipt;
mod scripts;
mod shelf;
mod url;

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::Result;
use mainstay_core::clock::Clock;
use tokio::runtime::Handle;

use self::keys::Keys;
use self::link::Link;
use super::{Broker, Consumer, Message};

/// How long the first connection may take.
const FIRST: Duration = Duration::from_secs(5);
/// How long a question to the server may take, a reconnection included.
const WAIT: Duration = Duration::from_secs(15);

/// A message that nothing was heard of for this long is taken over.
const IDLE_MS: u64 = 4000;

/// Redis as a [`Broker`]. Cheap to clone; the connection is closed when the last clone, the last of its
/// consumers and the last receipt are dropped. Each consumer has a connection of its own besides.
///
/// A queue `orders` is a stream `{mainstay:orders}` with a consumer group `mainstay`, a sorted set
/// `{mainstay:orders}:delayed` and a stream `{mainstay:orders}:dead`. An entry has the fields `id`,
/// `name`, `headers` (JSON) and `body`; others are read as headers. A queue's name is 1 to 100 of the
/// characters `A-Za-z0-9_.:-`.
///
/// # What is guaranteed
///
/// - **Published**: the server has it, and it is as durable as the server is. With `appendonly yes` and
///   `appendfsync always` it is on the disk. With `everysec`, the default then, it survives a server
///   that is killed, and a power failure takes up to a second (more on a slow disk). Without a file
///   (`appendonly no`, the default), a server that is killed forgets what came since its last snapshot.
///   Replicas get it later; one that takes over may lack the last of it. Set `maxmemory-policy` to
///   `noeviction`, or a full server drops queues.
/// - **Once more**: a message published again with its id is stored again. To remember all ids for a
///   while would take more memory than the queue.
/// - **Delivered** at least once, in the order published, redeliveries apart. What a consumer holds
///   comes to another one 4 to 4.5 s after the last word from it: after
///   [`keep`](super::Receipt::keep), or after its delivery. A message that waits in a consumer is kept
///   by it.
/// - **Settled** by who holds it: a receipt whose message was taken over by another does nothing.
/// - **Delayed**: consumers move what is due back, every 200 ms; a queue without one delivers nothing
///   anyway. The count of deliveries is kept through it.
///
/// ```no_run
/// use mainstay_jobs::broker::{Broker, Message, redis::Redis};
///
/// # async fn example() -> mainstay_core::Result<()> {
/// let broker = Redis::connect("redis://:secret@localhost:6379/0").await?;
/// broker.declare("mails").await?;
/// let mail = Message { id: "1".into(), name: "mail".into(), body: b"{}".to_vec(), ..Message::default() };
/// for published in broker.publish("mails", &[mail]).await {
///     published?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

/// What a [`Redis`], its consumers and their receipts share.
struct Inner {
    link: Link,
    /// Where receipts that are dropped outside of it find someone to speak for them.
    runtime: Handle,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Redis").field(&self.inner.link.place).finish()
    }
}

impl Redis {
    /// Connects. From then on a connection that is lost is made anew when it is needed.
    ///
    /// The URL is `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS, and after a
    /// `?` may follow `cacertfile=PATH`: certificates to trust instead of the machine's own.
    ///
    /// With TLS, ring becomes the process's provider for rustls unless there is one.
    ///
    /// Errors: MSG-001 where the URL is malformed or names a file that can't be used; MSG-002 where the
    /// server could not be reached within 5 s, or at once where it refuses the user.
    pub async fn connect(url: &str) -> Result<Self> {
        let link = Link::new(&url::parse(url)?)?;
        link.wire(Clock::system().now() + FIRST, false).await?;
        Ok(Self { inner: Arc::new(Inner { link, runtime: Handle::current() }) })
    }
}

impl Broker for Redis {
    fn place(&self) -> String {
        format!("Redis at {}", self.inner.link.place)
    }

    fn declare<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.inner.declare(&Keys::of(queue)?).await })
    }

    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(async move {
            match Keys::of(queue) {
                Ok(keys) => self.inner.publish(&keys, messages).await,
                Err(_) => messages.iter().map(|_| Err(publish::nameless(queue))).collect(),
            }
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
        Box::pin(self.inner.depth(queue))
    }

    fn requeue_dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<u32>> {
        Box::pin(self.inner.requeue_dead(queue, max))
    }

    fn dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<Vec<Message>>> {
        Box::pin(self.inner.dead(queue, max))
    }

    fn remove<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.inner.remove(queue))
    }
}
