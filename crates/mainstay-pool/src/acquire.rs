//! Getting a connection: the fast path, the wait, and the check of one that lay idle.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mainstay_core::clock::Tick;
use mainstay_core::observe::{Change, Checkout, Outcome, Removal};
use mainstay_core::scope::{Priority, Scope};
use mainstay_core::{Error, Place, Result};

use crate::activity::Activity;
use crate::core::{Given, Got};
use crate::holder::Holder;
use crate::lease::Lease;
use crate::manage::Manage;
use crate::nested::Asker;
use crate::shared::Shared;
use crate::slots::Popped;
use crate::waiters::{Key, Ticket};
use crate::{leak, report, tend};

/// Who asks, and from where.
pub(crate) struct Ask {
    pub(crate) place: Place,
    pub(crate) scope: Option<Scope>,
    pub(crate) asker: Asker,
}

/// Whether a connection may be handed out.
enum Verdict {
    Ready,
    /// It lay idle for so long that it is asked first.
    Stale,
    Over(Removal),
}

/// `beside` is how many connections of this pool the caller is known to keep while it waits, as far as
/// nobody else has counted them; `None` if it keeps none.
pub(crate) async fn acquire<M: Manage>(
    shared: &Arc<Shared<M>>,
    place: Place,
    beside: Option<usize>,
) -> Result<Lease<M>> {
    let ask = Ask { place, scope: Scope::current(), asker: Asker::current() };
    if beside.is_none() {
        leak::check_nested(shared, ask.asker, place, ask.scope.as_ref());
    }
    let mut had = None;
    if let Popped::Slot(slot) = shared.hub.slots.pop() {
        let (lease, verdict) = hold(shared, slot, &ask, shared.now(), Duration::ZERO);
        if matches!(verdict, Verdict::Ready) {
            return Ok(hand_out(shared, lease, &ask, Duration::ZERO));
        }
        had = Some((lease, verdict));
    }
    // Boxed, so that the futures of all who never wait stay small.
    Box::pin(wait(shared, ask, had, beside)).await
}

/// Counts the connections that one who waits keeps from everybody else.
struct Blocks<'a> {
    all: &'a AtomicUsize,
    held: usize,
}

impl<'a> Blocks<'a> {
    /// `None` if with these, every connection of the pool is held by somebody who waits: none could
    /// ever come free. Who would complete that is refused, and so the others go on.
    fn new(all: &'a AtomicUsize, held: usize, max_size: usize) -> Option<Self> {
        let more = |before| Some(before + held).filter(|all| *all < max_size);
        let counted = held == 0 || all.fetch_update(SeqCst, SeqCst, more).is_ok();
        counted.then(|| Self { all, held })
    }
}

impl Drop for Blocks<'_> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.all.fetch_sub(self.held, SeqCst);
        }
    }
}

/// As [`acquire`], where there is something to wait for.
async fn wait<M: Manage>(
    shared: &Arc<Shared<M>>,
    ask: Ask,
    had: Option<(Lease<M>, Verdict)>,
    beside: Option<usize>,
) -> Result<Lease<M>> {
    let begun = shared.clock.now();
    let mut unserved = Unserved { shared, ask: &ask, begun, told: false };
    let held = beside.unwrap_or(0);
    let max_size = shared.hub.look().max_size;
    let blocks = Blocks::new(&shared.blocked, held, max_size);
    let served = if blocks.is_none() && had.is_none() {
        Err(report::deadlocked(shared, held, &ask))
    } else {
        serve(shared, &ask, begun, had).await
    };
    match served {
        Ok((lease, queued)) => {
            unserved.told = true;
            let wait = shared.clock.now() - begun;
            if queued {
                shared.tallies.waited(wait);
            }
            Ok(hand_out(shared, lease, &ask, wait))
        }
        Err(error) => {
            unserved.tell(Outcome::Failed(&error));
            // A caller that tries again at once, in a loop, must not keep its thread from the tasks
            // that would end the failure.
            tokio::task::coop::consume_budget().await;
            Err(error)
        }
    }
}

fn hand_out<M: Manage>(
    shared: &Shared<M>,
    mut lease: Lease<M>,
    ask: &Ask,
    wait: Duration,
) -> Lease<M> {
    lease.live_mut().handed_out = true;
    if shared.observer.is_active() {
        let change = Change::Acquired { place: ask.place, scope: ask.scope.as_ref(), wait };
        shared.tell(Some(lease.id()), change);
    }
    lease
}

/// The wait, and the check of what it gives or what was `had` before, until one is good. Also tells
/// whether it had to queue.
async fn serve<M: Manage>(
    shared: &Arc<Shared<M>>,
    ask: &Ask,
    begun: Instant,
    mut had: Option<(Lease<M>, Verdict)>,
) -> Result<(Lease<M>, bool)> {
    let limit = begun + shared.options.acquire_timeout;
    let deadline = ask.scope.as_ref().and_then(Scope::deadline).map_or(limit, |d| d.min(limit));
    let priority = ask.scope.as_ref().map_or(Priority::Normal, Scope::priority);
    let ticket = Ticket { asked: begun.into(), priority };
    let (mut again, mut queued, mut now) = (false, false, begun);
    loop {
        if let Some((lease, verdict)) = had.take() {
            if let Some(lease) = vet(shared, lease, verdict, deadline).await {
                return Ok((lease, queued));
            }
            (again, now) = (true, shared.clock.now());
        }
        let slot;
        (slot, queued) = next(shared, ticket, now, deadline, again)
            .await
            .map_err(|refused| report::refused(shared, refused, ask, begun.into()))?;
        now = shared.clock.now();
        // By the same clock as its end: the coarse one's lag would be missing from the difference.
        let since = if shared.observer.is_active() { now.into() } else { shared.clock.coarse() };
        had = Some(hold(shared, slot, ask, since, now - begun));
    }
}

/// Why nothing was served.
pub(crate) enum Refused {
    TimedOut,
    Down(Arc<Error>),
    Full,
    Shed,
    Closed,
}

/// The slot of the next connection for this caller, and whether it had to queue for it.
async fn next<M: Manage>(
    shared: &Arc<Shared<M>>,
    ticket: Ticket,
    now: Instant,
    deadline: Instant,
    again: bool,
) -> Result<(u32, bool), Refused> {
    if now > deadline {
        return Err(Refused::TimedOut);
    }
    let wait = Wait { shared, ticket, now: now.into(), again, key: None };
    shared.clock.timeout_at(deadline, wait).await.unwrap_or(Err(Refused::TimedOut))
}

/// From here on the connection of `slot` is held by `ask`, and comes back by a drop.
fn hold<M: Manage>(
    shared: &Arc<Shared<M>>,
    slot: u32,
    ask: &Ask,
    now: Tick,
    wait: Duration,
) -> (Lease<M>, Verdict) {
    let mut cell = shared.hub.slots.lock(slot);
    let live = cell.live.take().expect("what is idle or given is in its slot");
    let home = Arc::clone(cell.home.as_ref().expect("an open connection has a way home"));
    cell.holder = Some(Holder {
        place: ask.place,
        scope: ask.scope.clone(),
        asker: ask.asker,
        since: now,
        wait,
        before: cell.activity.as_ref().map_or(0, Activity::begun),
        leak_told: false,
        idle_told: false,
    });
    drop(cell);
    shared.askers.enter(ask.asker, slot);
    let verdict = match shared.is_over(&live, now) {
        Some(why) => Verdict::Over(why),
        None if now.since(live.answered) > shared.options.validate_after => Verdict::Stale,
        None => Verdict::Ready,
    };
    (Lease::new(live, home), verdict)
}

/// The connection if it is good. Dropped at the await, the connection comes back as it is, with the
/// question under way.
async fn vet<M: Manage>(
    shared: &Arc<Shared<M>>,
    mut lease: Lease<M>,
    verdict: Verdict,
    deadline: Instant,
) -> Option<Lease<M>> {
    match verdict {
        Verdict::Ready => return Some(lease),
        Verdict::Over(why) => {
            lease.remove(why, shared.exact());
            return None;
        }
        Verdict::Stale => {}
    }
    let limit = deadline.min(shared.clock.now() + shared.options.validation_timeout);
    let answer = shared.manage.check(&mut lease);
    let answer = shared.clock.timeout_at(limit, answer).await;
    let now = shared.exact();
    if let Some(Ok(())) = answer {
        lease.live_mut().answered = now;
        return Some(lease);
    }
    // Dead or silent.
    lease.remove(Removal::NoAnswer, now);
    None
}

/// A place in the queue, taken at the first poll and left when dropped.
struct Wait<'a, M: Manage> {
    shared: &'a Arc<Shared<M>>,
    ticket: Ticket,
    /// When it joins: it is polled at once.
    now: Tick,
    again: bool,
    key: Option<Key>,
}

impl<M: Manage> Wait<'_, M> {
    fn join(&mut self, cx: &mut Context<'_>) -> Poll<Result<(u32, bool), Refused>> {
        let (got, connects, retry_at) = {
            let mut core = self.shared.hub.lock();
            let got = core.acquire(self.ticket, self.now, self.again, cx.waker());
            (got, core.begin_connects(self.now), core.retry_at())
        };
        tend::connect(self.shared, connects);
        tend::retry(self.shared, retry_at);
        Poll::Ready(match got {
            Got::Slot(slot) => Ok((slot, false)),
            Got::Wait(key) => {
                self.key = Some(key);
                return Poll::Pending;
            }
            Got::Down(error) => Err(Refused::Down(error)),
            Got::Full => Err(Refused::Full),
            Got::Shed => Err(Refused::Shed),
            Got::Closed => Err(Refused::Closed),
        })
    }
}

impl<M: Manage> Future for Wait<'_, M> {
    type Output = Result<(u32, bool), Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(key) = self.key else { return self.join(cx) };
        let given = self.shared.hub.lock().waiters.poll(key, cx);
        given.map(|given| {
            self.key = None;
            match given {
                Given::Slot(slot) => Ok((slot, true)),
                Given::Down(error) => Err(Refused::Down(error)),
                Given::Shed => Err(Refused::Shed),
                Given::Closed => Err(Refused::Closed),
            }
        })
    }
}

impl<M: Manage> Drop for Wait<'_, M> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let left = self.shared.hub.lock().waiters.leave(key);
        if let Some(Given::Slot(slot)) = left {
            self.shared.offer(slot, self.shared.exact());
        }
    }
}

/// Tells of a checkout that did not happen: in an error, or because its future was dropped.
struct Unserved<'a, M: Manage> {
    shared: &'a Arc<Shared<M>>,
    ask: &'a Ask,
    begun: Instant,
    told: bool,
}

impl<M: Manage> Unserved<'_, M> {
    fn tell(&mut self, outcome: Outcome<'_>) {
        self.told = true;
        if self.shared.observer.is_active() {
            self.shared.observer.checkout(&Checkout {
                pool: &self.shared.name,
                connection: None,
                place: self.ask.place,
                scope: self.ask.scope.as_ref(),
                wait: self.shared.clock.now() - self.begun,
                held: Duration::ZERO,
                outcome,
            });
        }
    }
}

impl<M: Manage> Drop for Unserved<'_, M> {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Outcome::Cancelled);
        }
    }
}
