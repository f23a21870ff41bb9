//! What became invalid in this process, and when: one sequence that every invalidation moves, and the
//! last of each key and tag. A load notes the sequence when it begins; what it brings is refused if a
//! mark of its key or tags is later.
//!
//! It is bounded: where a table is full, all of it is forgotten and everything older counts as marked.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::Tags;

const SHARDS: usize = 16;
/// Marks in a table.
const MARKS_MAX: usize = 4096;

#[derive(Default)]
struct Table {
    at: HashMap<Box<str>, u64>,
    floor: u64,
}

impl Table {
    fn is_after(&self, name: &str, born: u64) -> bool {
        self.floor > born || self.at.get(name).is_some_and(|at| *at > born)
    }

    fn mark(&mut self, name: &str, at: u64) {
        if self.at.len() >= MARKS_MAX && !self.at.contains_key(name) {
            self.forget(at);
        }
        self.at.insert(name.into(), at);
    }

    fn forget(&mut self, at: u64) {
        self.at.clear();
        self.floor = at;
    }
}

/// The marks of a region.
pub(crate) struct Marks {
    sequence: AtomicU64,
    /// All that was born before is invalid.
    cleared: AtomicU64,
    keys: [Mutex<Table>; SHARDS],
    tags: RwLock<Table>,
    hasher: RandomState,
}

impl Marks {
    pub(crate) fn new() -> Self {
        Self {
            sequence: AtomicU64::new(1),
            cleared: AtomicU64::new(0),
            keys: std::array::from_fn(|_| Mutex::default()),
            tags: RwLock::default(),
            hasher: RandomState::new(),
        }
    }

    /// To be noted by what begins now.
    pub(crate) fn now(&self) -> u64 {
        self.sequence.load(Ordering::SeqCst)
    }

    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Table> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.keys[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an entry born at `born` is invalid for its tags.
    pub(crate) fn is_void(&self, tags: &Tags, born: u64) -> bool {
        if self.cleared.load(Ordering::SeqCst) > born {
            return true;
        }
        let tags = tags.as_slice();
        if tags.is_empty() {
            return false;
        }
        let table = self.tags.read().unwrap_or_else(PoisonError::into_inner);
        tags.iter().any(|tag| table.is_after(tag, born))
    }

    /// Calls `insert` unless the key or a tag was marked after `born`; no mark falls in between.
    pub(crate) fn unless_marked(
        &self,
        key: &str,
        tags: &Tags,
        born: u64,
        insert: impl FnOnce(),
    ) -> bool {
        let shard = self.shard(key);
        if shard.is_after(key, born) || self.is_void(tags, born) {
            return false;
        }
        insert();
        true
    }

    /// Marks the key and calls `change` with when.
    pub(crate) fn key(&self, key: &str, change: impl FnOnce(u64)) {
        let mut shard = self.shard(key);
        let at = self.next();
        shard.mark(key, at);
        change(at);
    }

    /// Marks the tag.
    pub(crate) fn tag(&self, tag: &str) {
        let mut table = self.tags.write().unwrap_or_else(PoisonError::into_inner);
        let at = self.next();
        table.mark(tag, at);
    }

    /// Marks everything.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn all(&self) {
        let at = self.next();
        for shard in &self.keys {
            shard.lock().unwrap_or_else(PoisonError::into_inner).forget(at);
        }
        self.cleared.fetch_max(at, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_a_mark_is_refused_and_after_it_taken() {
        let (marks, tags) = (Marks::new(), Tags::of(&["t"]).unwrap());
        let before = marks.now();
        marks.key("k", |_| {});
        assert!(!marks.unless_marked("k", &tags, before, || panic!("it was marked")));
        assert!(marks.unless_marked("other", &tags, before, || {}));
        assert!(marks.unless_marked("k", &tags, marks.now(), || {}));
        let before = marks.now();
        marks.tag("t");
        assert!(!marks.unless_marked("other", &tags, before, || panic!("it was marked")));
        assert!(marks.unless_marked("other", &Tags::default(), before, || {}));
        let before = marks.now();
        marks.all();
        assert!(marks.is_void(&Tags::default(), before));
        assert!(!marks.is_void(&Tags::default(), marks.now()));
    }

    #[test]
    fn a_full_table_forgets_toward_safety() {
        let (marks, none) = (Marks::new(), Tags::default());
        let before = marks.now();
        marks.key("first", |_| {});
        for i in 0..MARKS_MAX * SHARDS * 2 {
            marks.key(&i.to_string(), |_| {});
        }
        assert!(!marks.unless_marked("first", &none, before, || panic!("it was marked")));
        let held: usize = marks.keys.iter().map(|s| s.lock().unwrap().at.len()).sum();
        assert!(held <= MARKS_MAX * SHARDS);
    }
}
