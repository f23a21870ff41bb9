//! The pool's own tasks but for the upkeep: opening connections, putting dirty ones right, saying
//! good-bye.
//!
//! Each holds its count in a guard, so that a panic or the end of the runtime gives it back.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_core::clock::Tick;
use mainstay_core::observe::{Change, Removal, next_id};
use mainstay_core::{Code, Error, Result};

use crate::activity::Activity;
use crate::manage::Manage;
use crate::shared::{Home, Live, Shared};

/// How long a good-bye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts as many connects as the bounds allow and somebody needs.
pub(crate) fn connect_as_needed<M: Manage>(shared: &Arc<Shared<M>>, now: Tick) {
    let begun = shared.hub.lock().begin_connects(now);
    connect(shared, begun);
}

/// Starts so many connects, which are counted already.
pub(crate) fn connect<M: Manage>(shared: &Arc<Shared<M>>, count: usize) {
    for _ in 0..count {
        let attempt = Attempt { shared: Arc::clone(shared), stage: Stage::Connecting };
        shared.runtime.spawn(attempt.run());
    }
}

/// A connect under way, and the tries that follow a failure of it.
struct Attempt<M: Manage> {
    shared: Arc<Shared<M>>,
    stage: Stage,
}

/// What is to be given back if the attempt is dropped.
#[derive(PartialEq, Eq)]
enum Stage {
    /// Counted in `connecting`.
    Connecting,
    /// The one who will try again.
    Waiting,
    Over,
}

impl<M: Manage> Attempt<M> {
    async fn run(mut self) {
        loop {
            let begun = self.shared.exact();
            let generation = self.shared.generation.load(Relaxed);
            let outcome = self.connect().await;
            let now = self.shared.exact();
            let took = now.since(begun);
            match outcome {
                Ok(connection) => {
                    self.stage = Stage::Over;
                    take_in(&self.shared, connection, generation, took, now);
                    connect_as_needed(&self.shared, now);
                    return;
                }
                Err(error) => {
                    if !self.failed(error, took, now).await {
                        return;
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<M::Connection> {
        let limit = self.shared.options.connect_timeout;
        let connect = self.shared.manage.connect();
        self.shared.clock.timeout(limit, connect).await.unwrap_or_else(|| {
            Err(Error::new(Code::Unreachable, format!("no connection was made within {limit:?}")))
        })
    }

    /// Tells the waiters where nothing else can serve them. Waits, and returns whether to try
    /// again, while anybody asks.
    async fn failed(&mut self, error: Error, took: Duration, now: Tick) -> bool {
        tracing::debug!(pool = &*self.shared.name, %error, "connect failed");
        self.shared.tell(None, Change::OpenFailed { error: &error, took });
        self.stage = Stage::Over;
        let (woken, retry_at) = {
            let mut core = self.shared.hub.lock();
            let woken = core.connect_failed(&Arc::new(error), now);
            (woken, core.retry_at())
        };
        woken.wake();
        self.shared.gone.notify_waiters();
        let Some(at) = retry_at else { return false };
        self.stage = Stage::Waiting;
        self.shared.clock.sleep_until(at.instant()).await;
        let mut core = self.shared.hub.lock();
        let again = core.begin_retry();
        if again {
            self.stage = Stage::Connecting;
        } else {
            core.no_retry();
            self.stage = Stage::Over;
        }
        again
    }
}

impl<M: Manage> Drop for Attempt<M> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Connecting => {
                let error = Error::new(Code::Unreachable, "the attempt to connect was abandoned");
                let now = self.shared.exact();
                let woken = self.shared.hub.lock().connect_failed(&Arc::new(error), now);
                woken.wake();
                self.shared.gone.notify_waiters();
            }
            Stage::Waiting => self.shared.hub.lock().no_retry(),
            Stage::Over => {}
        }
    }
}

/// A connection that is counted in `connecting` becomes one of the pool's.
pub(crate) fn take_in<M: Manage>(
    shared: &Arc<Shared<M>>,
    mut connection: M::Connection,
    generation: u32,
    took: Duration,
    now: Tick,
) {
    let lifetime = shared.options.max_lifetime;
    let expires = lifetime.map(|lifetime| shared.lifetimes.end(now, lifetime));
    let (slot, open) = {
        let mut core = shared.hub.lock();
        (core.connected(), core.open)
    };
    let id = next_id();
    let activity = Activity::new(shared.clock.clone());
    shared.manage.attach(&mut connection, activity.clone());
    let (opened, used, answered) = (now, now, now);
    let live = Box::new(Live {
        connection,
        id,
        slot,
        generation,
        opened,
        expires,
        used,
        answered,
        handed_out: false,
    });
    shared.tallies.opened(took, open);
    shared.tell(Some(id), Change::Opened { took });
    if let Some(why) = shared.is_over(&live, now) {
        // The pool was cleared while it was being opened.
        shared.remove(live, why, now);
        return;
    }
    {
        let mut cell = shared.hub.slots.lock(slot);
        cell.id = id;
        cell.activity = Some(activity);
        cell.live = Some(live);
        cell.home = Some(Arc::new(Home(Arc::clone(shared))));
    }
    shared.offer(slot, now);
}

/// Puts a dirty connection right within `recover_timeout`, or discards it. It counts as in use
/// until then.
pub(crate) fn recover<M: Manage>(shared: &Arc<Shared<M>>, live: Box<Live<M::Connection>>) {
    let mut work =
        Tended { shared: Arc::clone(shared), live: Some(live), failing: Removal::NotRecovered };
    shared.runtime.spawn(async move {
        let Some(live) = work.live.as_mut() else { return };
        let limit = work.shared.options.recover_timeout;
        let recovery = work.shared.manage.recover(&mut live.connection);
        if let Some(Ok(())) = work.shared.clock.timeout(limit, recovery).await {
            work.is_well();
        }
    });
}

/// Asks one that has lain idle whether it still answers. It counts as in use until then.
pub(crate) fn keep_alive<M: Manage>(shared: &Arc<Shared<M>>, live: Box<Live<M::Connection>>) {
    let used = live.used;
    let mut work =
        Tended { shared: Arc::clone(shared), live: Some(live), failing: Removal::NoAnswer };
    shared.runtime.spawn(async move {
        let Some(live) = work.live.as_mut() else { return };
        let limit = work.shared.options.validation_timeout;
        let answer = work.shared.manage.check(&mut live.connection);
        if let Some(Ok(())) = work.shared.clock.timeout(limit, answer).await {
            // Nobody has used it: for the idle timeout nothing has changed.
            work.is_well_since(used);
        }
    });
}

/// A connection in the hands of the pool itself: gone when it is dropped.
struct Tended<M: Manage> {
    shared: Arc<Shared<M>>,
    live: Option<Box<Live<M::Connection>>>,
    failing: Removal,
}

impl<M: Manage> Tended<M> {
    fn is_well(&mut self) {
        let now = self.shared.exact();
        self.is_well_since(now);
    }

    fn is_well_since(&mut self, used: Tick) {
        let Some(mut live) = self.live.take() else { return };
        let now = self.shared.exact();
        if let Some(why) = self.shared.is_over(&live, now) {
            self.shared.remove(live, why, now);
            return;
        }
        (live.used, live.answered) = (used, now);
        let slot = live.slot;
        self.shared.hub.slots.lock(slot).live = Some(live);
        self.shared.offer(slot, now);
    }
}

impl<M: Manage> Drop for Tended<M> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.shared.remove(live, self.failing, self.shared.exact());
        }
    }
}

/// Closes a connection politely, off the caller's task.
pub(crate) fn say_goodbye<M: Manage>(shared: &Arc<Shared<M>>, connection: M::Connection) {
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        shared.clock.timeout(CLOSE_TIMEOUT, shared.manage.close(connection)).await;
    });
}
