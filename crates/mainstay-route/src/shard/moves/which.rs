//! Which rows are a logical shard's: in SQL, for triggers and deletes, and the same in here, for rows that were read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::shard::key::{Key, LOGICAL, SEPARATOR};
use crate::shard::map::routes::Routes;
use crate::shard::map::{Bound, Map, Placement};

use super::column::{Category, Column};
use super::dialect::Dialect;

/// Asks whether a key is of one logical shard.
#[derive(Debug)]
pub(super) struct Which {
    pub(super) logical: u16,
    routes: Routes,
    /// Keys that are placed by themselves, and whether here.
    pins: BTreeMap<String, bool>,
    way: Way,
}

/// How the others come here.
#[derive(Debug, Serialize)]
enum Way {
    Never,
    /// With these upper 12 bits of the hash, of the keys with these first parts if there are any.
    Hash {
        from: u16,
        to: u16,
        heads: Option<Vec<String>>,
    },
    Directory(BTreeMap<String, bool>),
    /// Segments, each from and to where it ends.
    Numbers(Vec<(Option<i64>, Option<i64>)>),
    Texts(Vec<(Option<String>, Option<String>)>),
}

impl Which {
    pub(super) fn new(map: &Map, logical: u16) -> Self {
        let parts = map.parts();
        let slot = logical.checked_sub(LOGICAL);
        let leads = |keys: &BTreeMap<String, u16>| -> BTreeMap<String, bool> {
            keys.iter().map(|(key, to)| (key.clone(), Some(*to) == slot)).collect()
        };
        let way = match (&parts.placement, slot) {
            (Placement::Hash, None) => Way::Hash { from: logical, to: logical + 1, heads: None },
            (Placement::List { values, regions }, None) => {
                match regions.iter().find(|r| (r.from..r.to).contains(&logical)) {
                    None => Way::Never,
                    Some(region) => {
                        let own = values.iter().filter(|(_, of)| **of == region.region);
                        let (from, to) = spread(logical - region.from, region.to - region.from);
                        Way::Hash { from, to, heads: Some(own.map(|(v, _)| v.clone()).collect()) }
                    }
                }
            }
            (Placement::Directory { keys }, Some(_)) => Way::Directory(concerned(leads(keys))),
            (Placement::Range { segments }, Some(slot)) => {
                let ends = segments.iter().skip(1).map(|s| s.from.clone()).chain([None]);
                let own: Vec<_> = (segments.iter().zip(ends))
                    .filter(|(s, _)| s.slot == slot)
                    .map(|(s, end)| (s.from.clone(), end))
                    .collect();
                let texts = segments.iter().any(|s| matches!(s.from, Some(Bound::Text(_))));
                if texts {
                    Way::Texts(own.into_iter().map(|(a, b)| (text(a), text(b))).collect())
                } else {
                    Way::Numbers(
                        own.into_iter()
                            .map(|(a, b)| (number(a.as_ref()), number(b.as_ref())))
                            .collect(),
                    )
                }
            }
            _ => Way::Never,
        };
        Self { logical, routes: Routes::new(map), pins: leads(&parts.pins), way }
    }

    /// What it goes by, in one number: where that changes, other rows are meant.
    pub(super) fn fingerprint(&self) -> u32 {
        // Texts and numbers alone: nothing in it can fail to be written.
        crc32fast::hash(&serde_json::to_vec(&(&self.pins, &self.way)).unwrap_or_default())
    }

    /// Whether a key's number is asked for, and not its text.
    pub(super) fn asks_numbers(&self) -> bool {
        matches!(self.way, Way::Numbers(_))
    }

    /// Whether the key of a row that was read is of it; its parts' texts. One without a key is nobody's.
    pub(super) fn has(&self, parts: &[Option<String>], integer: bool) -> bool {
        with_key(parts, integer, |key| self.routes.logical_of(key).ok() == Some(self.logical))
    }

    /// A condition on the row that is called `of`; it is NULL where a part of the key is.
    pub(super) fn sql(&self, d: Dialect, keys: &[Column], of: &str, schema: &str) -> String {
        let texts: Vec<String> = keys.iter().map(|k| k.key_text(d, of)).collect();
        let Some(head) = texts.first() else { return "FALSE".to_owned() };
        let whole = texts.get(1).map_or_else(|| head.clone(), |tail| d.pair(head, tail));
        let (head_bytes, whole_bytes) = (d.bytes_of(head), d.bytes_of(&whole));
        let way = match &self.way {
            Way::Never => "FALSE".to_owned(),
            Way::Hash { from, to, heads } => {
                let hash = match d {
                    Dialect::Postgres => format!("{schema}.mainstay_logical({whole})"),
                    Dialect::MariaDb => format!("(CRC32({whole}) >> 20)"),
                };
                let hash = format!("{hash} BETWEEN {from} AND {}", i32::from(*to) - 1);
                match heads {
                    None => hash,
                    Some(heads) => format!("{} AND {hash}", within(d, &head_bytes, heads.iter())),
                }
            }
            Way::Directory(keys) => case(d, keys, [&whole_bytes, &head_bytes], "FALSE"),
            Way::Numbers(all) => {
                let Some(raw) = keys.first().map(|k| k.raw(d, of)) else {
                    return "FALSE".to_owned();
                };
                any(all
                    .iter()
                    .map(|(a, b)| bounds(&raw, a.map(|n| n.to_string()), b.map(|n| n.to_string()))))
            }
            Way::Texts(all) => {
                let edge = |text: &Option<String>| text.as_ref().map(|t| d.bytes(t.as_bytes()));
                any(all.iter().map(|(a, b)| bounds(&head_bytes, edge(a), edge(b))))
            }
        };
        let pinned = case(d, &self.pins, [&whole_bytes, &head_bytes], &way);
        // An empty key is none; one of blanks is one, which a comparison may take for empty.
        format!("(OCTET_LENGTH({head}) > 0 AND {pinned})")
    }
}

/// Of a directory's keys those that lead here, and the pairs that are placed elsewhere than their first part is.
fn concerned(keys: BTreeMap<String, bool>) -> BTreeMap<String, bool> {
    let head = |key: &str| key.split_once(char::from(SEPARATOR)).map(|(head, _)| head.to_owned());
    let own: Vec<String> =
        keys.iter().filter(|(_, here)| **here).map(|(key, _)| key.clone()).collect();
    let splits = |key: &str| head(key).is_some_and(|head| own.contains(&head));
    keys.into_iter().filter(|(key, here)| *here || splits(key)).collect()
}

/// The key of a row, of its parts' texts, if it has one.
pub(super) fn with_key<T: Default>(
    parts: &[Option<String>],
    integer: bool,
    work: impl FnOnce(&Key<'_>) -> T,
) -> T {
    let number = |head: &str| if integer { head.parse().ok() } else { None };
    match parts {
        [Some(head)] => work(&Key::read(head, head.len(), number(head))),
        [Some(head), Some(tail)] => {
            let whole = format!("{head}\u{1f}{tail}");
            work(&Key::read(&whole, head.len(), number(head)))
        }
        _ => T::default(),
    }
}

/// Of those hashes that are spread over `len`, the ones that come to `at`.
fn spread(at: u16, len: u16) -> (u16, u16) {
    let (len, all) = (u32::from(len.max(1)), u32::from(LOGICAL));
    let edge = |at: u32| (at * all).div_ceil(len).min(all) as u16;
    (edge(u32::from(at)), edge(u32::from(at) + 1))
}

/// What `keys` say of the whole, or else of the first part, or else `other`.
fn case(
    d: Dialect,
    keys: &BTreeMap<String, bool>,
    [whole, head]: [&str; 2],
    other: &str,
) -> String {
    if keys.is_empty() {
        return other.to_owned();
    }
    let own: Vec<_> = keys.iter().filter(|(_, here)| **here).map(|(key, _)| key).collect();
    let one = |bytes: &str| {
        format!(
            "WHEN {} THEN {}",
            within(d, bytes, keys.keys()),
            within(d, bytes, own.iter().copied())
        )
    };
    format!("CASE {} {} ELSE {other} END", one(whole), one(head))
}

fn within<'a>(d: Dialect, bytes: &str, keys: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<String> = keys.map(|key| d.bytes(key.as_bytes())).collect();
    if all.is_empty() { "FALSE".to_owned() } else { format!("{bytes} IN ({})", all.join(", ")) }
}

fn bounds(what: &str, from: Option<String>, to: Option<String>) -> String {
    let from = from.map(|edge| format!("{what} >= {edge}"));
    let to = to.map(|edge| format!("{what} < {edge}"));
    match [from, to].into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => "TRUE".to_owned(),
        some => format!("({})", some.join(" AND ")),
    }
}

fn any(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    if all.is_empty() { "FALSE".to_owned() } else { format!("({})", all.join(" OR ")) }
}

fn number(bound: Option<&Bound>) -> Option<i64> {
    match bound {
        Some(Bound::Int(n)) => Some(*n),
        _ => None,
    }
}

fn text(bound: Option<Bound>) -> Option<String> {
    match bound {
        Some(Bound::Text(text)) => Some(text),
        _ => None,
    }
}

/// Whether a key of these columns can be told in SQL as it is here.
pub(super) fn can_be_key(column: &Column) -> bool {
    column.category() != Category::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_a_region_are_all_given_out_once() {
        for len in [1, 7, 1365, 4096] {
            let mut next = 0;
            for at in 0..len {
                let (from, to) = spread(at, len);
                assert_eq!(from, next);
                for hash in from..to {
                    assert_eq!(u32::from(hash) * u32::from(len) / 4096, u32::from(at));
                }
                next = to;
            }
            assert_eq!(next, LOGICAL);
        }
    }
}
