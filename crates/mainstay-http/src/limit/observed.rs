//! What is told to operators: a line at debug for each denial, and a counter with the feature
//! `metrics`. Keys are told to nobody.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `mainstay.http.limited` | counter | `policy`; `outcome`: denied, shadowed, or failed where the store did not answer |

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use mainstay_limit::{Policy, Verdict};

use super::is_blind;

pub(super) fn tell(policies: &[Policy], verdict: &Verdict, parts: &Parts) {
    for (policy, decision) in policies.iter().zip(verdict.decisions()) {
        let outcome = match decision {
            d if d.shadowed => "shadowed",
            d if d.allowed => continue,
            d if is_blind(policy, d) => "failed",
            _ => "denied",
        };
        let route = parts.extensions.get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
        let (name, method) = (policy.name(), &parts.method);
        tracing::debug!(policy = name, outcome, %method, route, by = ?decision.by, "rate limited");
        #[cfg(feature = "metrics")]
        metrics::counter!("mainstay.http.limited", "policy" => name.to_owned(), "outcome" => outcome)
            .increment(1);
    }
}
