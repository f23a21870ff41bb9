//! The map: which shards there are, and which part of the keys each has. It is a value: a change makes another map,
//! with the next epoch. It knows no database.

mod change;
mod check;
mod make;
pub(crate) mod routes;

use std::collections::BTreeMap;

use mainstay_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::key::ToKey;
use routes::Routes;

/// The numbers of slots, beside the logical shards that keys are hashed to.
pub(crate) const SLOTS: u16 = super::key::LOGICAL;

/// Which shards there are and what each of them has. Made by [`even`](Map::even), [`hash`](Map::hash),
/// [`list`](Map::list), [`range`](Map::range) or [`directory`](Map::directory), or read from JSON or TOML, and
/// always whole: a map with a gap can't be made.
///
/// Keys are placed in logical shards, and those on shards. There are 4,096 of them that keys are hashed to, and as
/// many slots, which ranges, a directory and pins use. What is moved between shards is always a whole logical shard.
///
/// ```
/// use mainstay_route::shard::Map;
///
/// let map = Map::even(["a", "b", "c"])?.pin("acme", "c")?;
/// assert_eq!(map.epoch(), 2);
/// assert_eq!(map.shard_of("acme")?, "c");
/// assert_eq!(Map::from_json(&map.to_json())?, map);
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Map(Parts);

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    pub(crate) epoch: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) logical: Vec<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) slots: Vec<Slot>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pins: BTreeMap<String, u16>,
    pub(crate) placement: Placement,
    pub(crate) shards: BTreeMap<String, Shard>,
}

/// A shard as the map has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Where its data is; with [`Placement::List`], what must stay in a region is on its shards alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Logical shards `from` to `to`, without `to`, and the shard that they are on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The first.
    pub from: u16,
    /// One after the last; 4,096 at most.
    pub to: u16,
    /// The shard's name.
    pub shard: String,
}

/// A logical shard that no key is hashed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its number, below 4,096.
    pub slot: u16,
    /// The shard's name.
    pub shard: String,
}

/// How keys are placed in logical shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Placement {
    /// By the key's hash.
    Hash,
    /// By the order of the keys' first parts: a number's, or the bytes of a text.
    Range {
        /// In order; each ends where the next begins, and the last has no end.
        segments: Vec<Segment>,
    },
    /// By the value of the key's first part, as of a country: each belongs to a region. Within the region, by
    /// the hash of the whole key.
    List {
        /// A value, and its region.
        values: BTreeMap<String, String>,
        /// A region, and the logical shards that are its own; each of them must be on a shard of that region.
        regions: Vec<Region>,
    },
    /// Each key, or each first part of one, by itself.
    Directory {
        /// A key's text, and its slot.
        keys: BTreeMap<String, u16>,
    },
}

/// A piece of an ordered placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The first key; none for all before the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Bound>,
    /// Its slot.
    pub slot: u16,
}

/// Where a segment begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of numbers.
    Int(i64),
    /// Of texts, which are in the order of their bytes.
    Text(String),
}

/// The logical shards `from` to `to`, without `to`, that belong to a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub region: String,
    /// The first.
    pub from: u16,
    /// One after the last.
    pub to: u16,
}

impl From<i64> for Bound {
    fn from(n: i64) -> Self {
        Bound::Int(n)
    }
}

impl From<&str> for Bound {
    fn from(text: &str) -> Self {
        Bound::Text(text.to_owned())
    }
}

impl TryFrom<Parts> for Map {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        check::check(&parts)?;
        Ok(Self(parts))
    }
}

impl From<Map> for Parts {
    fn from(map: Map) -> Self {
        map.0
    }
}

impl Map {
    /// From JSON. Errors: ROUTE-021, ROUTE-023, at the place named.
    pub fn from_json(text: &str) -> Result<Self> {
        let parts: Parts = serde_json::from_str(text)
            .map_err(|e| Error::new(Code::ShardMap, "the map can't be read").why(e.to_string()))?;
        parts.try_into()
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Texts and numbers alone: nothing in it can fail to be written.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Which of its versions it is: each change counts one on. Maps begin with 1.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// As another version, for who keeps them.
    pub(crate) fn with_epoch(mut self, epoch: u64) -> Self {
        self.0.epoch = epoch;
        self
    }

    /// The names of the shards, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.shards.keys().map(String::as_str)
    }

    /// A shard by its name.
    pub fn shard(&self, name: &str) -> Option<&Shard> {
        self.0.shards.get(name)
    }

    /// How keys are placed.
    pub fn placement(&self) -> &Placement {
        &self.0.placement
    }

    /// How many of the logical shards that keys are hashed to are on the shard `name`.
    pub fn logical_count(&self, name: &str) -> usize {
        let own = self.0.logical.iter().filter(|span| span.shard == name);
        own.map(|span| usize::from(span.to - span.from)).sum()
    }

    /// The shard of a key. For tools: [`Shards`](super::Shards) keeps what this works out anew each time.
    ///
    /// Errors: ROUTE-020, ROUTE-022.
    pub fn shard_of<K: ToKey + ?Sized>(&self, key: &K) -> Result<&str> {
        let routes = Routes::new(self);
        let at = routes.shard_of(&key.to_key())?;
        Ok(self.names().nth(at).unwrap_or_default())
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }
}

#[cfg(test)]
mod tests;
