//! What a pool does by itself, about once a second: it ends what is old or too long idle, asks what
//! lies idle whether it lives, keeps the minimum ready, and looks for leaks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mainstay_core::clock::Tick;
use mainstay_core::observe::{self, Removal};

use crate::manage::Manage;
use crate::options::Options;
use crate::shared::{Live, Shared};
use crate::tend::Tended;
use crate::{leak, tend};

/// How often it looks, at the least; a threshold is never passed by more.
const PERIOD_MAX: Duration = Duration::from_secs(1);
const PERIOD_MIN: Duration = Duration::from_millis(20);

/// Starts it: it ends with the pool. `first` is a connection that was opened before.
pub(crate) fn start<M: Manage>(shared: &Arc<Shared<M>>, first: Option<M::Connection>) {
    let now = shared.exact();
    if let Some(connection) = first {
        shared.hub.lock().connecting += 1;
        let opened = tend::Opened::new(shared, connection, 0, Duration::ZERO);
        tend::take_in(shared, opened, now);
    }
    tend::connect_as_needed(shared, now);
    let period = period(&shared.options);
    let clock = shared.clock.clone();
    let pool = LookedAfter(Arc::downgrade(shared));
    shared.runtime.spawn(async move {
        loop {
            clock.sleep(period).await;
            // What panics is a subscriber: the pool goes on.
            let look = AssertUnwindSafe(|| look_after(&pool.0));
            if let Ok(false) = catch_unwind(look) {
                return;
            }
        }
    });
}

/// A pool that somebody looks after. If that ends because the runtime does, nothing can be opened or
/// put right any more: the pool is closed, so that nobody waits for it.
struct LookedAfter<M: Manage>(Weak<Shared<M>>);

impl<M: Manage> Drop for LookedAfter<M> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.end();
        }
    }
}

fn period(options: &Options) -> Duration {
    let bounds = [
        options.max_lifetime,
        options.idle_timeout,
        options.keepalive,
        options.leak_after,
        options.transaction_idle_after,
    ];
    let shortest = bounds.into_iter().flatten().min();
    shortest.map_or(PERIOD_MAX, |d| d / 4).clamp(PERIOD_MIN, PERIOD_MAX)
}

fn look_after<M: Manage>(pool: &Weak<Shared<M>>) -> bool {
    let Some(shared) = pool.upgrade() else { return false };
    let now = shared.exact();
    if shared.hub.look().closed {
        return false;
    }
    sweep(&shared, now);
    tend::connect_as_needed(&shared, now);
    leak::look(&shared, now);
    shared.tallies.turn(now, || shared.counted(now));
    if shared.observer.is_active() {
        let status = shared.status();
        shared.observer.pool(&observe::Pool {
            pool: &shared.name,
            max_size: status.max_size,
            min_idle: shared.options.min_idle as usize,
            idle: status.idle,
            in_use: status.in_use,
            connecting: status.connecting,
            waiting: status.waiting,
        });
    }
    true
}

/// Goes through what is idle: what is over, idle for too long or one too many is closed, and some
/// of what has been silent for long are asked whether they live. What is left is again as it was.
pub(crate) fn sweep<M: Manage>(shared: &Arc<Shared<M>>, now: Tick) {
    let (mut gone, mut asked) = (Vec::new(), Vec::new());
    {
        let mut core = shared.hub.lock();
        let idle = core.take_idle();
        let mut spare = idle.len().saturating_sub(core.min_idle());
        let mut surplus = core.open.saturating_sub(core.max_size);
        // A few at a time: meanwhile they are not to be had.
        let asked_max = (idle.len() / 4).max(1);
        // The least recently used are last.
        for slot in idle.into_iter().rev() {
            let mut cell = shared.hub.slots.lock(slot);
            let Some(live) = cell.live.take() else { continue };
            let why = ends(shared, &live, now, spare > 0, surplus > 0);
            if let Some(why) = why {
                spare = spare.saturating_sub(1);
                surplus = surplus.saturating_sub(usize::from(why == Removal::Surplus));
                gone.push(Tended::new(shared, live, why));
            } else if asked.len() < asked_max && is_silent(shared, &live, now) {
                core.asked += 1;
                asked.push(Tended::new(shared, live, Removal::NoAnswer));
            } else {
                cell.live = Some(live);
                drop(cell);
                core.push_idle(slot);
            }
        }
    }
    // Each removes its own, whatever a subscriber does at another's end.
    drop(gone);
    asked.into_iter().for_each(tend::keep_alive);
}

fn ends<M: Manage>(
    shared: &Shared<M>,
    live: &Live<M::Connection>,
    now: Tick,
    is_spare: bool,
    is_surplus: bool,
) -> Option<Removal> {
    let idle = now.since(live.used);
    let too_long = shared.options.idle_timeout.is_some_and(|limit| limit <= idle);
    shared
        .is_over(live, now)
        .or(is_surplus.then_some(Removal::Surplus))
        .or((too_long && is_spare).then_some(Removal::Idle))
}

fn is_silent<M: Manage>(shared: &Shared<M>, live: &Live<M::Connection>, now: Tick) -> bool {
    let silent = now.since(live.answered);
    shared.options.keepalive.is_some_and(|limit| limit <= silent)
}
