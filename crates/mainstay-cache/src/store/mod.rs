//! Where entries are kept. A [`Store`] gives each cache a region of its own; the four differ in who
//! shares what is in it and in what a crash takes.
//!
//! All follow one rule: a load notes the generation of its key and tags when it begins, and what it
//! brings is taken only if they are the same still. What a load brings is never put over an invalidation.

mod entry;
mod keyed;
mod marks;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod sql;
mod tags;
#[cfg(feature = "redis")]
mod tiered;

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;

#[cfg(feature = "redis")]
pub use self::redis::Redis;
pub use entry::Entry;
pub use memory::Memory;
pub use sql::Sql;
pub use tags::Tags;
pub(crate) use tags::{TAGS_MAX, normal};
#[cfg(feature = "redis")]
pub use tiered::Tiered;

/// Who locks a key for a load, loads it within this, or another does too.
pub(crate) const LOCK: Duration = Duration::from_secs(3);

/// Keeps entries: [`Memory`], [`Sql`], `Redis` or `Tiered`.
pub trait Store: Send + Sync + 'static {
    /// The part of one cache.
    #[doc(hidden)]
    fn region(&self, ask: &Ask<'_>) -> Result<Arc<dyn Region>>;
}

/// What a region is asked for with.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ask<'a> {
    /// The cache.
    pub name: &'a str,
    /// What is kept in this process.
    pub capacity_bytes: u64,
    /// The time.
    pub clock: &'a Clock,
    /// Randomness.
    pub rng: &'a Rng,
}

/// What a store promises in the end.
pub type Work<'a, T> = BoxFuture<'a, Result<T>>;

/// The entries of one cache. Every method is bounded in time, and may be dropped at any point: what it
/// would have done is then done or not.
#[doc(hidden)]
pub trait Region: Send + Sync + 'static {
    /// What is in this process and good, without waiting.
    fn quick(&self, _key: &str) -> Option<Found> {
        None
    }

    /// The entry, unless it is over or invalid. Errors: CACHE-001, CACHE-002.
    fn read<'a>(&'a self, key: &'a str, tags: &'a Tags) -> Work<'a, Option<Found>>;

    /// Begins a load: notes the generations, and tries to be the only one at it.
    fn begin<'a>(&'a self, key: &'a str, tags: &'a Tags, bounds: Bounds) -> Work<'a, Begun>;

    /// What a load begins with while the store is away; `None` where nothing is kept then.
    fn alone(&self) -> Option<Seen> {
        None
    }

    /// Ends a load: takes the entry if nothing was invalidated since; tells whether it did.
    fn write<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        seen: &'a Seen,
        new: New,
    ) -> Work<'a, bool>;

    /// Ends a load that brought nothing to keep.
    fn abandon<'a>(&'a self, key: &'a str, seen: &'a Seen) -> Work<'a, ()>;

    /// Takes the entry, and nothing that a load which is under way brings.
    fn put<'a>(&'a self, key: &'a str, new: New) -> Work<'a, ()>;

    /// Makes entries and loads under way invalid.
    fn invalidate<'a>(&'a self, what: What<'a>) -> Work<'a, ()>;

    /// For people.
    fn place(&self) -> String;

    /// Entries and bytes in this process.
    fn size(&self) -> Option<(u64, u64)> {
        None
    }
}

/// What becomes invalid.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// One key.
    Key(&'a str),
    /// All that have the tag.
    Tag(&'a str),
}

/// How long things may take or last.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A load.
    pub load: Duration,
    /// The longest life of an entry.
    pub life: Duration,
}

/// An entry that was found.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Found {
    /// Itself.
    pub entry: Arc<Entry>,
    /// Good to serve while it is loaded anew.
    pub stale: bool,
    /// Until it is stale.
    pub fresh: Duration,
    /// Its tags.
    pub tags: Tags,
}

/// An entry to be kept.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct New {
    /// Itself.
    pub entry: Arc<Entry>,
    /// Until it is stale.
    pub fresh: Duration,
    /// And from then until it is over.
    pub stale: Duration,
}

/// The generations when a load began.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of this process.
    pub(crate) near: u64,
    /// Of the store: the key's, and the tags' in their order.
    pub(crate) far: Vec<u64>,
    /// What its lock holds; 0 where it has none.
    pub(crate) token: u64,
}

impl Seen {
    /// Whether it has a lock to give back.
    pub(crate) fn holds(&self) -> bool {
        self.token != 0
    }
}

/// A load that began.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Begun {
    /// What was there meanwhile.
    pub found: Option<Found>,
    /// To be given back at its end.
    pub seen: Seen,
    /// Whether nobody else is at it.
    pub mine: bool,
}
