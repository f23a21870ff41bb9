//! A connection in somebody's hands. Dropping it is how it comes back; there is no other way to
//! end it, so none can be kept from the pool by an early return, a panic or a cancelled task.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use mainstay_core::clock::Tick;
use mainstay_core::observe::Removal;

use crate::manage::Manage;
use crate::shared::{Home, Live};

/// A connection on loan. Its drop does no I/O and never blocks: a clean connection goes to the next
/// waiter or becomes idle, a dirty one is put right by a task of the pool, a broken one is dropped.
/// It may be dropped on any thread, also after the runtime has ended.
pub struct Lease<M: Manage> {
    /// Present until the drop.
    live: Option<Box<Live<M::Connection>>>,
    home: Arc<Home<M>>,
}

impl<M: Manage> Lease<M> {
    pub(crate) fn new(live: Box<Live<M::Connection>>, home: Arc<Home<M>>) -> Self {
        Self { live: Some(live), home }
    }

    /// The connection's number, unique within the process.
    pub fn id(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.id)
    }

    pub(crate) fn live(&self) -> &Live<M::Connection> {
        self.live.as_ref().expect("present until the drop")
    }

    pub(crate) fn live_mut(&mut self) -> &mut Live<M::Connection> {
        self.live.as_mut().expect("present until the drop")
    }

    /// Gets rid of it: before anybody was given it, or because it is not wanted any more.
    pub(crate) fn remove(mut self, why: Removal, now: Tick) {
        if let Some(live) = self.live.take() {
            self.home.0.release(live.slot, now);
            self.home.0.remove(live, why, now);
        }
    }
}

impl<M: Manage> Deref for Lease<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        &self.live().connection
    }
}

impl<M: Manage> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.live_mut().connection
    }
}

impl<M: Manage> Drop for Lease<M> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.home.0.take_back(live);
        }
    }
}

impl<M: Manage> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("connection", &self.id()).finish_non_exhaustive()
    }
}
