//! A map as it is looked up: from a key to its logical shard, and from that to its shard, by tables.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};

use super::{Bound, Map, Placement, SLOTS};
use crate::shard::key::{Key, LOGICAL};

/// Where a table has nothing.
const NOBODY: u16 = u16::MAX;

type ByBytes<T> = HashMap<Box<[u8]>, T, foldhash::fast::RandomState>;

#[derive(Debug)]
pub(crate) struct Routes {
    /// Shards by logical shards, slots after those that are hashed to; their places among the map's names.
    shards: Box<[u16]>,
    pins: ByBytes<u16>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Hash,
    Numbers(Vec<(i128, u16)>),
    Texts(Vec<(Box<[u8]>, u16)>),
    /// The first logical shard of the value's region, and how many there are.
    List(ByBytes<(u16, u16)>),
    Directory(ByBytes<u16>),
}

impl Routes {
    pub(crate) fn new(map: &Map) -> Self {
        let parts = map.parts();
        let index = |name: &str| {
            let at = parts.shards.keys().position(|shard| shard == name);
            at.map_or(NOBODY, |at| at as u16)
        };
        let mut shards = vec![NOBODY; usize::from(LOGICAL + SLOTS)];
        for span in &parts.logical {
            shards[usize::from(span.from)..usize::from(span.to)].fill(index(&span.shard));
        }
        for slot in &parts.slots {
            shards[usize::from(LOGICAL + slot.slot)] = index(&slot.shard);
        }
        Self { shards: shards.into(), pins: slots(&parts.pins), way: Way::new(&parts.placement) }
    }

    /// The logical shard of a key. Errors: ROUTE-020, ROUTE-022.
    #[inline]
    pub(crate) fn logical_of(&self, key: &Key<'_>) -> Result<u16> {
        if key.head().is_empty() {
            return Err(missing());
        }
        if !self.pins.is_empty()
            && let Some(slot) = found(&self.pins, key)
        {
            return Ok(LOGICAL + slot);
        }
        if let Way::Hash = self.way {
            return Ok(key.logical());
        }
        self.way.logical_of(key).ok_or_else(|| self.way.unplaced())
    }

    /// The place of a logical shard's shard among the names.
    #[inline]
    pub(crate) fn shard_at(&self, logical: u16) -> Option<usize> {
        let at = self.shards.get(usize::from(logical)).copied().unwrap_or(NOBODY);
        (at != NOBODY).then_some(usize::from(at))
    }

    /// The place of a key's shard among the names. Errors: ROUTE-020, ROUTE-022.
    #[inline]
    pub(crate) fn shard_of(&self, key: &Key<'_>) -> Result<usize> {
        let logical = self.logical_of(key)?;
        // A map is whole: none that was checked leads here.
        self.shard_at(logical)
            .ok_or_else(|| Error::new(Code::ShardUnplaced, "the key's logical shard is nobody's"))
    }
}

impl Way {
    fn new(placement: &Placement) -> Self {
        match placement {
            Placement::Hash => Way::Hash,
            Placement::Directory { keys } => Way::Directory(slots(keys)),
            Placement::List { values, regions } => {
                let of = |name: &str| {
                    let region = regions.iter().find(|region| region.region == name);
                    region.map_or((0, 0), |region| (region.from, region.to - region.from))
                };
                let all =
                    values.iter().map(|(value, region)| (value.as_bytes().into(), of(region)));
                Way::List(all.collect())
            }
            Placement::Range { segments } => {
                let texts = segments.iter().any(|s| matches!(s.from, Some(Bound::Text(_))));
                if !texts {
                    let from = |bound: &Option<Bound>| match bound {
                        Some(Bound::Int(n)) => i128::from(*n),
                        _ => i128::MIN,
                    };
                    return Way::Numbers(
                        segments.iter().map(|s| (from(&s.from), s.slot)).collect(),
                    );
                }
                let from = |bound: &Option<Bound>| match bound {
                    Some(Bound::Text(text)) => text.as_bytes().into(),
                    _ => Box::default(),
                };
                Way::Texts(segments.iter().map(|s| (from(&s.from), s.slot)).collect())
            }
        }
    }

    fn logical_of(&self, key: &Key<'_>) -> Option<u16> {
        let slot = match self {
            Way::Hash => return Some(key.logical()),
            Way::List(values) => {
                let (from, len) = values.get(key.head())?;
                let within = u32::from(key.logical()) * u32::from(*len) / u32::from(LOGICAL);
                return Some(from + within as u16);
            }
            Way::Directory(keys) => found(keys, key)?,
            Way::Numbers(all) => {
                let n = key.number()?;
                all.get(all.partition_point(|(from, _)| *from <= n).checked_sub(1)?)?.1
            }
            Way::Texts(all) => {
                let head = key.head();
                all.get(all.partition_point(|(from, _)| **from <= *head).checked_sub(1)?)?.1
            }
        };
        Some(LOGICAL + slot)
    }

    /// The key itself is not told: it is a value of a user.
    #[cold]
    fn unplaced(&self) -> Error {
        let what = match self {
            Way::List(_) => "the key's value is not in the list",
            Way::Directory(_) => "the key is not in the directory",
            Way::Numbers(_) => "the key is before the first segment, or is no number",
            Way::Texts(_) | Way::Hash => "the key is before the first segment",
        };
        Error::new(Code::ShardUnplaced, what)
    }
}

/// What was to be a tenant's name, and is empty or not there at all.
#[cold]
fn missing() -> Error {
    Error::new(Code::ShardKeyMissing, "the key is empty, or its first part is")
}

/// The key's own, or else that of its first part.
fn found(among: &ByBytes<u16>, key: &Key<'_>) -> Option<u16> {
    let own = among.get(key.bytes()).copied();
    own.or_else(|| if key.is_pair() { among.get(key.head()).copied() } else { None })
}

fn slots(keys: &std::collections::BTreeMap<String, u16>) -> ByBytes<u16> {
    keys.iter().map(|(key, slot)| (key.as_bytes().into(), *slot)).collect()
}
