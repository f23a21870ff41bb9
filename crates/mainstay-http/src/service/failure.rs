//! How a call failed: what the target did, and which policy then stopped the call.

use std::time::Duration;

use axum::BoxError;
use axum::http::StatusCode;
use mainstay_core::Code;

use super::Reply;

/// What stopped a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The breakers of all targets are open.
    Breaker,
    /// All places among the calls under way are taken.
    Bulkhead,
    /// Another attempt was allowed, and the budget of retries is used up.
    Budget,
    /// No time is left.
    Deadline,
    /// As many attempts were made as may be.
    Attempts,
    /// It may have been done already, and it is neither idempotent nor has it a key.
    Safety,
    /// The answer is final: it would be the same again.
    Answer,
}

impl Policy {
    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Breaker => "breaker",
            Policy::Bulkhead => "bulkhead",
            Policy::Budget => "budget",
            Policy::Deadline => "deadline",
            Policy::Attempts => "attempts",
            Policy::Safety => "safety",
            Policy::Answer => "answer",
        }
    }

    pub(super) fn told(self) -> &'static str {
        match self {
            Policy::Breaker => "the breaker is open",
            Policy::Bulkhead => "the bulkhead is full",
            Policy::Budget => "the retry budget is used up",
            Policy::Deadline => "no time is left",
            Policy::Attempts => "no attempts are left",
            Policy::Safety => "it is not safe to repeat",
            Policy::Answer => "the answer is final",
        }
    }
}

/// The [detail](mainstay_core::Error::detail) of a failed call's error.
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_http::service::{Failure, Policy};
///
/// fn is_hopeless(error: &Error) -> bool {
///     error.detail::<Failure>().is_some_and(|failure| failure.policy == Policy::Breaker)
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What stopped it.
    pub policy: Policy,
    /// The service's name.
    pub service: String,
    /// The last target that was asked; where none was, one that would have been.
    pub target: String,
    /// How many attempts were begun, hedges among them.
    pub attempts: u32,
    /// The last answer, if there was one that could be understood.
    pub reply: Option<Reply>,
}

/// How one attempt failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) cause: Cause,
    pub(super) target: String,
    pub(super) took: Duration,
    /// In a few words.
    pub(super) note: String,
    pub(super) reply: Option<Box<Reply>>,
    pub(super) source: Option<BoxError>,
}

impl Fault {
    /// Whether it is certain that nothing was begun there.
    pub(super) fn is_unbegun(&self) -> bool {
        let refused = || self.reply.as_ref().is_some_and(|reply| reply.is_unbegun());
        matches!(self.cause, Cause::Connect | Cause::Untrusted) || refused()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no connection: nothing was asked.
    Connect,
    /// It can't show that it is who it should be: nothing was asked.
    Untrusted,
    /// The connection broke off.
    Lost,
    /// There was no answer in time.
    Timeout,
    /// It is not HTTP.
    Garbage,
    /// The body is larger than allowed.
    TooLarge,
    /// It redirects for too long, or to somewhere else.
    Redirects,
    /// A status that says that the target failed.
    Status(StatusCode),
}

impl Cause {
    /// Whether the same might go well the next time; `safe` says that it may be done twice.
    pub(super) fn next(self, safe: bool) -> Result<(), Policy> {
        match self {
            Cause::Connect => Ok(()),
            Cause::Untrusted | Cause::TooLarge | Cause::Redirects => Err(Policy::Answer),
            Cause::Status(status) if !is_passing(status) => Err(Policy::Answer),
            _ if safe => Ok(()),
            _ => Err(Policy::Safety),
        }
    }

    pub(super) fn code(self, stopped: Policy) -> Code {
        match (stopped, self) {
            (Policy::Breaker, _) => Code::ServiceBreaker,
            (Policy::Bulkhead, _) => Code::ServiceBulkhead,
            (Policy::Budget, _) => Code::ServiceBudget,
            (Policy::Deadline, _) | (_, Cause::Timeout) => Code::ServiceDeadline,
            (_, Cause::Garbage | Cause::TooLarge | Cause::Redirects) => Code::ServiceAnswer,
            (_, Cause::Connect | Cause::Untrusted | Cause::Lost | Cause::Status(_)) => {
                Code::ServiceFailed
            }
        }
    }
}

/// A status that says that it may go well in a moment.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// A status that is the target's failure, not an answer.
pub(super) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
