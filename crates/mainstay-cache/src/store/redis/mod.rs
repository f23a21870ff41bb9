//! Entries on Redis, shared by all who use the server. Redis' clock says what is over.
//!
//! Where it does not answer within its bound, a read finds nothing and the loader is asked: a cache that
//! is down makes a service slower, not wrong. It needs Redis 6.2 or later; one node, no cluster.

mod listen;
mod scripts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use redis::Pipeline;

pub(super) use self::listen::Listener;
use super::keyed::{Held, Ids, Keyed, Opened, Raw, Terms};
use super::memory::Near;
use super::{Ask, Region, Seen, Store};
use crate::redis::Link;

const ANSWER_WITHIN: Duration = Duration::from_millis(50);
const PREFIX_MAX: usize = 64;

/// On a Redis server. Cheap to clone; clones share one connection, which is made when it is first needed
/// and made anew when it is lost.
///
/// A hit is one round trip; one of an entry with tags that the call did not name, two. What could not be
/// invalidated, because the server was away, stays until its TTL is over: the call says so (CACHE-001).
/// The same holds where a server comes back with less than it had.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    prefix: String,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("place", &self.link.place).finish_non_exhaustive()
    }
}

impl Redis {
    /// At `redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`. It asks no server yet.
    ///
    /// Errors: CACHE-004.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { link: Link::open(url, ANSWER_WITHIN)?, prefix: "mainstay:cache:".to_owned() })
    }

    /// Begins its keys, so that programs that share a server stay apart. Default: `mainstay:cache:`.
    ///
    /// Errors: CACHE-004 where it has over 64 bytes.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self> {
        self.prefix = prefix.into();
        if self.prefix.len() > PREFIX_MAX {
            let what = format!("a prefix has {PREFIX_MAX} bytes at most");
            return Err(Error::new(Code::CacheOption, what));
        }
        Ok(self)
    }

    /// How long one question may take before the loader is asked. Default: 50 ms; from 1 ms to 10 s.
    /// The clone has a connection of its own.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        let limit = limit.clamp(Duration::from_millis(1), Duration::from_secs(10));
        self.link = Arc::new(self.link.with_limit(limit));
        self
    }

    /// The entries of one cache, which tell others of what becomes invalid.
    pub(super) fn keyed(&self, ask: &Ask<'_>) -> Keyed<Wire> {
        let wire = Wire { link: Arc::clone(&self.link), channel: self.channel(ask.name) };
        Keyed::new(wire, &self.prefix, ask)
    }

    fn channel(&self, name: &str) -> String {
        format!("{}x:{name}", self.prefix)
    }

    /// What tells `near` of what became invalid elsewhere.
    pub(super) fn listener(&self, name: &str, near: Arc<Near>) -> Listener {
        Listener {
            link: Arc::clone(&self.link),
            channel: self.channel(name),
            prefix: self.prefix.clone(),
            name: name.to_owned(),
            near,
        }
    }
}

impl Store for Redis {
    fn region(&self, ask: &Ask<'_>) -> Result<Arc<dyn Region>> {
        Ok(Arc::new(self.keyed(ask)))
    }
}

/// The store as [`Keyed`] speaks to it. The channel is told the ids of generations that were removed: an
/// id names a key or a tag.
pub(super) struct Wire {
    link: Arc<Link>,
    channel: String,
}

fn ms(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Wire {
    /// What must reach the server is said twice at most.
    async fn tell(&self, what: &Pipeline) -> Result<()> {
        let once = || self.link.ask(|mut wire| async move { what.exec_async(&mut wire).await });
        match once().await {
            Ok(()) => Ok(()),
            Err(_) => once().await,
        }
    }
}

impl Raw for Wire {
    async fn read(&self, ids: &[String]) -> Result<Held> {
        let mut both = redis::pipe();
        both.cmd("MGET").arg(ids).cmd("PTTL").arg(&ids[0]);
        let (values, left): (Vec<Option<Vec<u8>>>, i64) =
            self.link.ask(|mut wire| async move { both.query_async(&mut wire).await }).await?;
        Ok(Held { values, left: left_of(left) })
    }

    async fn begin(&self, ids: &Ids, terms: &Terms) -> Result<Opened> {
        let script = scripts::begin(ids, terms);
        let (entry, left, mine, generations): (Option<Vec<u8>>, i64, i64, Vec<u64>) =
            self.link.ask(|mut wire| async move { script.invoke_async(&mut wire).await }).await?;
        Ok(Opened { entry, left: left_of(left), generations, mine: mine == 1 })
    }

    async fn write(&self, ids: &Ids, seen: &Seen, bytes: Vec<u8>, life: Duration) -> Result<bool> {
        let script = scripts::write(ids, seen, &bytes, ms(life));
        let taken: i64 =
            self.link.ask(|mut wire| async move { script.invoke_async(&mut wire).await }).await?;
        Ok(taken == 1)
    }

    async fn put(&self, ids: &Ids, bytes: Vec<u8>, life: Duration) -> Result<()> {
        let mut all = redis::pipe();
        all.atomic();
        all.cmd("UNLINK").arg(&ids.generation).arg(&ids.lock).ignore();
        all.cmd("SET").arg(&ids.entry).arg(&bytes[..]).arg("PX").arg(ms(life)).ignore();
        all.cmd("PUBLISH").arg(&self.channel).arg(&ids.generation).ignore();
        self.tell(&all).await
    }

    async fn unlock(&self, lock: &str, token: u64) -> Result<()> {
        let script = scripts::unlock(lock, token);
        self.link.ask(|mut wire| async move { script.invoke_async(&mut wire).await }).await
    }

    async fn remove(&self, ids: &Ids) -> Result<()> {
        // Neither needs memory, so a server without any takes both; to queue them, as a transaction does,
        // would. Who is told finds it gone.
        let mut all = redis::pipe();
        all.cmd("UNLINK").arg(&ids.generation).arg(&ids.entry).arg(&ids.lock).ignore();
        all.cmd("PUBLISH").arg(&self.channel).arg(&ids.generation).ignore();
        self.tell(&all).await
    }

    async fn remove_tag(&self, tag: &str) -> Result<()> {
        let mut all = redis::pipe();
        all.cmd("UNLINK").arg(tag).ignore();
        all.cmd("PUBLISH").arg(&self.channel).arg(tag).ignore();
        self.tell(&all).await
    }

    fn place(&self) -> String {
        self.link.place.clone()
    }
}

/// Negative where there is no such key.
fn left_of(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}
