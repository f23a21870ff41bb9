//! What a map must be, with the place where it is not.

use std::collections::BTreeSet;

use mainstay_core::{Code, Error, Result};

use super::{Parts, Placement, Region, SLOTS, Segment, Span};
use crate::shard::key::{LOGICAL, SEPARATOR};

/// Names are written in logs, ids of metrics and files.
const NAME_BYTES_MAX: usize = 63;

fn wrong(what: String) -> Error {
    Error::new(Code::ShardMap, what)
}

/// Errors: ROUTE-021, ROUTE-023.
pub(super) fn check(parts: &Parts) -> Result<()> {
    if parts.shards.is_empty() {
        return Err(wrong("the map has no shards".to_owned()));
    }
    if parts.epoch == 0 {
        return Err(wrong("epoch is 0; the first is 1".to_owned()));
    }
    if let Some(name) = parts.shards.keys().find(|n| n.is_empty() || n.len() > NAME_BYTES_MAX) {
        return Err(wrong(format!("shards: the name {name:?} is empty or over 63 bytes")));
    }
    for span in &parts.logical {
        known(parts, &span.shard, &format!("logical {}..{}", span.from, span.to))?;
    }
    let mut numbers = BTreeSet::new();
    for slot in &parts.slots {
        known(parts, &slot.shard, &format!("slot {}", slot.slot))?;
        if slot.slot >= SLOTS || !numbers.insert(slot.slot) {
            return Err(wrong(format!("slot {} stands twice, or is over 4,095", slot.slot)));
        }
    }
    let slot_of = |slot: u16, of: &str| {
        if numbers.contains(&slot) {
            return Ok(());
        }
        Err(wrong(format!("{of} has slot {slot}, which is not among the slots")))
    };
    for (at, slot) in parts.pins.values().enumerate() {
        slot_of(*slot, &format!("pin {}", at + 1))?;
    }
    let spans = ordered(&parts.logical)?;
    match &parts.placement {
        Placement::Hash => covered(&spans, 0..LOGICAL, ""),
        Placement::Range { segments } => {
            segments
                .iter()
                .enumerate()
                .try_for_each(|(at, s)| slot_of(s.slot, &format!("segment {}", at + 1)))?;
            rising(segments)
        }
        Placement::Directory { keys } => {
            let mut slots = keys.values().enumerate();
            slots.try_for_each(|(at, slot)| slot_of(*slot, &format!("directory entry {}", at + 1)))
        }
        Placement::List { regions, .. } => {
            for region in regions {
                covered(&spans, region.from..region.to, &format!(" of region {}", region.region))?;
            }
            listed(parts, regions)?;
            resident(parts, &spans, regions)
        }
    }
}

fn known(parts: &Parts, shard: &str, place: &str) -> Result<()> {
    if parts.shards.contains_key(shard) {
        return Ok(());
    }
    Err(wrong(format!("{place} is on {shard:?}, which is not among the shards")))
}

/// In order and without overlaps.
fn ordered(spans: &[Span]) -> Result<Vec<&Span>> {
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| (span.from, span.to));
    for span in &spans {
        if span.from >= span.to || span.to > LOGICAL {
            let what = format!("logical {}..{} is empty, or ends after 4,096", span.from, span.to);
            return Err(wrong(what));
        }
    }
    for pair in spans.windows(2) {
        if let [a, b] = pair
            && b.from < a.to
        {
            let to = a.to.min(b.to);
            let what = format!("logical {}..{to} is both {}'s and {}'s", b.from, a.shard, b.shard);
            return Err(wrong(what));
        }
    }
    Ok(spans)
}

fn covered(spans: &[&Span], whole: std::ops::Range<u16>, of: &str) -> Result<()> {
    let mut at = whole.start;
    for span in spans.iter().filter(|s| s.to > whole.start && s.from < whole.end) {
        if span.from > at {
            return Err(wrong(format!("logical {at}..{}{of} is nobody's", span.from)));
        }
        at = span.to;
    }
    if at < whole.end {
        return Err(wrong(format!("logical {at}..{}{of} is nobody's", whole.end)));
    }
    Ok(())
}

fn rising(segments: &[Segment]) -> Result<()> {
    if segments.is_empty() {
        return Err(wrong("the placement has no segments".to_owned()));
    }
    for (at, pair) in segments.windows(2).enumerate() {
        let [a, b] = pair else { continue };
        let what = match (&a.from, &b.from) {
            (_, None) => "has no beginning, and is not the first",
            (Some(a), Some(b)) if std::mem::discriminant(a) != std::mem::discriminant(b) => {
                "begins with another kind of key than the one before"
            }
            (Some(a), Some(b)) if a >= b => "overlaps with the one before",
            _ => continue,
        };
        return Err(wrong(format!("segment {} {what}", at + 2)));
    }
    Ok(())
}

/// The regions themselves. Values are not quoted: they may be a user's.
fn listed(parts: &Parts, regions: &[Region]) -> Result<()> {
    let mut sorted: Vec<_> = regions.iter().collect();
    sorted.sort_by_key(|r| r.from);
    for pair in sorted.windows(2) {
        if let [a, b] = pair
            && b.from < a.to
        {
            let (from, to) = (b.from, a.to.min(b.to));
            let what = format!("logical {from}..{to} is both {}'s and {}'s", a.region, b.region);
            return Err(wrong(what));
        }
    }
    let names: BTreeSet<_> = regions.iter().map(|r| r.region.as_str()).collect();
    if names.len() < regions.len() {
        return Err(wrong("a region stands twice".to_owned()));
    }
    let Placement::List { values, .. } = &parts.placement else { return Ok(()) };
    match values.values().find(|region| !names.contains(region.as_str())) {
        Some(region) => Err(wrong(format!("a value belongs to {region:?}, which has no shards"))),
        None => Ok(()),
    }
}

/// What belongs to a region is on its shards alone.
fn resident(parts: &Parts, spans: &[&Span], regions: &[Region]) -> Result<()> {
    let region_of = |shard: &str| parts.shards.get(shard).and_then(|s| s.region.as_deref());
    let refuse = |what: String, shard: &str, region: &str| {
        let there = region_of(shard).unwrap_or("no region");
        let why = format!("{shard} is in {there}, and the data must stay in {region}");
        Err(Error::new(Code::ShardResidency, what).why(why))
    };
    for region in regions {
        for span in spans.iter().filter(|s| s.to > region.from && s.from < region.to) {
            if region_of(&span.shard) != Some(region.region.as_str()) {
                let (from, to) = (span.from.max(region.from), span.to.min(region.to));
                let what = format!("logical {from}..{to} would leave {}", region.region);
                return refuse(what, &span.shard, &region.region);
            }
        }
    }
    let Placement::List { values, .. } = &parts.placement else { return Ok(()) };
    for (at, (key, slot)) in parts.pins.iter().enumerate() {
        let head = key.split(char::from(SEPARATOR)).next().unwrap_or_default();
        let Some(region) = values.get(head) else {
            let what = format!("pin {} is of a value that is not in the list", at + 1);
            return Err(Error::new(Code::ShardUnplaced, what));
        };
        let shard = parts.slots.iter().find(|s| s.slot == *slot).map(|s| s.shard.as_str());
        if let Some(shard) = shard.filter(|s| region_of(s) != Some(region.as_str())) {
            return refuse(format!("pin {} would leave {region}", at + 1), shard, region);
        }
    }
    Ok(())
}
