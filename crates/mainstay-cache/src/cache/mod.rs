//! The cache itself: what is asked of it, and when it asks the loader. It knows no store.

mod builder;
mod flight;
mod invalidate;
mod load;
mod refresh;
mod stats;

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use mainstay_core::clock::Clock;
use mainstay_core::inspect::{Inspect, Snapshot};
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use builder::Builder;

use self::builder::Options;
use self::flight::Flights;
use self::refresh::Refreshing;
use self::stats::Stats;
use crate::store::{Entry, Found, New, Region, Store, TAGS_MAX, Tags, normal};

/// What can be cached: anything that serde writes and reads.
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

/// A loader, once it is needed.
type Load<V> = Box<dyn FnOnce() -> BoxFuture<'static, Result<Option<V>>> + Send>;

/// Keeps values by key, and loads those that it does not have. Cheap to clone; clones are one cache.
///
/// - **One load**: of all callers in the process that miss a key at the same time, one loads; on Redis, of
///   all processes. An error or a panic is given to all who wait for that load. One that is dropped
///   half-way is followed by another of those who wait, with its own loader.
/// - **Never an old value over an invalidation**: a load that began before its key or a tag of it became
///   invalid does not leave what it brings. A caller that comes after an invalidation in this process
///   does not wait for a load that began before it.
/// - **Never an error for the store's sake** when reading: where the store does not answer, the loader is.
///
/// Keys and tags over 200 bytes are kept by their SHA-256; a value has 8 MiB of JSON at most.
///
/// All of it is cancel safe: a dropped call leaves at most a lock on Redis, which is given back or is over
/// within 3 s.
///
/// ```
/// # use mainstay_cache::{Cache, Memory};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let names: Cache<String> = Cache::builder("names", Memory::new()).build()?;
/// let ada = names.get_or_load_tagged("1", &["team:7"], || async { Ok(Some("Ada".into())) }).await?;
/// assert_eq!(*ada.unwrap(), "Ada");
/// names.invalidate_tag("team:7").await?;
/// assert!(names.get("1").await.is_none());
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
pub struct Cache<V>(Arc<Inner<V>>);

pub(crate) struct Inner<V> {
    name: Arc<str>,
    options: Options,
    region: Arc<dyn Region>,
    flights: Flights<V>,
    refreshing: Refreshing,
    stats: Stats,
    clock: Clock,
    rng: Rng,
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// A value, or that there is none, with whether it should be loaded anew.
struct Hit<V> {
    value: Option<Arc<V>>,
    stale: bool,
}

/// What a look at the store came to.
enum Look<V> {
    Hit(Hit<V>),
    Miss,
    /// The store does not answer.
    Away,
}

impl<V: Value> Cache<V> {
    /// Begins a cache that keeps its entries in `store`, under `name`: 1 to 64 of `A-Za-z0-9_.-`. Caches of
    /// one name on one store share their entries, and should hold the same type.
    pub fn builder(name: impl Into<String>, store: impl Store) -> Builder<V> {
        Builder::new(name.into(), Box::new(store))
    }

    /// The value of `key`: from the store, or else from `load`, whose `None` says that there is none.
    ///
    /// A stale value is returned at once, and `load` runs in the background.
    ///
    /// Errors: those of `load`; CACHE-003 (it took longer than `load_timeout`, or it panicked for another
    /// caller, whose load this one waited for).
    pub async fn get_or_load<F, Fut>(&self, key: &str, load: F) -> Result<Option<Arc<V>>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>>> + Send + 'static,
    {
        self.get_or_load_tagged(key, &[], load).await
    }

    /// As [`get_or_load`](Self::get_or_load); what is loaded becomes invalid with any of `tags`, of which
    /// there may be 16.
    ///
    /// Errors: also CACHE-004 (too many tags).
    pub async fn get_or_load_tagged<F, Fut>(
        &self,
        key: &str,
        tags: &[&str],
        load: F,
    ) -> Result<Option<Arc<V>>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>>> + Send + 'static,
    {
        if tags.len() > TAGS_MAX {
            let what = format!("an entry has {} tags, and may have {TAGS_MAX}", tags.len());
            return Err(Error::new(Code::CacheOption, what).fix("give it fewer tags"));
        }
        let inner = &self.0;
        let key = normal(key);
        let quick = inner.quick(&key);
        if let Some(Hit { value, stale: false }) = quick {
            return Ok(value);
        }
        let (key, tags) = (Arc::<str>::from(&*key), Tags::of(tags)?);
        let load: Load<V> = Box::new(move || Box::pin(async move { load().await }));
        let look = match quick {
            Some(hit) => Look::Hit(hit),
            None => inner.look(&key, &tags).await,
        };
        let away = match look {
            Look::Hit(hit) => {
                if hit.stale {
                    inner.refresh(key, tags, load);
                }
                return Ok(hit.value);
            }
            Look::Miss => false,
            Look::Away => true,
        };
        inner.fly(key, tags, load, away).await
    }

    /// The value of `key` if it is there, stale or not; `None` also where the store does not answer, and
    /// where it is known that there is no such value.
    pub async fn get(&self, key: &str) -> Option<Arc<V>> {
        let key = normal(key);
        match self.0.quick(&key) {
            Some(hit) => hit.value,
            None => match self.0.look(&key, &Tags::default()).await {
                Look::Hit(hit) => hit.value,
                Look::Miss | Look::Away => None,
            },
        }
    }

    /// Puts `value` under `key`, without tags, for the cache's TTL. A load that is under way does not
    /// replace it.
    ///
    /// Errors: CACHE-001, and it is not known then which value is there; CACHE-004 (it can't be written as
    /// JSON, or is too large).
    pub async fn put(&self, key: &str, value: V) -> Result<()> {
        let inner = &self.0;
        let key = normal(key);
        let entry = Arc::new(Entry::of(&Arc::new(value))?);
        inner.flights.forget(&key);
        let put = inner.region.put(&key, inner.new_entry(entry)).await;
        put.inspect_err(|error| inner.trace(error))
    }

    /// How it stands.
    pub fn snapshot(&self) -> Snapshot {
        let inner = &self.0;
        let place = inner.region.place();
        inner.stats.snapshot(&inner.name, &place, inner.region.size(), inner.flights.len())
    }
}

impl<V: Value> Inspect for Cache<V> {
    fn inspect(&self) -> Snapshot {
        self.snapshot()
    }
}

impl<V: Value> Inner<V> {
    fn quick(&self, key: &str) -> Option<Hit<V>> {
        let found = self.region.quick(key)?;
        let hit = self.hit(&found)?;
        self.stats.hit(hit.stale);
        Some(hit)
    }

    /// `None` where it can't be read.
    fn hit(&self, found: &Found) -> Option<Hit<V>> {
        match found.entry.value() {
            Ok(value) => Some(Hit { value, stale: found.stale }),
            Err(error) => {
                self.trace(&error);
                None
            }
        }
    }

    async fn look(&self, key: &str, tags: &Tags) -> Look<V> {
        let look = match self.region.read(key, tags).await {
            Ok(found) => {
                self.stats.answered();
                found.and_then(|found| self.hit(&found)).map_or(Look::Miss, Look::Hit)
            }
            Err(error) => {
                self.trace(&error);
                if error.code() == Code::CacheEntry { Look::Miss } else { Look::Away }
            }
        };
        match &look {
            Look::Hit(hit) => self.stats.hit(hit.stale),
            Look::Miss | Look::Away => self.stats.miss(),
        }
        look
    }

    /// With a TTL of its own, somewhat shorter than the cache's.
    fn new_entry(&self, entry: Arc<Entry>) -> New {
        let options = &self.options;
        let fresh = self.rng.jittered(options.ttl, options.jitter);
        New { entry, fresh, stale: options.stale }
    }

    /// Tells of what went wrong with the store, which the caller is spared.
    fn trace(&self, error: &Error) {
        self.stats.store_error(error.code() == Code::CacheEntry);
        let why = error.reason().unwrap_or_default();
        tracing::warn!(code = %error.code(), cache = &*self.name, why, "{}", error.what());
    }
}
