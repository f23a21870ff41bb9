//! Entries in this process, on moka: the least useful go when the bytes are used up. They are kept as
//! values, so that a hit decodes nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::Result;
use mainstay_core::clock::{Clock, Tick};
use moka::Expiry;

use super::marks::Marks;
use super::{Ask, Begun, Bounds, Entry, Found, New, Region, Seen, Store, Tags, What, Work};

/// In this process alone: an invalidation reaches no other. Cheap to clone; caches of one name on clones
/// share their entries, and the first of them says the capacity.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<HashMap<String, Arc<Near>>>>);

impl Memory {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Store for Memory {
    fn region(&self, ask: &Ask<'_>) -> Result<Arc<dyn Region>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let near = all.entry(ask.name.to_owned()).or_insert_with(|| Arc::new(Near::new(ask)));
        Ok(Arc::clone(near) as Arc<dyn Region>)
    }
}

struct Slot {
    entry: Arc<Entry>,
    tags: Tags,
    born: u64,
    stale_at: Tick,
    over_at: Tick,
    life: Duration,
}

/// Lets moka drop what is over; whether it is over says our clock.
struct Life;

impl Expiry<Arc<str>, Arc<Slot>> for Life {
    fn expire_after_create(&self, _: &Arc<str>, slot: &Arc<Slot>, _: Instant) -> Option<Duration> {
        Some(slot.life)
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        slot: &Arc<Slot>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(slot.life)
    }
}

/// The entries of one cache in this process.
pub(crate) struct Near {
    slots: moka::sync::Cache<Arc<str>, Arc<Slot>>,
    pub(crate) marks: Marks,
    clock: Clock,
}

impl Near {
    pub(crate) fn new(ask: &Ask<'_>) -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(ask.capacity_bytes)
            .weigher(|key: &Arc<str>, slot: &Arc<Slot>| {
                u32::try_from(key.len() + slot.entry.weight()).unwrap_or(u32::MAX)
            })
            .expire_after(Life)
            .build();
        Self { slots, marks: Marks::new(), clock: ask.clock.clone() }
    }

    fn slot(&self, tags: &Tags, born: u64, new: New) -> Arc<Slot> {
        let now = self.clock.coarse();
        Arc::new(Slot {
            entry: new.entry.slim(),
            tags: tags.clone(),
            born,
            stale_at: now + new.fresh,
            over_at: now + new.fresh + new.stale,
            life: new.fresh + new.stale,
        })
    }

    /// Takes an entry, unless its key or a tag became invalid after `born`.
    pub(crate) fn fill(&self, key: &str, tags: &Tags, born: u64, new: New) -> bool {
        let slot = self.slot(tags, born, new);
        self.marks.unless_marked(key, tags, born, || self.slots.insert(key.into(), slot))
    }

    pub(crate) fn replace(&self, key: &str, new: New) {
        self.marks.key(key, |at| {
            let slot = self.slot(&Tags::default(), at, new);
            self.slots.insert(key.into(), slot);
        });
    }

    pub(crate) fn remove(&self, what: What<'_>) {
        match what {
            What::Key(key) => self.marks.key(key, |_| self.slots.invalidate(key)),
            What::Tag(tag) => self.marks.tag(tag),
        }
    }

    /// Forgets everything.
    #[cfg(feature = "redis")]
    pub(crate) fn clear(&self) {
        self.marks.all();
        self.slots.invalidate_all();
    }
}

impl Region for Near {
    fn quick(&self, key: &str) -> Option<Found> {
        let slot = self.slots.get(key)?;
        let now = self.clock.coarse();
        if now >= slot.over_at || self.marks.is_void(&slot.tags, slot.born) {
            return None;
        }
        Some(Found {
            entry: Arc::clone(&slot.entry),
            stale: now >= slot.stale_at,
            fresh: slot.stale_at.since(now),
            tags: slot.tags.clone(),
        })
    }

    fn read<'a>(&'a self, key: &'a str, _: &'a Tags) -> Work<'a, Option<Found>> {
        Box::pin(async move { Ok(self.quick(key)) })
    }

    fn begin<'a>(&'a self, key: &'a str, _: &'a Tags, _: Bounds) -> Work<'a, Begun> {
        Box::pin(async move {
            let seen = Seen { near: self.marks.now(), ..Seen::default() };
            Ok(Begun { found: self.quick(key), seen, mine: true })
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        seen: &'a Seen,
        new: New,
    ) -> Work<'a, bool> {
        Box::pin(async move { Ok(self.fill(key, tags, seen.near, new)) })
    }

    fn abandon<'a>(&'a self, _: &'a str, _: &'a Seen) -> Work<'a, ()> {
        Box::pin(async move { Ok(()) })
    }

    fn put<'a>(&'a self, key: &'a str, new: New) -> Work<'a, ()> {
        Box::pin(async move {
            self.replace(key, new);
            Ok(())
        })
    }

    fn invalidate<'a>(&'a self, what: What<'a>) -> Work<'a, ()> {
        Box::pin(async move {
            self.remove(what);
            Ok(())
        })
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn size(&self) -> Option<(u64, u64)> {
        Some((self.slots.entry_count(), self.slots.weighted_size()))
    }
}
