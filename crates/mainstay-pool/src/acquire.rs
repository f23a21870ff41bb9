//! Getting a connection: the fast path, the wait, and the check of one that lay idle.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use mainstay_core::observe::{Checkout, Outcome};
use mainstay_core::scope::Scope;
use mainstay_core::{Error, Place, Result};

use crate::core::{Given, Got, Holder, Live};
use crate::lease::{Lease, Terms};
use crate::manage::Manage;
use crate::pool::Shared;
use crate::waiters::Key;
use crate::{report, tend};

pub(crate) async fn acquire<M: Manage>(shared: &Arc<Shared<M>>, place: Place) -> Result<Lease<M>> {
    let begun = shared.clock.now();
    let scope = Scope::current();
    let mut report = Unserved { shared, place, scope: scope.as_ref(), begun, told: false };
    match serve(shared, place, scope.as_ref(), begun).await {
        Ok(lease) => {
            report.told = true;
            drop(report);
            Ok(lease)
        }
        Err(error) => {
            report.tell(Outcome::Failed(&error));
            Err(error)
        }
    }
}

async fn serve<M: Manage>(
    shared: &Arc<Shared<M>>,
    place: Place,
    scope: Option<&Scope>,
    begun: Instant,
) -> Result<Lease<M>> {
    let limit = begun + shared.options.acquire_timeout;
    let deadline = scope.and_then(Scope::deadline).map_or(limit, |d| d.min(limit));
    let mut again = false;
    loop {
        let (live, now) = next(shared, begun, deadline, again)
            .await
            .map_err(|r| report::refused(shared, r, place, begun))?;
        let terms = Terms { place, scope: scope.cloned(), since: now, wait: now - begun };
        // From here on it is a lease, so that a drop at the await below returns it.
        if let Some(lease) = vet(shared, live, terms, deadline).await {
            return Ok(lease);
        }
        again = true;
    }
}

/// Why nothing was served.
pub(crate) enum Refused {
    TimedOut,
    Down(Arc<Error>),
    Full,
    Closed,
}

/// The next connection for this caller, and the time it was had. The clock is read again only
/// where time can have passed.
async fn next<M: Manage>(
    shared: &Arc<Shared<M>>,
    begun: Instant,
    deadline: Instant,
    again: bool,
) -> Result<(Live<M::Connection>, Instant), Refused> {
    let now = if again { shared.clock.now() } else { begun };
    if now > deadline {
        return Err(Refused::TimedOut);
    }
    let key = {
        let mut core = shared.lock();
        match core.acquire(&shared.options, now, again) {
            Got::Now(live) => return Ok((live, now)),
            Got::Wait(key) => key,
            Got::Down(error) => return Err(Refused::Down(error)),
            Got::Full => return Err(Refused::Full),
            Got::Closed => return Err(Refused::Closed),
        }
    };
    let wait = Wait { shared, key: Some(key) };
    tend::connect_as_needed(shared, now);
    match shared.clock.timeout_at(deadline, wait).await {
        Some(Given::Connection(live)) => Ok((live, shared.clock.now())),
        Some(Given::Down(error)) => Err(Refused::Down(error)),
        Some(Given::Closed) => Err(Refused::Closed),
        None => Err(Refused::TimedOut),
    }
}

/// Hands a connection out if it is neither expired nor, after a long idle time, dead.
async fn vet<M: Manage>(
    shared: &Arc<Shared<M>>,
    live: Live<M::Connection>,
    terms: Terms,
    deadline: Instant,
) -> Option<Lease<M>> {
    let now = terms.since;
    if live.expires.is_some_and(|at| at <= now) {
        shared.retire(live, now);
        return None;
    }
    let stale = now.saturating_duration_since(live.idle_since) > shared.options.validate_after;
    shared
        .lock()
        .hold(&live, Holder { place: terms.place, scope: terms.scope.clone(), since: terms.since });
    if !stale {
        return Some(Lease::new(Arc::clone(shared), live, terms));
    }
    let mut checked = Checked { shared, live: Some(live) };
    let connection = &mut checked.live.as_mut()?.connection;
    let answer = shared.manage.check(connection);
    let limit = deadline.min(now + shared.options.validation_timeout);
    let answer = shared.clock.timeout_at(limit, answer).await;
    let live = checked.live.take()?;
    match answer {
        Some(Ok(())) => Some(Lease::new(Arc::clone(shared), live, terms)),
        // Dead or silent.
        Some(Err(_)) | None => {
            shared.discard(live, shared.clock.now());
            None
        }
    }
}

/// A connection being asked whether it answers. If the asker is dropped it comes back as it is,
/// with the question under way.
struct Checked<'a, M: Manage> {
    shared: &'a Arc<Shared<M>>,
    live: Option<Live<M::Connection>>,
}

impl<M: Manage> Drop for Checked<'_, M> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.shared.take_back(live, self.shared.clock.now());
        }
    }
}

/// A place in the queue, left when dropped.
struct Wait<'a, M: Manage> {
    shared: &'a Arc<Shared<M>>,
    key: Option<Key>,
}

impl<M: Manage> Future for Wait<'_, M> {
    type Output = Given<M::Connection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = self.key.expect("not polled after it was ready");
        let given = self.shared.lock().waiters.poll(key, cx);
        if given.is_ready() {
            self.key = None;
        }
        given
    }
}

impl<M: Manage> Drop for Wait<'_, M> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let left = self.shared.lock().waiters.leave(key);
        if let Some(Given::Connection(live)) = left {
            self.shared.put(live, self.shared.clock.now());
        }
    }
}

/// Tells of a checkout that did not happen: in an error, or because its future was dropped.
struct Unserved<'a, M: Manage> {
    shared: &'a Arc<Shared<M>>,
    place: Place,
    scope: Option<&'a Scope>,
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
                place: self.place,
                scope: self.scope,
                wait: self.shared.clock.now() - self.begun,
                held: std::time::Duration::ZERO,
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
