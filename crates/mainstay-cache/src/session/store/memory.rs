//! Sessions in this process's memory, bounded. No operation waits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstay_core::Result;

use crate::session::record::{self, Changes, Login, Record, Saved, Span};

/// How many ended ones a sweep removes at most.
const SWEEP_MAX: usize = 200;

pub(super) struct Memory {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<String, (Record, i64)>,
    /// By when they end.
    ends: BTreeSet<(i64, String)>,
    users: HashMap<String, HashSet<String>>,
}

impl State {
    fn put(&mut self, key: &str, record: Record, expires_us: i64) {
        if let Some(user) = &record.user {
            self.users.entry(user.clone()).or_default().insert(key.to_owned());
        }
        self.ends.insert((expires_us, key.to_owned()));
        self.records.insert(key.to_owned(), (record, expires_us));
    }

    fn take(&mut self, key: &str) -> Option<(Record, i64)> {
        let (record, expires_us) = self.records.remove(key)?;
        self.ends.remove(&(expires_us, key.to_owned()));
        if let Some(user) = &record.user
            && let Some(keys) = self.users.get_mut(user)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.users.remove(user);
            }
        }
        Some((record, expires_us))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the other stores answer")]
impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, key: &str, record: &Record, span: &Span) -> Result<()> {
        let mut state = self.lock();
        while state.records.len() >= self.max {
            let Some((_, first)) = state.ends.first().cloned() else { break };
            state.take(&first);
        }
        state.put(key, record.clone(), span.expires_us);
        Ok(())
    }

    pub(super) fn load(&self, key: &str) -> Result<Option<Record>> {
        Ok(self.lock().records.get(key).map(|(record, _)| record.clone()))
    }

    pub(super) fn touch(&self, key: &str, span: &Span) -> Result<()> {
        let mut state = self.lock();
        if let Some((mut record, expires_us)) = state.take(key) {
            record.seen_us = record.seen_us.max(span.seen_us);
            state.put(key, record, expires_us.max(span.expires_us));
        }
        Ok(())
    }

    pub(super) fn merge(&self, key: &str, changes: &Changes) -> Result<Saved> {
        let mut state = self.lock();
        let Some((record, _)) = state.records.get_mut(key) else { return Ok(Saved::Gone) };
        let mut data = record.data.clone();
        if !record::merge(&mut data, changes) {
            return Ok(Saved::TooLarge);
        }
        record.data.clone_from(&data);
        Ok(Saved::Done(data))
    }

    pub(super) fn shift(
        &self,
        from: &str,
        to: &str,
        login: Option<Login<'_>>,
        span: &Span,
    ) -> Result<bool> {
        let mut state = self.lock();
        let Some((mut record, _)) = state.take(from) else { return Ok(false) };
        record.seen_us = span.seen_us;
        if let Some(login) = login {
            record.user = Some(login.user.to_owned());
            record.created_us = login.created_us;
        }
        state.put(to, record, span.expires_us);
        Ok(true)
    }

    pub(super) fn delete(&self, key: &str) -> Result<()> {
        self.lock().take(key);
        Ok(())
    }

    pub(super) fn delete_user(&self, user: &str, now_us: i64) -> Result<u64> {
        let mut state = self.lock();
        let keys = state.users.get(user).cloned().unwrap_or_default();
        let taken = keys.iter().filter_map(|key| state.take(key));
        Ok(taken.filter(|(_, expires_us)| *expires_us > now_us).count() as u64)
    }

    pub(super) fn sweep(&self, now_us: i64) -> Result<u64> {
        let mut state = self.lock();
        let mut removed = 0;
        while removed < SWEEP_MAX as u64
            && let Some((_, key)) = state.ends.first().filter(|(at, _)| *at <= now_us).cloned()
        {
            state.take(&key);
            removed += 1;
        }
        Ok(removed)
    }
}
