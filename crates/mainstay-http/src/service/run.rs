//! A call with all its attempts: retries one after another, hedges side by side.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use mainstay_core::Result;

use super::attempt::attempt;
use super::call::Order;
use super::failure::{Fault, Policy};
use super::log::Log;
use super::target::{Admission, Target};
use super::{Inner, Reply, observed};

/// With less than this left nothing could be done in time, nor written into the header.
const LEAST: Duration = Duration::from_millis(1);
/// Retry-After is believed up to this.
const AFTER_MAX: u64 = 3600;

/// Why a round of attempts came to nothing.
enum Trouble {
    /// Nobody was asked.
    Refused(Policy),
    Failed(Fault),
}

pub(super) async fn call(inner: &Arc<Inner>, order: &Order) -> Result<Reply> {
    let log = Log::default();
    inner.budget.called(inner.clock.now());
    let outcome = attempts(inner, order, &log).await;
    let outcome = outcome.map(|reply| Reply { origin: log.origin(inner, order), ..reply });
    let took = inner.clock.now().saturating_duration_since(order.begun);
    observed::call(&inner.name, order, took, outcome.as_ref().err());
    outcome
}

async fn attempts(inner: &Arc<Inner>, order: &Order, log: &Log) -> Result<Reply> {
    let mut last: Option<(Fault, Arc<Target>)> = None;
    for next in 2.. {
        let avoid = last.as_ref().map(|(_, target)| target);
        let (trouble, asked) = match round(inner, order, avoid, log).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        let fault = match trouble {
            Trouble::Refused(policy) => {
                let fault = last.map(|(fault, _)| fault);
                if fault.is_some() {
                    inner.budget.give_back(inner.clock.now());
                }
                return Err(log.error(inner, order, policy, fault));
            }
            Trouble::Failed(fault) => fault,
        };
        match may_go_on(inner, order, &fault, next) {
            Ok(wait) => inner.clock.sleep(wait).await,
            Err(policy) => return Err(log.error(inner, order, policy, Some(fault))),
        }
        last = asked.map(|target| (fault, target));
        observed::attempt(&inner.name, "retry");
    }
    Err(log.error(inner, order, Policy::Attempts, last.map(|(fault, _)| fault)))
}

/// How long to wait before attempt `next`, or what forbids it. The budget is asked last: what is
/// forbidden anyhow costs nothing.
fn may_go_on(
    inner: &Inner,
    order: &Order,
    fault: &Fault,
    next: u32,
) -> std::result::Result<Duration, Policy> {
    let now = inner.clock.now();
    let left = order.deadline.saturating_duration_since(now);
    if left < LEAST {
        return Err(Policy::Deadline);
    }
    fault.cause.next(order.safe || fault.is_unbegun())?;
    if next > inner.attempts {
        return Err(Policy::Attempts);
    }
    let asked = fault.reply.as_deref().and_then(retry_after).unwrap_or_default();
    let wait = inner.backoff.before(next, &inner.rng).max(asked);
    if wait + LEAST > left {
        return Err(Policy::Deadline);
    }
    if inner.budget.take(now) { Ok(wait) } else { Err(Policy::Budget) }
}

/// In seconds; a date is not looked at.
fn retry_after(reply: &Reply) -> Option<Duration> {
    let seconds: u64 = reply.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(AFTER_MAX)))
}

type Round = std::result::Result<Reply, (Trouble, Option<Arc<Target>>)>;

/// One attempt and, if it is slow, another beside it.
async fn round(inner: &Arc<Inner>, order: &Order, avoid: Option<&Arc<Target>>, log: &Log) -> Round {
    let refused = |policy| (Trouble::Refused(policy), None);
    let now = inner.clock.now();
    if order.deadline.saturating_duration_since(now) < LEAST {
        return Err(refused(Policy::Deadline));
    }
    let admitted = inner.admit(avoid, inner.until(order), order.deadline).await;
    let admission = admitted.map_err(refused)?;
    let asked = Arc::clone(&admission.target);
    let failed = |fault| (Trouble::Failed(fault), Some(Arc::clone(&asked)));
    let mut first = pin!(attempt(inner, order, admission, log));
    let hedging = inner.hedging.as_ref().filter(|_| order.safe);
    let Some(delay) = hedging.and_then(|hedging| hedging.delay()) else {
        return first.await.map_err(failed);
    };
    if let Some(early) = inner.clock.timeout(delay, &mut first).await {
        return early.map_err(failed);
    }
    let Some(other) = inner.hedge(order, &asked) else { return first.await.map_err(failed) };
    observed::attempt(&inner.name, "hedge");
    let mut second = pin!(attempt(inner, order, other, log));
    let outcome = tokio::select! {
        biased;
        one = &mut first => match one {
            Ok(reply) => Ok(reply),
            Err(_) => second.await,
        },
        two = &mut second => match two {
            Ok(reply) => {
                asked.overtaken(inner);
                Ok(reply)
            }
            Err(_) => first.await,
        },
    };
    outcome.map_err(failed)
}

impl Inner {
    /// When an attempt that begins now gives up.
    fn until(&self, order: &Order) -> std::time::Instant {
        let own = self.attempt_timeout.map(|within| self.clock.now() + within);
        own.map_or(order.deadline, |own| own.min(order.deadline))
    }

    /// A place for a second attempt beside one at `asked`, within the budget.
    fn hedge(self: &Arc<Self>, order: &Order, asked: &Arc<Target>) -> Option<Admission> {
        let until = self.until(order);
        let now = self.clock.now();
        if until.saturating_duration_since(now) < LEAST || !self.budget.take(now) {
            return None;
        }
        let admission = self.try_admit(Some(asked), until).ok();
        if admission.is_none() {
            self.budget.give_back(now);
        }
        admission
    }
}
