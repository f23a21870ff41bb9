//! Wake-ups: who waits for a queue is told when something was committed to it, in this process at
//! once, in others by PostgreSQL's NOTIFY.
//!
//! A wake-up may be lost and means nothing but "look": whoever waits looks now and then all the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::{Db, Engine};
use tokio::sync::Notify;

/// PostgreSQL's channel.
pub(crate) const CHANNEL: &str = "mainstay_jobs";
/// Between two NOTIFYs about the same: each takes a lock that all of the server's commits wait for.
const WINDOW: Duration = Duration::from_millis(5);

/// What somebody may wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    /// Something is ready in a queue.
    Queue(String),
    /// Something is to be run at a time that may be sooner than what was planned.
    Schedule,
    /// Events are to be given to their groups.
    Outbox,
    /// A job that runs is to be cancelled.
    Cancel,
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Of::Queue(name) => write!(f, "queue {name}"),
            Of::Schedule => f.write_str("schedule"),
            Of::Outbox => f.write_str("outbox"),
            Of::Cancel => f.write_str("cancel"),
        }
    }
}

impl Of {
    /// What [`Display`](fmt::Display) wrote.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "schedule" => Of::Schedule,
            "outbox" => Of::Outbox,
            "cancel" => Of::Cancel,
            other => Of::Queue(other.strip_prefix("queue ")?.to_owned()),
        })
    }
}

/// By the database's place and what is waited for.
type Key = (String, Of);

#[derive(Default)]
struct Registry {
    waiting: HashMap<Key, Vec<Weak<Notify>>>,
    /// What other processes were told within the window, and whether there was more.
    told: HashMap<Key, bool>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

fn registry<T>(f: impl FnOnce(&mut Registry) -> T) -> T {
    f(&mut REGISTRY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A wake-up call for `of`: one that comes while nobody waits is kept.
pub(crate) fn subscribe(db: &Db, of: &Of) -> Arc<Notify> {
    let notify = Arc::new(Notify::new());
    registry(|all| {
        let waiting = all.waiting.entry((db.place(), of.clone())).or_default();
        waiting.retain(|one| one.strong_count() > 0);
        waiting.push(Arc::downgrade(&notify));
    });
    notify
}

/// Wakes who waits in this process; tells whether there is anybody.
pub(crate) fn here(place: &str, of: &Of) {
    registry(|all| {
        let Some(waiting) = all.waiting.get_mut(&(place.to_owned(), of.clone())) else { return };
        waiting.retain(|one| match one.upgrade() {
            Some(notify) => {
                notify.notify_one();
                true
            }
            None => false,
        });
    });
}

/// Wakes everybody, once the open transaction is committed; at once where there is none.
pub(crate) async fn after_commit(db: &Db, of: Of) -> Result<()> {
    if !db.in_transaction() {
        now(db, &of);
        return Ok(());
    }
    let name = format!("mainstay jobs: wake {of}");
    db.after_commit_once(name, move |db| async move {
        now(&db, &of);
        Ok(())
    })
    .await
}

/// Wakes everybody.
pub(crate) fn now(db: &Db, of: &Of) {
    let place = db.place();
    here(&place, of);
    if db.engine() != Engine::Postgres {
        return;
    }
    let key = (place, of.clone());
    let first = registry(|all| match all.told.get_mut(&key) {
        Some(more) => {
            *more = true;
            false
        }
        None => {
            all.told.insert(key.clone(), false);
            true
        }
    });
    if first {
        tokio::spawn(tell(db.clone(), key));
    }
}

/// Removes the entry if the task is dropped with its runtime.
struct Telling {
    key: Key,
    over: bool,
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.over {
            registry(|all| all.told.remove(&self.key));
        }
    }
}

/// The first at once; what comes within the window after it together at its end.
async fn tell(db: Db, key: Key) {
    let mut telling = Telling { key, over: false };
    let clock = Clock::system();
    loop {
        // It writes nothing, so it need not wait for the disk.
        let said = db
            .query("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(telling.key.1.to_string())
            .execute()
            .await;
        if let Err(error) = said {
            tracing::debug!(code = %error.code(), "a wake-up was not sent: {error}");
        }
        clock.sleep(WINDOW).await;
        // Asked and given up under one lock, so that nothing falls in between.
        let more = registry(|all| {
            let more = all.told.get_mut(&telling.key).is_some_and(std::mem::take);
            if !more {
                all.told.remove(&telling.key);
            }
            more
        });
        if !more {
            telling.over = true;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for of in [Of::Queue("a b".to_owned()), Of::Schedule, Of::Outbox, Of::Cancel] {
            assert_eq!(Of::parse(&of.to_string()), Some(of));
        }
        assert_eq!(Of::parse("else"), None);
    }
}
