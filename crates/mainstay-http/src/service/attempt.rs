//! One attempt at one target: what is sent, until when, and what the target learns of it.

use std::sync::Arc;

use axum::http::HeaderValue;

use super::call::Order;
use super::failure::{Cause, Fault};
use super::log::Log;
use super::reply::Origin;
use super::target::Admission;
use super::transport::Message;
use super::{Inner, Reply, failure, observed};
use crate::scope::REQUEST_TIMEOUT;

pub(super) async fn attempt(
    inner: &Arc<Inner>,
    order: &Order,
    admission: Admission,
    log: &Log,
) -> std::result::Result<Reply, Fault> {
    if log.begin() == 1 {
        observed::attempt(&inner.name, "first");
    }
    let target = Arc::clone(&admission.target);
    let mut headers = order.headers.clone();
    let left = admission.until.saturating_duration_since(inner.clock.now());
    if let Ok(left) = HeaderValue::try_from(format!("{}ms", left.as_millis().max(1))) {
        headers.insert(REQUEST_TIMEOUT, left);
    }
    order.trace.child(&inner.rng).write(&mut headers);
    let message = Message { method: &order.method, path: &order.path, headers, body: &order.body };
    let exchange = inner.transport.exchange(&target, message);
    let answered = inner.clock.timeout_at(admission.until, exchange).await;
    let took = admission.took();
    let name = target.name.clone();
    let fault = |cause, note, reply, source| {
        Err(Fault { cause, target: target.name.clone(), took, note, reply, source })
    };
    let outcome = match answered {
        None => fault(Cause::Timeout, "no answer in time".to_owned(), None, None),
        Some(Err((cause, note, source))) => fault(cause, note, None, source),
        Some(Ok((status, headers, body))) => {
            let reply = Reply { status, headers, body, target: name, origin: Origin::default() };
            if failure::is_failure(status) {
                let note = reply.told().map_or(String::new(), |told| format!(" ({told})"));
                fault(Cause::Status(status), format!("{status}{note}"), Some(Box::new(reply)), None)
            } else {
                Ok(reply)
            }
        }
    };
    admission.ended(&outcome);
    match &outcome {
        Ok(_) => inner.hedging.iter().for_each(|hedging| hedging.took(took)),
        Err(fault) => log.failed(fault),
    }
    outcome
}
