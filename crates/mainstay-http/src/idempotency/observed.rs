//! What is told to operators: a line at debug, and a counter with the feature `metrics`. Keys are told to
//! nobody.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `mainstay.http.idempotent` | counter | `outcome`: first, replayed, in_flight, other_payload, missing, malformed, failed |

use mainstay_core::Code;

use crate::problem::Problem;

pub(super) fn tell(outcome: &'static str) {
    tracing::debug!(outcome, "idempotency key");
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay.http.idempotent", "outcome" => outcome).increment(1);
}

pub(super) fn refused(problem: &Problem) {
    tell(match problem.code() {
        Code::HttpKeyMissing => "missing",
        Code::HttpKeyMalformed => "malformed",
        Code::HttpKeyInFlight => "in_flight",
        Code::HttpKeyPayload => "other_payload",
        _ => "failed",
    });
}
