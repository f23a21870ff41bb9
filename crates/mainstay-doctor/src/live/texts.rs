//! The texts of statements by their identity, so that an observation carries a number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Texts that are recognised at a glance; a power of two.
const KNOWN: usize = 8192;
/// Texts remembered.
const TEXTS_MAX: usize = 8192;

pub(super) struct SqlTexts {
    /// By the lower digits of the identity.
    known: Box<[AtomicU64]>,
    all: Mutex<HashMap<u64, Arc<str>>>,
}

impl SqlTexts {
    pub(super) fn new() -> Self {
        Self { known: (0..KNOWN).map(|_| AtomicU64::new(0)).collect(), all: Mutex::default() }
    }

    /// Remembers `text` as `id`'s. For a text that is known, it is one load.
    #[inline]
    pub(super) fn remember(&self, id: u64, text: &str) {
        let slot = &self.known[id as usize & (KNOWN - 1)];
        if slot.load(Ordering::Relaxed) != id {
            self.add(id, text, slot);
        }
    }

    #[cold]
    fn add(&self, id: u64, text: &str, slot: &AtomicU64) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= TEXTS_MAX && !all.contains_key(&id) {
            // They are put together at run time. What waits to be looked at loses its text.
            all.clear();
            self.known.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
        }
        all.entry(id).or_insert_with(|| text.into());
        slot.store(id, Ordering::Relaxed);
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<str>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}
