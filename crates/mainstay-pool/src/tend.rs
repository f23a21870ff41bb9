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
        shared.runtime.spawn(attempt.run(None));
    }
}

/// Has a task try again at `at`, which counts as the one that does.
pub(crate) fn retry<M: Manage>(shared: &Arc<Shared<M>>, at: Option<Tick>) {
    if let Some(at) = at {
        let attempt = Attempt { shared: Arc::clone(shared), stage: Stage::Waiting };
        shared.runtime.spawn(attempt.run(Some(at)));
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
    async fn run(mut self, mut wait_until: Option<Tick>) {
        loop {
            if let Some(at) = wait_until
                && !self.waits(at).await
            {
                return;
            }
            let begun = self.shared.exact();
            let generation = self.shared.generation.load(Relaxed);
            let outcome = self.connect().await;
            let now = self.shared.exact();
            let took = now.since(begun);
            match outcome {
                Ok(connection) => {
                    let opened = Opened::new(&self.shared, connection, generation, took);
                    self.stage = Stage::Over;
                    take_in(&self.shared, opened, now);
                    connect_as_needed(&self.shared, now);
                    return;
                }
                Err(error) => {
                    wait_until = self.failed(error, took, now);
                    if wait_until.is_none() {
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

    /// Tells the waiters where nothing else can serve them. Returns when to try again, while anybody
    /// asks.
    fn failed(&mut self, error: Error, took: Duration, now: Tick) -> Option<Tick> {
        tracing::debug!(pool = &*self.shared.name, %error, "connect failed");
        let error = Arc::new(error);
        let (woken, retry_at) = {
            let mut core = self.shared.hub.lock();
            let woken = core.connect_failed(&error, now);
            (woken, core.retry_at())
        };
        self.stage = if retry_at.is_some() { Stage::Waiting } else { Stage::Over };
        woken.wake();
        self.shared.gone.notify_waiters();
        self.shared.tell(None, Change::OpenFailed { error: &error, took });
        retry_at
    }

    /// Waits until `at`; whether to connect then.
    async fn waits(&mut self, at: Tick) -> bool {
        self.shared.clock.sleep_until(at.instant()).await;
        let again = self.shared.hub.lock().begin_retry();
        self.stage = if again { Stage::Connecting } else { Stage::Over };
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

/// A connection that was just opened.
pub(crate) struct Opened<C> {
    connection: C,
    activity: Activity,
    generation: u32,
    took: Duration,
}

impl<C> Opened<C> {
    pub(crate) fn new<M: Manage<Connection = C>>(
        shared: &Shared<M>,
        mut connection: C,
        generation: u32,
        took: Duration,
    ) -> Self {
        let activity = Activity::new(shared.clock.clone());
        shared.manage.attach(&mut connection, activity.clone());
        Self { connection, activity, generation, took }
    }
}

/// A connection that is counted in `connecting` becomes one of the pool's.
pub(crate) fn take_in<M: Manage>(
    shared: &Arc<Shared<M>>,
    opened: Opened<M::Connection>,
    now: Tick,
) {
    let Opened { connection, activity, generation, took } = opened;
    let lifetime = shared.options.max_lifetime;
    let expires = lifetime.map(|lifetime| shared.lifetimes.end(now, lifetime));
    let (slot, open) = {
        let mut core = shared.hub.lock();
        (core.connected(now), core.open)
    };
    let id = next_id();
    let live = Box::new(Live {
        connection,
        id,
        slot,
        generation,
        opened: now,
        expires,
        used: now,
        answered: now,
        handed_out: false,
    });
    shared.tallies.opened(took, open);
    if let Some(why) = shared.is_over(&live, now) {
        // The pool was cleared while it was being opened.
        shared.remove(live, why, now);
    } else {
        let mut cell = shared.hub.slots.lock(slot);
        cell.id = id;
        cell.activity = Some(activity);
        cell.live = Some(live);
        cell.home = Some(Arc::new(Home(Arc::clone(shared))));
        drop(cell);
        shared.offer(slot, now);
    }
    // Told last: a subscriber that panics must not keep the place.
    shared.tell(Some(id), Change::Opened { took });
}

/// Puts a dirty connection right within `recover_timeout`, or discards it. It counts as in use
/// until then.
pub(crate) fn recover<M: Manage>(shared: &Arc<Shared<M>>, live: Box<Live<M::Connection>>) {
    let mut work = Tended::new(shared, live, Removal::NotRecovered);
    shared.runtime.spawn(async move {
        let Some(live) = work.live.as_mut() else { return };
        let limit = work.shared.options.recover_timeout;
        let recovery = work.shared.manage.recover(&mut live.connection);
        if let Some(Ok(())) = work.shared.clock.timeout(limit, recovery).await {
            let now = work.shared.exact();
            work.is_well_since(now);
        }
    });
}

/// Asks one that has lain idle, and is counted in `asked`, whether it still answers.
pub(crate) fn keep_alive<M: Manage>(work: Tended<M>) {
    let mut work = Asked(work);
    let runtime = work.0.shared.runtime.clone();
    runtime.spawn(async move {
        let work = &mut work.0;
        let Some(live) = work.live.as_mut() else { return };
        let used = live.used;
        let limit = work.shared.options.validation_timeout;
        let answer = work.shared.manage.check(&mut live.connection);
        if let Some(Ok(())) = work.shared.clock.timeout(limit, answer).await {
            // Nobody has used it: for the idle timeout nothing has changed.
            work.is_well_since(used);
        }
    });
}

/// One that is counted in `asked`, until dropped.
struct Asked<M: Manage>(Tended<M>);

impl<M: Manage> Drop for Asked<M> {
    fn drop(&mut self) {
        self.0.shared.hub.lock().asked -= 1;
    }
}

/// A connection in the hands of the pool itself: when it is dropped, the connection is removed.
pub(crate) struct Tended<M: Manage> {
    shared: Arc<Shared<M>>,
    live: Option<Box<Live<M::Connection>>>,
    otherwise: Removal,
}

impl<M: Manage> Tended<M> {
    pub(crate) fn new(
        shared: &Arc<Shared<M>>,
        live: Box<Live<M::Connection>>,
        otherwise: Removal,
    ) -> Self {
        Self { shared: Arc::clone(shared), live: Some(live), otherwise }
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
            self.shared.remove(live, self.otherwise, self.shared.exact());
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
