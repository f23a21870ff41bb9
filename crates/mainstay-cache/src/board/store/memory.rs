//! Leaderboards in this process's memory, bounded. No operation waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::{Code, Error, Result};

use super::{Slot, WHOLE, beyond};
use crate::board::entry::{Lines, Standing};
use crate::board::tree::Tree;

/// The order of the list: higher scores first, then names.
type Key = (Reverse<i64>, Arc<str>);

pub(super) struct Memory {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By board and window.
    lists: BTreeMap<(String, String), List>,
    members: usize,
}

#[derive(Default)]
struct List {
    scores: HashMap<Arc<str>, i64>,
    order: Tree<Key>,
}

impl List {
    fn above(&self, score: i64) -> u64 {
        self.order.count(|(Reverse(other), _)| *other > score) as u64
    }

    fn put(&mut self, member: Arc<str>, score: i64) {
        if let Some(before) = self.scores.insert(Arc::clone(&member), score) {
            self.order.remove(&(Reverse(before), Arc::clone(&member)));
        }
        self.order.insert((Reverse(score), member));
    }

    fn lines(&self, before: u64, count: usize) -> Lines {
        let skip = usize::try_from(before).unwrap_or(usize::MAX);
        let keys = self.order.page(skip, count).into_iter();
        let rows: Vec<_> = keys.map(|(Reverse(score), m)| (m.to_string(), *score)).collect();
        let above = rows.first().map(|(_, score)| self.above(*score)).unwrap_or_default();
        Lines { before, above, rows }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the other stores answer")]
impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self { max, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `member` what `next` makes of its present score.
    fn change(
        &self,
        slot: &Slot<'_>,
        member: &str,
        next: impl FnOnce(i64) -> Result<i64>,
    ) -> Result<i64> {
        let mut state = self.lock();
        let State { lists, members } = &mut *state;
        let key = (slot.board.to_owned(), slot.label.clone());
        let known = lists.get(&key).and_then(|list| list.scores.get_key_value(member));
        let (member, before) = match known {
            Some((member, score)) => (Arc::clone(member), *score),
            None if *members >= self.max => {
                let what = format!("the leaderboards in memory have {} members", self.max);
                return Err(Error::new(Code::CacheStore, what)
                    .fix("give BoardStore::memory more, keep fewer windows, or use a database"));
            }
            None => (Arc::from(member), 0),
        };
        let is_new = known.is_none();
        let score = next(before)?;
        lists.entry(key).or_default().put(member, score);
        *members += usize::from(is_new);
        Ok(score)
    }

    fn read<T: Default>(&self, slot: &Slot<'_>, f: impl FnOnce(&List) -> T) -> T {
        let key = (slot.board.to_owned(), slot.label.clone());
        self.lock().lists.get(&key).map(f).unwrap_or_default()
    }

    pub(super) fn add(&self, slot: &Slot<'_>, member: &str, delta: i64) -> Result<i64> {
        let next = |score: i64| score.checked_add(delta).ok_or_else(|| beyond(WHOLE));
        self.change(slot, member, next)
    }

    pub(super) fn set(&self, slot: &Slot<'_>, member: &str, score: i64) -> Result<()> {
        self.change(slot, member, |_| Ok(score)).map(drop)
    }

    pub(super) fn remove(&self, slot: &Slot<'_>, member: &str) -> Result<bool> {
        let mut state = self.lock();
        let State { lists, members } = &mut *state;
        let key = (slot.board.to_owned(), slot.label.clone());
        let Some(list) = lists.get_mut(&key) else { return Ok(false) };
        let Some((member, score)) = list.scores.remove_entry(member) else { return Ok(false) };
        list.order.remove(&(Reverse(score), member));
        *members -= 1;
        if list.scores.is_empty() {
            lists.remove(&key);
        }
        Ok(true)
    }

    pub(super) fn standing(&self, slot: &Slot<'_>, member: &str) -> Result<Option<Standing>> {
        Ok(self.read(slot, |list| {
            let score = *list.scores.get(member)?;
            Some(Standing { rank: list.above(score) + 1, score })
        }))
    }

    pub(super) fn range(&self, slot: &Slot<'_>, before: u64, count: u32) -> Result<Lines> {
        Ok(self.read(slot, |list| list.lines(before, count as usize)))
    }

    pub(super) fn around(&self, slot: &Slot<'_>, member: &str, count: u32) -> Result<Lines> {
        Ok(self.read(slot, |list| {
            let Some((member, score)) = list.scores.get_key_value(member) else {
                return Lines::default();
            };
            let key = (Reverse(*score), Arc::clone(member));
            let before = list.order.count(|other| *other < key);
            let first = before.saturating_sub(count as usize);
            list.lines(first as u64, before - first + 1 + count as usize)
        }))
    }

    pub(super) fn len(&self, slot: &Slot<'_>) -> Result<u64> {
        Ok(self.read(slot, |list| list.order.len() as u64))
    }

    pub(super) fn prune(&self, board: &str, from: &str, oldest: &str) -> u64 {
        let mut state = self.lock();
        let range = (board.to_owned(), from.to_owned())..(board.to_owned(), oldest.to_owned());
        let old: Vec<_> = state.lists.range(range).map(|(key, _)| key.clone()).collect();
        let lists = old.iter().filter_map(|key| state.lists.remove(key));
        let removed = lists.map(|list| list.order.len()).sum::<usize>();
        state.members -= removed;
        removed as u64
    }
}
