//! Changing a map: each change makes the next version. None of them moves data: they say where it is to be.

use std::ops::Range;

use mainstay_core::{Code, Error, Result};

use super::{Map, Parts, Placement, Shard, Span};
use crate::shard::key::{LOGICAL, ToKey};

impl Map {
    fn changed(&self, change: impl FnOnce(&mut Parts) -> Result<()>) -> Result<Self> {
        let mut parts = self.0.clone();
        change(&mut parts)?;
        parts.epoch += 1;
        parts.try_into()
    }

    /// With one more shard, which gets an equal part of the logical shards, and nothing else changes place: of N
    /// shards it is 1 / (N + 1) of them that move. With a range or a directory it has nothing yet; with a list
    /// see [`with_in`](Self::with_in).
    ///
    /// Errors: ROUTE-021 (it is there already), ROUTE-023.
    pub fn with(&self, name: &str) -> Result<Self> {
        self.changed(|parts| {
            add(parts, name, None)?;
            match parts.placement {
                Placement::Hash => {
                    spread(parts, 0..LOGICAL, name);
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }

    /// With one more shard that has nothing yet: for a pin, or for what is moved to it, one logical shard at a time, and then
    /// [assigned](Self::assign). `region` is for a list.
    ///
    /// ```
    /// use mainstay_route::shard::Map;
    ///
    /// let map = Map::even(["a", "b"])?.with_empty("acme", None)?.pin("acme", "acme")?;
    /// assert_eq!((map.logical_count("acme"), map.shard_of("acme")?), (0, "acme"));
    /// # Ok::<(), mainstay_core::Error>(())
    /// ```
    ///
    /// Errors: ROUTE-021 (it is there already).
    pub fn with_empty(&self, name: &str, region: Option<&str>) -> Result<Self> {
        self.changed(|parts| add(parts, name, region))
    }

    /// The logical shards that are elsewhere in `other`, a later version of this map: each with the shard that it
    /// is on here and there. Those that only one of the two has are left out.
    ///
    /// ```
    /// use mainstay_route::shard::Map;
    ///
    /// let map = Map::even(["a", "b"])?;
    /// let moves = map.moves_to(&map.with("c")?);
    /// assert_eq!(moves.len(), 1365);
    /// assert!(moves.iter().all(|(_, from, to)| from != "c" && to == "c"));
    /// # Ok::<(), mainstay_core::Error>(())
    /// ```
    pub fn moves_to(&self, other: &Self) -> Vec<(u16, String, String)> {
        let all = |map: &Self| -> std::collections::BTreeMap<u16, String> {
            let hashed = owners(&map.0).into_iter().enumerate();
            let hashed = hashed.filter_map(|(at, owner)| Some((at as u16, owner?)));
            let slots = map.0.slots.iter().map(|s| (LOGICAL + s.slot, s.shard.clone()));
            hashed.chain(slots).collect()
        };
        let there = all(other);
        let moved = |(logical, from): (u16, String)| {
            let to = there.get(&logical).filter(|to| **to != from)?;
            Some((logical, from, to.clone()))
        };
        all(self).into_iter().filter_map(moved).collect()
    }

    /// The shard that a logical shard is on, if there is such a one.
    pub fn owner(&self, logical: u16) -> Option<&str> {
        if let Some(slot) = logical.checked_sub(LOGICAL) {
            return self.0.slots.iter().find(|s| s.slot == slot).map(|s| s.shard.as_str());
        }
        let span = self.0.logical.iter().find(|span| (span.from..span.to).contains(&logical));
        span.map(|span| span.shard.as_str())
    }

    /// As [`with`](Self::with), in a region: of its logical shards it gets an equal part.
    ///
    /// Errors: ROUTE-021.
    pub fn with_in(&self, name: &str, region: &str) -> Result<Self> {
        self.changed(|parts| {
            add(parts, name, Some(region))?;
            let own = match &parts.placement {
                Placement::Hash => Some(0..LOGICAL),
                Placement::List { regions, .. } => {
                    regions.iter().find(|r| r.region == region).map(|r| r.from..r.to)
                }
                Placement::Range { .. } | Placement::Directory { .. } => return Ok(()),
            };
            let none = || Error::new(Code::ShardMap, format!("the list has no region {region:?}"));
            spread(parts, own.ok_or_else(none)?, name);
            Ok(())
        })
    }

    /// Without a shard: what it had goes to those that have least, within its region if it has one.
    ///
    /// Errors: ROUTE-021 (it is not there, or nobody could take what it has).
    pub fn without(&self, name: &str) -> Result<Self> {
        self.changed(|parts| {
            let none = || Error::new(Code::ShardMap, format!("there is no shard {name:?}"));
            let gone = parts.shards.remove(name).ok_or_else(none)?;
            let heirs: Vec<String> = (parts.shards.iter())
                .filter(|(_, shard)| shard.region == gone.region)
                .map(|(name, _)| name.clone())
                .collect();
            let mut owners = owners(parts);
            let mut counts: Vec<usize> = (heirs.iter())
                .map(|heir| owners.iter().flatten().filter(|o| *o == heir).count())
                .collect();
            let mut heir = || {
                let least = (0..heirs.len()).min_by_key(|at| counts[*at]);
                let what = format!("nobody could take what {name:?} has");
                let least = least.ok_or_else(|| Error::new(Code::ShardMap, what))?;
                counts[least] += 1;
                Ok::<_, Error>(heirs[least].clone())
            };
            for owner in owners.iter_mut().flatten().filter(|owner| *owner == name) {
                *owner = heir()?;
            }
            for slot in parts.slots.iter_mut().filter(|slot| slot.shard == name) {
                slot.shard = heir()?;
            }
            parts.logical = spans(&owners);
            Ok(())
        })
    }

    /// With the logical shard `number` on the shard `to`; below 4,096 one that keys are hashed to, above a slot.
    /// It is how a move of data ends.
    ///
    /// Errors: ROUTE-021 (no such logical shard, or no such shard), ROUTE-023.
    pub fn assign(&self, number: u16, to: &str) -> Result<Self> {
        self.changed(|parts| {
            let none = || Error::new(Code::ShardMap, format!("there is no logical shard {number}"));
            if let Some(slot) = number.checked_sub(LOGICAL) {
                let slot = parts.slots.iter_mut().find(|s| s.slot == slot);
                to.clone_into(&mut slot.ok_or_else(none)?.shard);
                return Ok(());
            }
            let mut owners = owners(parts);
            let owner = owners.get_mut(usize::from(number)).and_then(Option::as_mut);
            to.clone_into(owner.ok_or_else(none)?);
            parts.logical = spans(&owners);
            Ok(())
        })
    }

    /// With a key, or all pairs whose first part it is, on `shard` whatever the placement says: a tenant that is to
    /// have a shard of its own. Pinned again, it is the later that holds.
    ///
    /// Errors: ROUTE-021 (no such shard), ROUTE-022 and ROUTE-023 (with a list: no such value, another region).
    pub fn pin<K: ToKey + ?Sized>(&self, key: &K, shard: &str) -> Result<Self> {
        self.changed(|parts| {
            let slot = parts.take_slot(shard)?;
            let old = parts.pins.insert(key.to_key().text(), slot);
            parts.slots.retain(|s| Some(s.slot) != old);
            Ok(())
        })
    }

    /// Without the pin of a key. Errors: ROUTE-021 where it has none.
    pub fn unpin<K: ToKey + ?Sized>(&self, key: &K) -> Result<Self> {
        self.changed(|parts| {
            let none = || Error::new(Code::ShardMap, "the key is not pinned");
            let slot = parts.pins.remove(&key.to_key().text()).ok_or_else(none)?;
            parts.slots.retain(|s| s.slot != slot);
            Ok(())
        })
    }

    /// With an entry of the directory, new or in place of the old one. Errors: ROUTE-021.
    pub fn put<K: ToKey + ?Sized>(&self, key: &K, shard: &str) -> Result<Self> {
        self.changed(|parts| {
            let slot = parts.take_slot(shard)?;
            let Placement::Directory { keys } = &mut parts.placement else {
                return Err(Error::new(Code::ShardMap, "the map is no directory")
                    .fix("use pin(), which is for all placements"));
            };
            let old = keys.insert(key.to_key().text(), slot);
            parts.slots.retain(|s| Some(s.slot) != old);
            Ok(())
        })
    }
}

fn add(parts: &mut Parts, name: &str, region: Option<&str>) -> Result<()> {
    let shard = Shard { region: region.map(str::to_owned) };
    match parts.shards.insert(name.to_owned(), shard) {
        None => Ok(()),
        Some(_) => Err(Error::new(Code::ShardMap, format!("there is a shard {name:?} already"))),
    }
}

/// The shard of each logical shard.
fn owners(parts: &Parts) -> Vec<Option<String>> {
    let mut owners = vec![None; usize::from(LOGICAL)];
    for span in &parts.logical {
        owners[usize::from(span.from)..usize::from(span.to)].fill(Some(span.shard.clone()));
    }
    owners
}

fn spans(owners: &[Option<String>]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (at, owner) in owners.iter().enumerate() {
        let (at, Some(owner)) = (at as u16, owner) else { continue };
        match spans.last_mut() {
            Some(last) if last.to == at && last.shard == *owner => last.to = at + 1,
            _ => spans.push(Span { from: at, to: at + 1, shard: owner.clone() }),
        }
    }
    spans
}

/// Gives `to` an equal part of `of`, each time from whoever has most.
fn spread(parts: &mut Parts, of: Range<u16>, to: &str) {
    let mut owners = owners(parts);
    let own = usize::from(of.start)..usize::from(of.end);
    let mut lists: Vec<(String, Vec<usize>)> = Vec::new();
    for at in own.clone() {
        let Some(owner) = owners[at].as_ref() else { continue };
        match lists.iter_mut().find(|(name, _)| name == owner) {
            Some((_, list)) => list.push(at),
            None => lists.push((owner.clone(), vec![at])),
        }
    }
    for _ in 0..own.len() / (lists.len() + 1) {
        let most = lists.iter_mut().max_by_key(|(_, list)| list.len());
        if let Some(at) = most.and_then(|(_, list)| list.pop()) {
            owners[at] = Some(to.to_owned());
        }
    }
    parts.logical = spans(&owners);
}
