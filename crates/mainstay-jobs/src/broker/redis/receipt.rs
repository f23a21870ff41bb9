//! A delivered message in our hands, and how it is settled. Each word about it is a script that looks
//! whether its consumer holds it still, and does nothing if not.

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Result};

use super::super::{Delivery, Message, Receipt};
use super::scripts::{Holder, Question};
use super::shelf::{Lease, Shelf, Slot};
use super::{Inner, WAIT, entry};

/// How long it is tried to give back what was dropped; it is claimed after that all the same.
const FAREWELL: Duration = Duration::from_secs(5);

/// A delivered message. Dropped unsettled, it goes back.
pub(super) struct Hold {
    inner: Arc<Inner>,
    holder: Arc<Holder>,
    lease: Lease,
    /// `None` once handed out.
    message: Option<Message>,
    settled: bool,
    slot: Slot,
}

impl Hold {
    /// Takes an entry that was delivered `deliveries` times since it was added.
    pub(super) fn of(
        inner: &Arc<Inner>,
        holder: &Arc<Holder>,
        shelf: &Arc<Shelf>,
        (id, fields, deliveries): (String, Vec<Vec<u8>>, u32),
    ) -> Self {
        let (message, before) = entry::read(fields);
        let (slot, lease) = shelf.slot(id.into(), deliveries.saturating_add(before).max(1));
        Self {
            inner: Arc::clone(inner),
            holder: Arc::clone(holder),
            lease,
            message: Some(message),
            settled: false,
            slot,
        }
    }

    pub(super) fn delivery(mut self) -> Delivery {
        Delivery {
            message: self.message.take().unwrap_or_default(),
            deliveries: self.lease.deliveries,
            receipt: Box::new(self),
        }
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease.clone()
    }

    pub(super) fn slot(&self) -> u64 {
        self.slot.number
    }

    pub(super) fn is_ours(&self) -> bool {
        self.lease.is_ours()
    }

    /// From now on nobody settles it but who called this; false where somebody has.
    fn settle(&mut self) -> bool {
        self.settled = true;
        self.lease.revoke()
    }
}

/// Puts a message back that was delivered `deliveries` times, in the background.
pub(super) fn give_back(inner: &Arc<Inner>, holder: &Arc<Holder>, id: Arc<str>, deliveries: u32) {
    let (asking, holder) = (Arc::clone(inner), Arc::clone(holder));
    inner.runtime.spawn(async move {
        let deadline = Clock::system().now() + FAREWELL;
        let again = holder.again(&id, 0, deliveries);
        if let Err(error) = asking.link.ask::<()>(&holder.keys.queue, deadline, &again).await {
            tracing::debug!(queue = holder.keys.queue, %error, "a message was not given back");
        }
    });
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.settled || !self.lease.revoke() {
            return;
        }
        // One that was never handed out was not delivered either.
        let deliveries = self.lease.deliveries - u32::from(self.message.is_some());
        give_back(&self.inner, &self.holder, Arc::clone(&self.lease.id), deliveries);
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold")
            .field("queue", &self.holder.keys.queue)
            .field("id", &self.lease.id)
            .field("deliveries", &self.lease.deliveries)
            .finish_non_exhaustive()
    }
}

impl Hold {
    /// Asks, for at most `limit`; whether it was answered. A queue that is gone has nothing to settle, and neither has one that
    /// can't be asked: the message is claimed by another.
    async fn ask(&self, limit: Duration, question: Question) -> Result<bool> {
        let queue = &self.holder.keys.queue;
        let deadline = Clock::system().now() + limit;
        match self.inner.link.ask::<()>(queue, deadline, &question).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.code(), Code::BrokerQueue | Code::BrokerDown) => {
                tracing::debug!(queue, %error, "a delivery was not settled: it comes again");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Receipt for Hold {
    fn ack(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            if !self.settle() {
                return Ok(());
            }
            self.ask(WAIT, self.holder.ack(&self.lease.id)).await.map(drop)
        })
    }

    fn again(mut self: Box<Self>, delay: Duration) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            if !self.settle() {
                return Ok(());
            }
            // A number that Lua and the score of a sorted set can hold: 285,000 years.
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).min(1 << 53);
            let again = self.holder.again(&self.lease.id, delay_ms, self.lease.deliveries);
            self.ask(WAIT, again).await.map(drop)
        })
    }

    fn dead(mut self: Box<Self>, reason: String) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            if !self.settle() {
                return Ok(());
            }
            self.ask(WAIT, self.holder.dead(&self.lease.id, &reason)).await.map(drop)
        })
    }

    fn keep(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if !self.is_ours() {
                return Ok(());
            }
            let since = Clock::system().now();
            if self.ask(FAREWELL, self.holder.keep(&[&self.lease.id])).await? {
                self.lease.heard(since);
            }
            Ok(())
        })
    }
}
