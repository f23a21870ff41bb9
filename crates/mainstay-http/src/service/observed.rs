//! What is told to operators of calls to other services: lines in the log, and metrics with the
//! feature `metrics`.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `http.client.request.duration` | histogram, a call with all its attempts | `service`, `http.request.method`, `http.route`; `error.type`: the code where it failed |
//! | `mainstay.service.attempts` | counter | `service`, `kind`: first, retry or hedge |
//! | `mainstay.service.stopped` | counter | `service`, `policy` |
//! | `mainstay.service.breaker` | counter, of its changes | `service`, `target`, `state` |

use std::time::Duration;

use mainstay_core::Error;

use super::breaker::State;
use super::call::Order;
use super::failure::Failure;
use super::target::told;

pub(super) fn breaker(service: &str, target: &str, state: State) {
    let state = told(state);
    tracing::warn!(service, target, state, "breaker");
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay.service.breaker",
        "service" => service.to_owned(), "target" => target.to_owned(), "state" => state)
    .increment(1);
}

pub(super) fn attempt(service: &str, kind: &'static str) {
    tracing::trace!(service, kind, "attempt");
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay.service.attempts", "service" => service.to_owned(), "kind" => kind)
        .increment(1);
}

pub(super) fn call(service: &str, order: &Order, took: Duration, error: Option<&Error>) {
    let policy = error.and_then(|e| e.detail::<Failure>()).map(|failure| failure.policy.as_str());
    if let (Some(error), Some(policy)) = (error, policy) {
        let route = &*order.template;
        tracing::debug!(service, method = %order.method, route, policy, ?took, "{error}");
    }
    #[cfg(feature = "metrics")]
    measure(service, order, took, error, policy);
}

#[cfg(feature = "metrics")]
fn measure(
    service: &str,
    order: &Order,
    took: Duration,
    error: Option<&Error>,
    policy: Option<&'static str>,
) {
    let mut labels = vec![
        metrics::Label::new("service", service.to_owned()),
        metrics::Label::new("http.request.method", order.method.to_string()),
        metrics::Label::new("http.route", order.template.to_string()),
    ];
    if let Some(error) = error {
        labels.push(metrics::Label::new("error.type", error.code().as_str()));
    }
    metrics::histogram!("http.client.request.duration", labels).record(took.as_secs_f64());
    if let Some(policy) = policy {
        metrics::counter!("mainstay.service.stopped",
            "service" => service.to_owned(), "policy" => policy)
        .increment(1);
    }
}
