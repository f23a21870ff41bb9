//! What happened to each attempt of a call, and the error made of it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use mainstay_core::Error;
use mainstay_core::error::Retry;

use super::call::Order;
use super::failure::{Cause, Failure, Fault, Policy};
use super::reply::{Origin, stopped};
use super::{Inner, Reply};

/// Costs nothing while all goes well.
#[derive(Debug, Default)]
pub(super) struct Log {
    begun: AtomicU32,
    /// Some attempt may have got as far as being begun.
    asked: AtomicBool,
    lines: Mutex<Vec<String>>,
}

impl Log {
    /// The number of the attempt that begins.
    pub(super) fn begin(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn failed(&self, fault: &Fault) {
        if !fault.is_unbegun() {
            self.asked.store(true, Ordering::Relaxed);
        }
        let Fault { target, note, took, .. } = fault;
        let line = format!("{target}: {note}, after {} ms", took.as_millis());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The error of a call that `policy` stopped; `last` is its last failure, if it was begun.
    pub(super) fn error(
        &self,
        inner: &Inner,
        order: &Order,
        policy: Policy,
        last: Option<Fault>,
    ) -> Error {
        let target = match &last {
            Some(fault) => fault.target.clone(),
            None => inner.targets.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", "),
        };
        let code = last.as_ref().map_or(Cause::Connect, |fault| fault.cause).code(policy);
        let origin = self.origin(inner, order);
        let what = stopped(&origin, policy, &target);
        let mut error = Error::new(code, what).at(order.place);
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            error = error.note(line);
        }
        let (mut reply, mut source) = (None, None);
        if let Some(fault) = last {
            let origin = origin.clone();
            reply = fault.reply.map(|reply| Reply { origin, ..*reply });
            source = fault.source;
        }
        // Where nothing was begun nothing was done, and so it is where it may be done twice.
        if order.safe || !self.asked.load(Ordering::Relaxed) {
            error = error.retry(Retry::Later);
        }
        if let Some(source) = source {
            error = error.cause(source);
        }
        let Origin { service, attempts, .. } = origin;
        error.with_detail(Failure { policy, service, target, attempts, reply })
    }

    /// The call, as it stands.
    pub(super) fn origin(&self, inner: &Inner, order: &Order) -> Origin {
        let (service, Order { method, template, .. }) = (inner.name.clone(), order);
        let call = format!("{method} {service} {template}");
        Origin { call, service, attempts: self.begun.load(Ordering::Relaxed) }
    }
}
