//! Loads in the background what is served stale meanwhile: one load a key, and not too many together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Inner, Load, Value};
use crate::store::Tags;

/// Refreshes under way in a cache. A stale value beyond them is served and not refreshed yet.
const REFRESHES_MAX: usize = 64;

/// The keys that are being refreshed.
#[derive(Default)]
pub(super) struct Refreshing(Mutex<HashSet<Arc<str>>>);

impl Refreshing {
    fn with<T>(&self, f: impl FnOnce(&mut HashSet<Arc<str>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends with its task, however that ends.
struct Place<V> {
    inner: Arc<Inner<V>>,
    key: Arc<str>,
}

impl<V> Drop for Place<V> {
    fn drop(&mut self) {
        self.inner.refreshing.with(|all| all.remove(&self.key));
    }
}

impl<V: Value> Inner<V> {
    /// Has `load` run in the background, unless it does already.
    pub(super) fn refresh(self: &Arc<Self>, key: Arc<str>, tags: Tags, load: Load<V>) {
        let is_new =
            self.refreshing.with(|all| all.len() < REFRESHES_MAX && all.insert(Arc::clone(&key)));
        if !is_new {
            return;
        }
        let place = Place { inner: Arc::clone(self), key };
        tokio::spawn(async move {
            let (inner, key) = (&place.inner, Arc::clone(&place.key));
            if let Err(error) = inner.fly_behind(key, tags, load).await {
                let cache = &*inner.name;
                tracing::warn!(code = %error.code(), cache, "a stale value was not refreshed: {error}");
            }
        });
    }
}
