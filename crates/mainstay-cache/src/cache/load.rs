//! A load, from the miss to its outcome: one in the process, one among the processes that share a store.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::{Code, Error, Result};

use super::{Hit, Inner, Load, Value};
use crate::store::{Begun, Bounds, Entry, LOCK, New, Region, Seen, Tags, What};

/// Between two looks at what another process loads.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(100);

/// How a load ended.
enum End<V> {
    Value(Option<Arc<V>>),
    Failed(Error),
    Panicked(Box<dyn Any + Send>),
}

/// Whether who asked waits for the load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Yes,
    /// It has a stale value: what another process loads is left to it.
    No,
}

/// The right to be the only one at a load; dropped without having been settled, it is given back.
struct Turn {
    region: Arc<dyn Region>,
    key: Arc<str>,
    seen: Option<Seen>,
    /// There is a value, which is served until there is another.
    has_old: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(seen) = self.seen.take().filter(Seen::holds) else { return };
        // Where there is no runtime, it is over by itself before long.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (region, key) = (Arc::clone(&self.region), Arc::clone(&self.key));
        runtime.spawn(async move {
            if let Err(error) = region.abandon(&key, &seen).await {
                tracing::debug!(code = %error.code(), "a lock was not given back: {error}");
            }
        });
    }
}

impl<V: Value> Inner<V> {
    /// Loads, or waits for who does; `away` says that the store did not answer.
    pub(super) async fn fly(
        &self,
        key: Arc<str>,
        tags: Tags,
        load: Load<V>,
        away: bool,
    ) -> Result<Option<Arc<V>>> {
        self.join(key, tags, load, away, Waits::Yes).await
    }

    /// As [`fly`](Self::fly), for who has a stale value.
    pub(super) async fn fly_behind(
        &self,
        key: Arc<str>,
        tags: Tags,
        load: Load<V>,
    ) -> Result<Option<Arc<V>>> {
        self.join(key, tags, load, false, Waits::No).await
    }

    async fn join(
        &self,
        key: Arc<str>,
        tags: Tags,
        load: Load<V>,
        away: bool,
        waits: Waits,
    ) -> Result<Option<Arc<V>>> {
        let ticket = self.flights.join(&key);
        let _permit = match ticket.turn().await {
            Ok(permit) => permit,
            Err(outcome) => return outcome.map_err(|error| copy(&error)),
        };
        match self.lead(&key, &tags, load, away, waits).await {
            End::Value(value) => {
                ticket.finish(Ok(value.clone()));
                Ok(value)
            }
            End::Failed(error) => {
                ticket.finish(Err(Arc::new(copy(&error))));
                Err(error)
            }
            End::Panicked(panic) => {
                let told = Error::new(Code::CacheLoad, "the load panicked for another caller")
                    .why("its panic is in the log")
                    .fix("correct the loader");
                ticket.finish(Err(Arc::new(told)));
                resume_unwind(panic)
            }
        }
    }

    async fn lead(
        &self,
        key: &Arc<str>,
        tags: &Tags,
        load: Load<V>,
        away: bool,
        waits: Waits,
    ) -> End<V> {
        let (region, key) = (Arc::clone(&self.region), Arc::clone(key));
        let mut turn = Turn { region, key, seen: None, has_old: false };
        if away {
            turn.seen = self.region.alone();
        } else if let Some(value) = self.begin(&mut turn, tags, waits).await {
            return End::Value(value);
        }
        let begun = self.clock.now();
        let run = AssertUnwindSafe(async move { load().await }).catch_unwind();
        let ended = self.clock.timeout(self.options.load_timeout, run).await;
        let took = self.clock.now().saturating_duration_since(begun);
        self.stats.loaded(took, matches!(ended, Some(Ok(Ok(_)))));
        let value = match ended {
            Some(Ok(Ok(value))) => value.map(Arc::new),
            Some(Ok(Err(error))) => return End::Failed(error),
            Some(Err(panic)) => return End::Panicked(panic),
            None => {
                let what = format!("a load for the cache `{}` took too long", self.name);
                let limit = self.options.load_timeout;
                return End::Failed(
                    Error::new(Code::CacheLoad, what).why(format!("it had {limit:?}")),
                );
            }
        };
        self.settle(&mut turn, tags, value.as_ref()).await;
        End::Value(value)
    }

    /// Waits until nobody else is at it, within bounds; what is there by then is returned.
    async fn begin(&self, turn: &mut Turn, tags: &Tags, waits: Waits) -> Option<Option<Arc<V>>> {
        let options = &self.options;
        let life = options.ttl.max(options.negative) + options.stale;
        let bounds = Bounds { load: options.load_timeout, life };
        let deadline = self.clock.now() + LOCK.min(options.load_timeout);
        let mut pause = LOOK_MIN;
        loop {
            let begun = self.region.begin(&turn.key, tags, bounds).await;
            let Begun { found, seen, mine } = match begun {
                Ok(begun) => begun,
                Err(error) => {
                    self.trace(&error);
                    turn.seen = self.region.alone();
                    return None;
                }
            };
            // A lock, where there is one, is given back with `turn`.
            turn.seen = Some(seen);
            let hit = found.and_then(|found| self.hit(&found));
            turn.has_old = hit.is_some();
            match hit {
                Some(Hit { value, stale }) if !stale || (waits == Waits::No && !mine) => {
                    return Some(value);
                }
                _ => {}
            }
            // Past the deadline, it is loaded twice rather than not at all.
            if mine || self.clock.now() >= deadline {
                return None;
            }
            self.clock.sleep(self.rng.jittered(pause, 0.5)).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Keeps what was loaded, where the store takes it.
    async fn settle(&self, turn: &mut Turn, tags: &Tags, value: Option<&Arc<V>>) {
        let Some(seen) = &turn.seen else { return };
        let new = match value {
            Some(value) => match Entry::of(value) {
                Ok(entry) => self.new_entry(Arc::new(entry)),
                Err(error) => return self.trace(&error),
            },
            None if self.options.negative.is_zero() => {
                // An older value that is still served is none any more.
                if turn.has_old
                    && let Err(error) = self.region.invalidate(What::Key(&turn.key)).await
                {
                    self.trace(&error);
                }
                return;
            }
            None => New {
                entry: Arc::new(Entry::none()),
                fresh: self.rng.jittered(self.options.negative, self.options.jitter),
                stale: Duration::ZERO,
            },
        };
        let written = self.region.write(&turn.key, tags, seen, new).await;
        match written {
            Ok(taken) => {
                self.stats.refused(!taken);
                // The lock went with it.
                turn.seen = None;
            }
            Err(error) => self.trace(&error),
        }
    }
}

/// The same error for another caller. What was attached to it stays with the first.
fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.code(), error.what().to_owned())
        .fix(error.advice().to_owned())
        .retry(error.retryability());
    if let Some(why) = error.reason() {
        copy = copy.why(why.to_owned());
    }
    if let Some(place) = error.place() {
        copy = copy.at(place);
    }
    copy
}
