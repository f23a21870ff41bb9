//! A region of a store outside this process, which holds bytes under ids: entries, and generations.
//!
//! A generation is a random number under an id of its own, made by the first load that asks for it.
//! Invalidating removes it. A load notes the generations when it begins; its entry is taken only while
//! its key has the one it saw, and is good only while each of its tags has. One that is missing, for
//! whatever reason, makes invalid, so a store may forget any part of it at any time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::rng::Rng;
use mainstay_core::{Code, Result};

use super::entry::{decode, encode};
use super::{Ask, Begun, Bounds, Found, LOCK, New, Region, Seen, Tags, What, Work};

/// How much longer than what refers to it a generation is kept.
const MARGIN: Duration = Duration::from_secs(60);

/// Under which ids a key is kept.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub(crate) entry: String,
    pub(crate) generation: String,
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "a database has no locks"))]
    pub(crate) lock: String,
    pub(crate) tags: Vec<String>,
}

/// What a load begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What a missing generation becomes.
    pub(crate) fresh: u64,
    /// What its lock holds.
    pub(crate) token: u64,
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "a database has no locks"))]
    pub(crate) lock: Duration,
    pub(crate) key_life: Duration,
    pub(crate) tag_life: Duration,
}

/// What a store holds under the ids asked for, and how long it keeps the first.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) values: Vec<Option<Vec<u8>>>,
    pub(crate) left: Duration,
}

/// What a store says to a load that begins.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) entry: Option<Vec<u8>>,
    pub(crate) left: Duration,
    /// The key's, then the tags'.
    pub(crate) generations: Vec<u64>,
    /// Whether it got the lock.
    pub(crate) mine: bool,
}

/// Holds bytes under ids, each for a time. Every method is bounded. Errors of all: CACHE-001.
pub(crate) trait Raw: Send + Sync + 'static {
    /// In the order of `ids`.
    fn read(&self, ids: &[String]) -> impl Future<Output = Result<Held>> + Send;

    /// Makes the generations that are missing.
    fn begin(&self, ids: &Ids, terms: &Terms) -> impl Future<Output = Result<Opened>> + Send;

    /// In one step: takes the entry if the key's generation is `seen.far[0]`, and gives the lock back.
    fn write(
        &self,
        ids: &Ids,
        seen: &Seen,
        bytes: Vec<u8>,
        life: Duration,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Takes the entry, removes the key's generation, and takes its lock away.
    fn put(
        &self,
        ids: &Ids,
        bytes: Vec<u8>,
        life: Duration,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Gives the lock back, if it holds `token`.
    fn unlock(&self, lock: &str, token: u64) -> impl Future<Output = Result<()>> + Send;

    /// Removes the key's generation first, then the entry, and takes its lock away: nobody waits for a
    /// load that is not kept.
    fn remove(&self, ids: &Ids) -> impl Future<Output = Result<()>> + Send;

    /// Removes a tag's generation.
    fn remove_tag(&self, tag: &str) -> impl Future<Output = Result<()>> + Send;

    /// For people.
    fn place(&self) -> String;
}

/// The entries of one cache in such a store.
pub(crate) struct Keyed<R> {
    raw: R,
    prefix: String,
    name: String,
    rng: Rng,
}

impl<R: Raw> Keyed<R> {
    pub(crate) fn new(raw: R, prefix: &str, ask: &Ask<'_>) -> Self {
        let (prefix, name) = (prefix.to_owned(), ask.name.to_owned());
        Self { raw, prefix, name, rng: ask.rng.clone() }
    }

    fn id(&self, kind: char, name: &str) -> String {
        format!("{}{kind}:{}:{name}", self.prefix, self.name)
    }

    fn ids(&self, key: &str, tags: &Tags) -> Ids {
        Ids {
            entry: self.id('e', key),
            generation: self.id('g', key),
            lock: self.id('l', key),
            tags: tags.as_slice().iter().map(|tag| self.id('t', tag)).collect(),
        }
    }

    /// Zero means none.
    fn number(&self) -> u64 {
        self.rng.u64(1..1 << 62)
    }

    /// Whether the entry is good, by the generations of `known` and those that have to be asked for.
    async fn found(
        &self,
        bytes: &[u8],
        left: Duration,
        mut known: HashMap<Arc<str>, Option<u64>>,
    ) -> Result<Option<Found>> {
        let stored = decode(bytes)?;
        let missing: Vec<_> =
            stored.tags.iter().map(|(tag, _)| tag).filter(|t| !known.contains_key(*t)).collect();
        if !missing.is_empty() {
            let ids: Vec<String> = missing.iter().map(|tag| self.id('t', tag)).collect();
            let held = self.raw.read(&ids).await?;
            for (tag, value) in missing.into_iter().zip(held.values) {
                known.insert(Arc::clone(tag), number(value.as_deref()));
            }
        }
        let good = |(tag, seen): &(Arc<str>, u64)| known.get(tag).copied().flatten() == Some(*seen);
        if !stored.tags.iter().all(good) {
            return Ok(None);
        }
        Ok(Some(Found {
            stale: left <= stored.stale,
            fresh: left.saturating_sub(stored.stale),
            tags: Tags::sorted(stored.tags.into_iter().map(|(tag, _)| tag).collect()),
            entry: Arc::new(stored.entry),
        }))
    }
}

/// A generation as stores hold it.
pub(crate) fn number(bytes: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(bytes?).ok()?.parse().ok()
}

impl<R: Raw> Region for Keyed<R> {
    fn read<'a>(&'a self, key: &'a str, tags: &'a Tags) -> Work<'a, Option<Found>> {
        Box::pin(async move {
            let mut ids = vec![self.id('e', key)];
            ids.extend(tags.as_slice().iter().map(|tag| self.id('t', tag)));
            let mut held = self.raw.read(&ids).await?;
            let Some(bytes) = held.values.first_mut().and_then(Option::take) else {
                return Ok(None);
            };
            let generations = held.values.iter().skip(1).map(|value| number(value.as_deref()));
            let known = tags.as_slice().iter().cloned().zip(generations).collect();
            self.found(&bytes, held.left, known).await
        })
    }

    fn begin<'a>(&'a self, key: &'a str, tags: &'a Tags, bounds: Bounds) -> Work<'a, Begun> {
        Box::pin(async move {
            let terms = Terms {
                fresh: self.number(),
                token: self.number(),
                lock: LOCK.min(bounds.load + Duration::from_secs(1)),
                key_life: bounds.load + LOCK + MARGIN,
                tag_life: bounds.load + bounds.life + MARGIN,
            };
            let opened = self.raw.begin(&self.ids(key, tags), &terms).await?;
            let found = match opened.entry {
                None => None,
                Some(bytes) => {
                    let generations = opened.generations.iter().skip(1).map(|g| Some(*g));
                    let known = tags.as_slice().iter().cloned().zip(generations).collect();
                    match self.found(&bytes, opened.left, known).await {
                        // Who read it before has told of it.
                        Err(error) if error.code() == Code::CacheEntry => None,
                        found => found?,
                    }
                }
            };
            let token = if opened.mine { terms.token } else { 0 };
            let seen = Seen { near: 0, far: opened.generations, token };
            Ok(Begun { found, seen, mine: opened.mine })
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
            let names = tags.as_slice().iter().map(|tag| &**tag);
            let tagged: Vec<_> = names.zip(seen.far.iter().skip(1).copied()).collect();
            let bytes = encode(&new.entry, new.stale, &tagged);
            self.raw.write(&self.ids(key, tags), seen, bytes, new.fresh + new.stale).await
        })
    }

    fn abandon<'a>(&'a self, key: &'a str, seen: &'a Seen) -> Work<'a, ()> {
        Box::pin(async move {
            if seen.token == 0 {
                return Ok(());
            }
            self.raw.unlock(&self.id('l', key), seen.token).await
        })
    }

    fn put<'a>(&'a self, key: &'a str, new: New) -> Work<'a, ()> {
        Box::pin(async move {
            let bytes = encode(&new.entry, new.stale, &[]);
            let ids = self.ids(key, &Tags::default());
            self.raw.put(&ids, bytes, new.fresh + new.stale).await
        })
    }

    fn invalidate<'a>(&'a self, what: What<'a>) -> Work<'a, ()> {
        Box::pin(async move {
            match what {
                What::Key(key) => self.raw.remove(&self.ids(key, &Tags::default())).await,
                What::Tag(tag) => self.raw.remove_tag(&self.id('t', tag)).await,
            }
        })
    }

    fn place(&self) -> String {
        self.raw.place()
    }
}
