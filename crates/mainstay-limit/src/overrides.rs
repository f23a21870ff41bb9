//! Other numbers for some keys, changed while decisions are made: a tenant that pays for more, or one that is
//! to be slowed down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use mainstay_core::{Code, Error, Result};

/// Keys with numbers of their own, at most.
const OVERRIDES_MAX: usize = 100_000;

/// By the key's hash. Reading takes no lock; changing copies the whole.
#[derive(Debug)]
pub(crate) struct Overrides<T> {
    any: AtomicBool,
    all: ArcSwap<HashMap<u64, T>>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl<T> Default for Overrides<T> {
    fn default() -> Self {
        Self { any: AtomicBool::new(false), all: ArcSwap::default(), changing: Mutex::default() }
    }
}

impl<T: Clone> Overrides<T> {
    /// That of the key.
    #[inline]
    pub(crate) fn get(&self, hash: u64) -> Option<T> {
        // Nearly always there is none.
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.all.load().get(&hash).cloned()
    }

    /// Sets that of the key, or takes it away. Errors: LIMIT-003 beyond 100,000.
    pub(crate) fn set(&self, hash: u64, value: Option<T>) -> Result<()> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.all.load());
        match value {
            Some(value) => all.insert(hash, value),
            None => all.remove(&hash),
        };
        if all.len() > OVERRIDES_MAX {
            let what = format!("more than {OVERRIDES_MAX} keys with limits of their own");
            return Err(Error::new(Code::LimitUse, what)
                .fix("give groups of keys a policy each, and choose the policy by the group"));
        }
        let any = !all.is_empty();
        self.all.store(Arc::new(all));
        self.any.store(any, Ordering::Release);
        Ok(())
    }
}
