//! Load shedding: under a standing queue, those who have waited too long are refused at once, so
//! that the rest are served while their callers still want it.
//!
//! A queue that was empty within the last interval is a burst and is left alone. One that was not is
//! overload; serving it in order would give everybody a wait as long as the queue. This is CoDel
//! (Nichols and Jacobson, ACM Queue 2012) as servers use it ("Fail at Scale", ACM Queue 2015): while
//! overloaded, nobody is served who has waited for longer than the target.

use std::time::Duration;

use mainstay_core::clock::Tick;
use mainstay_core::scope::Priority;

use crate::waiters::Ticket;

/// A queue that stands for this many targets is overload: bursts are shorter.
const TARGETS_PER_INTERVAL: u32 = 4;

/// Whether the queue stands, and who is refused for it.
#[derive(Debug)]
pub(crate) struct Shedding {
    /// `None`: nobody is ever refused.
    target: Option<Duration>,
    /// Since when somebody has been waiting without a break.
    standing_since: Option<Tick>,
}

impl Shedding {
    pub(crate) fn new(target: Option<Duration>) -> Self {
        Self { target, standing_since: None }
    }

    /// Somebody joins the queue.
    pub(crate) fn joined(&mut self, now: Tick) {
        self.standing_since.get_or_insert(now);
    }

    /// Those who wait have waited for something else than their turn until now.
    pub(crate) fn begins_anew(&mut self, now: Tick) {
        self.standing_since = Some(now);
    }

    /// Nobody waits any more.
    pub(crate) fn emptied(&mut self) {
        self.standing_since = None;
    }

    pub(crate) fn is_overloaded(&self, now: Tick) -> bool {
        let since = self.standing_since.zip(self.target);
        since.is_some_and(|(since, target)| since + target * TARGETS_PER_INTERVAL <= now)
    }

    /// Whether one that waits, or is about to, is refused instead of served.
    pub(crate) fn refuses(&self, ticket: &Ticket, now: Tick) -> bool {
        let Some(target) = self.target else { return false };
        let waited = now.since(ticket.asked);
        match ticket.priority {
            Priority::High => false,
            Priority::Normal => waited > target && self.is_overloaded(now),
            Priority::Low => self.is_overloaded(now),
        }
    }
}
