//! A connection in somebody's hands. Dropping it is how it comes back; there is no other way to
//! end it, so none can be kept from the pool by an early return, a panic or a cancelled task.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::Place;
use mainstay_core::observe::{Checkout, Outcome};
use mainstay_core::scope::Scope;

use crate::core::Live;
use crate::manage::Manage;
use crate::pool::Shared;

/// A connection on loan. Its drop does no I/O and never blocks: a clean connection goes to the next
/// waiter or becomes idle, a dirty one is put right by a task of the pool, a broken one is dropped.
pub struct Lease<M: Manage> {
    /// Present until the drop.
    live: Option<Live<M::Connection>>,
    shared: Arc<Shared<M>>,
    pub(crate) terms: Terms,
}

/// Who has it, since when and after what wait.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) place: Place,
    pub(crate) scope: Option<Scope>,
    pub(crate) since: Instant,
    pub(crate) wait: Duration,
}

impl<M: Manage> Lease<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, live: Live<M::Connection>, terms: Terms) -> Self {
        Self { live: Some(live), shared, terms }
    }

    /// How long its holder waited for it.
    pub fn wait(&self) -> Duration {
        self.terms.wait
    }

    /// Since when its holder has it.
    pub fn since(&self) -> Instant {
        self.terms.since
    }

    /// The connection's number, unique within the process.
    pub fn id(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.id)
    }
}

impl<M: Manage> Deref for Lease<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.live.as_ref().expect("present until the drop").connection
    }
}

impl<M: Manage> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.live.as_mut().expect("present until the drop").connection
    }
}

impl<M: Manage> Drop for Lease<M> {
    fn drop(&mut self) {
        let Some(live) = self.live.take() else { return };
        let (id, now) = (live.id, self.shared.clock.now());
        self.shared.take_back(live, now);
        // Told last: a subscriber that panics must not keep the connection.
        if self.shared.observer.is_active() {
            self.shared.observer.checkout(&Checkout {
                pool: &self.shared.name,
                connection: Some(id),
                place: self.terms.place,
                scope: self.terms.scope.as_ref(),
                wait: self.terms.wait,
                held: now.saturating_duration_since(self.terms.since),
                outcome: Outcome::Done,
            });
        }
    }
}

impl<M: Manage> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("connection", &self.id())
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
