//! One address of a service: how many calls are under way to it, its breaker, its record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};
use mainstay_core::{Code, Error, Result};

use super::Inner;
use super::breaker::{Breaker, Circuit, Pass, State, Verdict};
use super::failure::{Cause, Fault, Policy};
use super::outlier::Record;
use super::reply::Reply;
use crate::shed::adaptive::{Adaptive, Sample};

#[derive(Debug)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    /// What its paths begin with; empty, or such as `/api`.
    pub(super) prefix: String,
    /// As people are told it.
    pub(super) name: String,
    state: Mutex<Standing>,
}

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) limit: Adaptive,
    pub(super) in_flight: usize,
    pub(super) circuit: Option<Circuit>,
    record: Record,
}

impl Target {
    /// Errors: HTTP-004.
    pub(super) fn new(
        url: &str,
        limit: Adaptive,
        breaker: Option<Breaker>,
        now: Instant,
    ) -> Result<Self> {
        // The text itself may hold a password.
        let wrong = |why: &'static str| {
            Error::new(Code::HttpOption, "the address of a service can't be used").why(why)
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(wrong("it is not whole: write http://HOST:PORT"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user or password: send them in a header"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query: that belongs to each call"));
        }
        if *scheme != Scheme::HTTP && !(cfg!(feature = "client-tls") && *scheme == Scheme::HTTPS) {
            return Err(wrong("it is not http; https takes the feature `client-tls`"));
        }
        let state = Standing {
            limit,
            in_flight: 0,
            circuit: breaker.map(|breaker| Circuit::new(breaker, now)),
            record: Record::default(),
        };
        Ok(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            name: format!("{scheme}://{authority}"),
            state: Mutex::new(state),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Standing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_out(&self, now: Instant) -> bool {
        self.state().record.is_out(now)
    }

    /// Notes that a hedge overtook it.
    pub(super) fn overtaken(&self, inner: &Inner) {
        self.state().record.bad(&inner.outliers, inner.clock.now());
    }

    /// A place among the calls under way, past the breaker. `until` is when the call gives up.
    pub(super) fn admit(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        until: Instant,
    ) -> std::result::Result<Admission, Policy> {
        let now = inner.clock.now();
        let mut state = self.state();
        if state.in_flight >= state.limit.limit() {
            return Err(Policy::Bulkhead);
        }
        let pass = match &mut state.circuit {
            Some(circuit) => Some(circuit.enter(now).ok_or(Policy::Breaker)?),
            None => None,
        };
        state.in_flight += 1;
        // One that had hardly a chance says nothing about the target.
        let fair = until.saturating_duration_since(now) >= state.limit.usual() * 2;
        drop(state);
        let (inner, target) = (Arc::clone(inner), Arc::clone(self));
        Ok(Admission { inner, target, pass, begun: now, until, fair, learnt: None })
    }
}

/// A call under way. Dropped, it gives everything back, and the target learns how it ended.
#[derive(Debug)]
pub(super) struct Admission {
    inner: Arc<Inner>,
    pub(super) target: Arc<Target>,
    pass: Option<Pass>,
    pub(super) begun: Instant,
    pub(super) until: Instant,
    fair: bool,
    learnt: Option<(Verdict, Sample)>,
}

impl Admission {
    /// How long it has been under way.
    pub(super) fn took(&self) -> Duration {
        self.inner.clock.now().saturating_duration_since(self.begun)
    }

    pub(super) fn ended(mut self, outcome: &std::result::Result<Reply, Fault>) {
        let took = self.took();
        self.learnt = Some(match outcome {
            Ok(_) => (Verdict::Good, Sample::Took(took)),
            Err(fault) => match fault.cause {
                Cause::Timeout => self.timed_out(),
                Cause::Connect | Cause::Untrusted | Cause::Lost | Cause::Garbage => {
                    (Verdict::Bad, Sample::Nothing)
                }
                Cause::TooLarge | Cause::Redirects => (Verdict::Good, Sample::Took(took)),
                Cause::Status(status) => match status.as_u16() {
                    429 => (Verdict::Good, Sample::Overload),
                    501 => (Verdict::Good, Sample::Took(took)),
                    503 | 504 => (Verdict::Bad, Sample::Overload),
                    _ => (Verdict::Bad, Sample::Took(took)),
                },
            },
        });
    }

    fn timed_out(&self) -> (Verdict, Sample) {
        if self.fair {
            (Verdict::Bad, Sample::Overload)
        } else {
            (Verdict::Unknown, Sample::Nothing)
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let now = self.inner.clock.now();
        let (verdict, sample) = match self.learnt {
            Some(learnt) => learnt,
            // Whoever dropped it did so because its time was over.
            None if self.until <= now => self.timed_out(),
            None => (Verdict::Unknown, Sample::Nothing),
        };
        let inner = &self.inner;
        let mut state = self.target.state();
        let in_flight = state.in_flight;
        state.limit.learn(sample, in_flight);
        state.in_flight -= 1;
        match verdict {
            Verdict::Good => state.record.good(now),
            Verdict::Bad => state.record.bad(&inner.outliers, now),
            Verdict::Unknown => {}
        }
        if let (Some(circuit), Some(pass)) = (&mut state.circuit, self.pass) {
            let was = circuit.state();
            circuit.learn(pass, verdict, now, inner.open_for());
            let is = circuit.state();
            drop(state);
            if std::mem::discriminant(&was) != std::mem::discriminant(&is) {
                super::observed::breaker(&inner.name, &self.target.name, is);
            }
        } else {
            drop(state);
        }
        inner.freed.notify_one();
    }
}

/// As people are told a breaker's state.
pub(super) fn told(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::Open { .. } => "open",
        State::HalfOpen { .. } => "half open",
    }
}
