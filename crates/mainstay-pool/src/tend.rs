//! The pool's own tasks: opening connections, putting dirty ones right, upkeep.
//!
//! Each holds its count in a guard, so that a panic or the end of the runtime gives it back.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mainstay_core::observe::next_id;
use mainstay_core::{Code, Error, Result};

use crate::core::Live;
use crate::manage::Manage;
use crate::pool::Shared;

/// Up to this part of a lifetime is cut off at random.
const LIFETIME_JITTER: f64 = 0.25;
/// How long a good-bye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts as many connects as the bounds allow and somebody needs.
pub(crate) fn connect_as_needed<M: Manage>(shared: &Arc<Shared<M>>, now: Instant) {
    let begun = shared.lock().begin_connects(&shared.options, now);
    for _ in 0..begun {
        let attempt = Attempt { shared: Arc::clone(shared), settled: false };
        shared.runtime.spawn(attempt.run());
    }
}

/// A connect under way: counted in `connecting` until it is settled or dropped.
struct Attempt<M: Manage> {
    shared: Arc<Shared<M>>,
    settled: bool,
}

impl<M: Manage> Attempt<M> {
    async fn run(mut self) {
        let outcome = self.connect().await;
        let now = self.shared.clock.now();
        match outcome {
            Ok(connection) => self.succeeded(connection, now),
            Err(error) => self.failed(error, now).await,
        }
    }

    async fn connect(&self) -> Result<M::Connection> {
        let limit = self.shared.options.connect_timeout;
        let connect = self.shared.manage.connect();
        self.shared.clock.timeout(limit, connect).await.unwrap_or_else(|| {
            Err(Error::new(Code::Unreachable, format!("no connection was made within {limit:?}")))
        })
    }

    fn succeeded(&mut self, connection: M::Connection, now: Instant) {
        take_in(&self.shared, connection, now);
        self.settled = true;
        connect_as_needed(&self.shared, now);
    }

    /// Tells the waiters where nothing else can serve them, and tries again where they wait on.
    async fn failed(&mut self, error: Error, now: Instant) {
        tracing::debug!(pool = &*self.shared.name, %error, "connect failed");
        self.settled = true;
        let (wakers, retry_at) = {
            let mut core = self.shared.lock();
            let wakers = core.connect_failed(&Arc::new(error), now);
            let waiting = core.waiters.len() > 0;
            (wakers, core.failure.as_ref().filter(|_| waiting).map(|f| f.until))
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
        self.shared.gone.notify_waiters();
        if let Some(at) = retry_at {
            self.shared.clock.sleep_until(at).await;
            connect_as_needed(&self.shared, self.shared.clock.now());
        }
    }
}

impl<M: Manage> Drop for Attempt<M> {
    fn drop(&mut self) {
        if !self.settled {
            let error = Error::new(Code::Unreachable, "the attempt to connect was abandoned");
            let now = self.shared.clock.now();
            let wakers = self.shared.lock().connect_failed(&Arc::new(error), now);
            wakers.into_iter().for_each(std::task::Waker::wake);
            self.shared.gone.notify_waiters();
        }
    }
}

/// A connection that is counted in `connecting` becomes one of the pool's.
fn take_in<M: Manage>(shared: &Arc<Shared<M>>, connection: M::Connection, now: Instant) {
    let lifetime = shared.options.max_lifetime;
    let expires = lifetime.map(|l| now + shared.rng.jittered(l, LIFETIME_JITTER));
    let live = shared.lock().connected(connection, next_id(), expires, now);
    shared.put(live, now);
}

/// Puts a dirty connection right within `recover_timeout`, or discards it. It counts as in use
/// until then.
pub(crate) fn recover<M: Manage>(shared: &Arc<Shared<M>>, live: Live<M::Connection>) {
    let mut work = Recovery { shared: Arc::clone(shared), live: Some(live) };
    shared.runtime.spawn(async move {
        let Some(live) = work.live.as_mut() else { return };
        let limit = work.shared.options.recover_timeout;
        let recovery = work.shared.manage.recover(&mut live.connection);
        if let Some(Ok(())) = work.shared.clock.timeout(limit, recovery).await
            && let Some(mut live) = work.live.take()
        {
            let now = work.shared.clock.now();
            live.idle_since = now;
            work.shared.put(live, now);
        }
    });
}

struct Recovery<M: Manage> {
    shared: Arc<Shared<M>>,
    live: Option<Live<M::Connection>>,
}

impl<M: Manage> Drop for Recovery<M> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.shared.discard(live, self.shared.clock.now());
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

/// Starts the upkeep: it ends with the pool. `first` is a connection that was opened before.
pub(crate) fn start<M: Manage>(shared: &Arc<Shared<M>>, first: Option<M::Connection>) {
    if let Some(connection) = first {
        shared.lock().connecting += 1;
        take_in(shared, connection, shared.clock.now());
    }
    connect_as_needed(shared, shared.clock.now());
    let options = &shared.options;
    let shortest = [options.max_lifetime, options.idle_timeout].into_iter().flatten().min();
    let period = shortest
        .map_or(Duration::from_secs(1), |d| d / 4)
        .clamp(Duration::from_millis(20), Duration::from_secs(1));
    let clock = shared.clock.clone();
    let pool = Arc::downgrade(shared);
    shared.runtime.spawn(async move {
        loop {
            clock.sleep(period).await;
            if !upkeep(&pool) {
                return;
            }
        }
    });
}

fn upkeep<M: Manage>(pool: &Weak<Shared<M>>) -> bool {
    let Some(shared) = pool.upgrade() else { return false };
    let now = shared.clock.now();
    let gone = {
        let mut core = shared.lock();
        if core.closed {
            return false;
        }
        core.reap(&shared.options, now)
    };
    for connection in gone {
        say_goodbye(&shared, connection);
    }
    connect_as_needed(&shared, now);
    true
}
