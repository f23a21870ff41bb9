//! Making maps.

use std::collections::BTreeMap;
use std::ops::Range;

use mainstay_core::{Code, Error, Result};

use super::{Bound, Map, Parts, Placement, Region, SLOTS, Segment, Shard, Slot, Span};
use crate::shard::key::{LOGICAL, ToKey};

impl Parts {
    fn new(placement: Placement) -> Self {
        Self {
            epoch: 1,
            logical: Vec::new(),
            slots: Vec::new(),
            pins: BTreeMap::new(),
            placement,
            shards: BTreeMap::new(),
        }
    }

    /// The next slot that is free, as one of `shard`. Errors: ROUTE-021 where all are taken.
    pub(super) fn take_slot(&mut self, shard: &str) -> Result<u16> {
        let free = (0..SLOTS).find(|n| self.slots.iter().all(|slot| slot.slot != *n));
        let slot = free.ok_or_else(|| Error::new(Code::ShardMap, "all 4,096 slots are taken"))?;
        self.slots.push(Slot { slot, shard: shard.to_owned() });
        Ok(slot)
    }
}

/// `whole` in as many parts as equal as can be.
pub(super) fn split(whole: Range<u16>, parts: usize) -> impl Iterator<Item = Range<u16>> {
    let (from, len) = (usize::from(whole.start), whole.len());
    let edge = move |n: usize| (from + n * len / parts.max(1)) as u16;
    (0..parts).map(move |n| edge(n)..edge(n + 1))
}

impl Map {
    /// By hash, with an equal part for each of the shards. Errors: ROUTE-021 (none, or one twice).
    pub fn even<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let spans = split(0..LOGICAL, names.len());
        Self::hash(names.iter().cloned().zip(spans))
    }

    /// By hash, each shard with the logical shards given for it, once or several times. Errors: ROUTE-021.
    ///
    /// ```
    /// use mainstay_route::shard::Map;
    ///
    /// let map = Map::hash([("large", 0..3072), ("small", 3072..4096)])?;
    /// assert_eq!(map.logical_count("large"), 3072);
    /// assert!(Map::hash([("a", 0..100), ("b", 120..4096)]).is_err());
    /// # Ok::<(), mainstay_core::Error>(())
    /// ```
    pub fn hash<N: Into<String>>(spans: impl IntoIterator<Item = (N, Range<u16>)>) -> Result<Self> {
        let mut parts = Parts::new(Placement::Hash);
        for (name, range) in spans {
            let shard: String = name.into();
            parts.shards.entry(shard.clone()).or_default();
            parts.logical.push(Span { from: range.start, to: range.end, shard });
        }
        parts.try_into()
    }

    /// By value, as of a country: `shards` are names with their regions, `values` are values with theirs. The
    /// keys of a region are on its shards alone, by their hash. Each region has a part of the logical shards
    /// according to the number of its shards.
    ///
    /// ```
    /// use mainstay_route::shard::Map;
    ///
    /// let map = Map::list(
    ///     [("eu1", "eu"), ("eu2", "eu"), ("us1", "us")],
    ///     [("DE", "eu"), ("FR", "eu"), ("US", "us")],
    /// )?;
    /// assert_eq!(map.shard_of(&("US", 42))?, "us1");
    /// # Ok::<(), mainstay_core::Error>(())
    /// ```
    ///
    /// Errors: ROUTE-021.
    pub fn list<N: Into<String>, R: Into<String>>(
        shards: impl IntoIterator<Item = (N, R)>,
        values: impl IntoIterator<Item = (N, R)>,
    ) -> Result<Self> {
        let mut all: Vec<(String, String)> =
            shards.into_iter().map(|(n, r)| (r.into(), n.into())).collect();
        all.sort();
        let values = values.into_iter().map(|(v, r)| (v.into(), r.into())).collect();
        let mut regions: Vec<Region> = Vec::new();
        let mut parts = Parts::new(Placement::Hash);
        for ((region, name), span) in all.iter().zip(split(0..LOGICAL, all.len())) {
            match regions.last_mut() {
                Some(last) if last.region == *region => last.to = span.end,
                _ => {
                    regions.push(Region { region: region.clone(), from: span.start, to: span.end });
                }
            }
            parts.logical.push(Span { from: span.start, to: span.end, shard: name.clone() });
            parts.shards.insert(name.clone(), Shard { region: Some(region.clone()) });
        }
        if parts.shards.len() < all.len() {
            return Err(Error::new(Code::ShardMap, "a shard stands twice in the list"));
        }
        parts.placement = Placement::List { values, regions };
        parts.try_into()
    }

    /// By order: keys before the first bound are on `first`, those from a bound on the shard given with it, up to
    /// the next. Bounds are all numbers or all texts.
    ///
    /// ```
    /// use mainstay_route::shard::Map;
    ///
    /// let map = Map::range("old", [(1_000_i64, "a"), (2_000, "b")])?;
    /// assert_eq!(map.shard_of(&999)?, "old");
    /// assert_eq!(map.shard_of(&2_000)?, "b");
    /// # Ok::<(), mainstay_core::Error>(())
    /// ```
    ///
    /// Errors: ROUTE-021 (out of order, or of two kinds).
    pub fn range<B: Into<Bound>>(
        first: &str,
        then: impl IntoIterator<Item = (B, &'static str)>,
    ) -> Result<Self> {
        let mut parts = Parts::new(Placement::Hash);
        let mut segments = Vec::new();
        let then = then.into_iter().map(|(bound, shard)| (Some(bound.into()), shard));
        for (from, shard) in std::iter::once((None, first)).chain(then) {
            parts.shards.entry(shard.to_owned()).or_default();
            segments.push(Segment { from, slot: parts.take_slot(shard)? });
        }
        parts.placement = Placement::Range { segments };
        parts.try_into()
    }

    /// Each key by itself, or the first parts of pairs, as tenants are. What is not in it has no place.
    /// [`put`](Self::put) adds to it. Errors: ROUTE-021.
    pub fn directory<K: ToKey>(keys: impl IntoIterator<Item = (K, &'static str)>) -> Result<Self> {
        let mut parts = Parts::new(Placement::Hash);
        let mut all = BTreeMap::new();
        for (key, shard) in keys {
            parts.shards.entry(shard.to_owned()).or_default();
            let slot = parts.take_slot(shard)?;
            all.insert(key.to_key().text(), slot);
        }
        parts.placement = Placement::Directory { keys: all };
        parts.try_into()
    }
}
