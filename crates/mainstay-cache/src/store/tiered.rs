//! Memory in front of Redis: a hit in this process asks nobody, and what another process makes invalid
//! is heard on a channel. What could not be heard is bounded by the near tier's own short TTL.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::keyed::Keyed;
use super::memory::Near;
use super::redis::{Redis, Wire};
use super::{Ask, Begun, Bounds, Found, New, Region, Seen, Store, Tags, What, Work};

const NEAR_TTL: Duration = Duration::from_secs(10);

/// This process' memory before a [`Redis`]. Cheap to clone; each cache built on it has a near tier and a
/// connection for its channel of its own.
///
/// An invalidation reaches the other processes in about a round trip. While the channel is down, and for
/// what was said meanwhile, a near entry lives for [`near_ttl`](Self::near_ttl) at most; when the channel
/// is back, the near tier is emptied.
#[derive(Clone, Debug)]
pub struct Tiered {
    redis: Redis,
    near_ttl: Duration,
}

impl Tiered {
    /// Before `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis, near_ttl: NEAR_TTL }
    }

    /// The longest life of an entry in this process. Default: 10 s; from 10 ms to a day.
    #[must_use]
    pub fn near_ttl(mut self, ttl: Duration) -> Self {
        self.near_ttl = ttl.clamp(Duration::from_millis(10), Duration::from_secs(86_400));
        self
    }
}

impl Store for Tiered {
    fn region(&self, ask: &Ask<'_>) -> Result<Arc<dyn Region>> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::new(Code::CacheOption, "a tiered cache is built outside of a tokio runtime")
                .fix("build it in an async function")
        })?;
        let near = Arc::new(Near::new(ask));
        let listener = self.redis.listener(ask.name, Arc::clone(&near));
        let listening = runtime.spawn(listener.run());
        let far = self.redis.keyed(ask);
        Ok(Arc::new(Both { near, far, near_ttl: self.near_ttl, listening }))
    }
}

struct Both {
    near: Arc<Near>,
    far: Keyed<Wire>,
    near_ttl: Duration,
    listening: JoinHandle<()>,
}

impl Drop for Both {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Both {
    /// For as long as it is fresh: what is stale is asked for again, since another may have loaded it.
    fn keep(&self, key: &str, tags: &Tags, born: u64, entry: &Arc<super::Entry>, fresh: Duration) {
        let fresh = fresh.min(self.near_ttl);
        if !fresh.is_zero() {
            let new = New { entry: Arc::clone(entry), fresh, stale: Duration::ZERO };
            self.near.fill(key, tags, born, new);
        }
    }

    fn keep_found(&self, key: &str, born: u64, found: Option<&Found>) {
        if let Some(found) = found.filter(|found| !found.stale) {
            self.keep(key, &found.tags, born, &found.entry, found.fresh);
        }
    }
}

impl Region for Both {
    fn quick(&self, key: &str) -> Option<Found> {
        self.near.quick(key)
    }

    /// While Redis is away, the near tier keeps what is loaded: the database is spared.
    fn alone(&self) -> Option<Seen> {
        Some(Seen { near: self.near.marks.now(), ..Seen::default() })
    }

    fn read<'a>(&'a self, key: &'a str, tags: &'a Tags) -> Work<'a, Option<Found>> {
        Box::pin(async move {
            let born = self.near.marks.now();
            let found = self.far.read(key, tags).await?;
            self.keep_found(key, born, found.as_ref());
            Ok(found)
        })
    }

    fn begin<'a>(&'a self, key: &'a str, tags: &'a Tags, bounds: Bounds) -> Work<'a, Begun> {
        Box::pin(async move {
            let born = self.near.marks.now();
            let mut begun = self.far.begin(key, tags, bounds).await?;
            begun.seen.near = born;
            self.keep_found(key, born, begun.found.as_ref());
            Ok(begun)
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        seen: &'a Seen,
        new: New,
    ) -> Work<'a, bool> {
        Box::pin(async move {
            let (entry, fresh) = (Arc::clone(&new.entry), new.fresh);
            if seen.far.is_empty() {
                self.keep(key, tags, seen.near, &entry, fresh);
                return Ok(true);
            }
            let taken = self.far.write(key, tags, seen, new).await?;
            if taken {
                self.keep(key, tags, seen.near, &entry, fresh);
            }
            Ok(taken)
        })
    }

    fn abandon<'a>(&'a self, key: &'a str, seen: &'a Seen) -> Work<'a, ()> {
        self.far.abandon(key, seen)
    }

    fn put<'a>(&'a self, key: &'a str, new: New) -> Work<'a, ()> {
        Box::pin(async move {
            self.near.remove(What::Key(key));
            let told = self.far.put(key, new).await;
            // Read from afar meanwhile, it may have been the old one.
            self.near.remove(What::Key(key));
            told
        })
    }

    fn invalidate<'a>(&'a self, what: What<'a>) -> Work<'a, ()> {
        Box::pin(async move {
            self.near.remove(what);
            let told = self.far.invalidate(what).await;
            // As above.
            self.near.remove(what);
            told
        })
    }

    fn place(&self) -> String {
        format!("memory before {}", self.far.place())
    }

    fn size(&self) -> Option<(u64, u64)> {
        self.near.size()
    }
}
