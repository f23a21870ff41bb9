//! What is told to operators: a line at debug for each refusal, and a counter with the feature
//! `metrics`.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `mainstay.http.shed` | counter | `priority`; `reason`: load or expired |

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use mainstay_core::scope::Priority;

use super::gate::Refused;

pub(super) fn tell(refused: Refused, priority: Priority, parts: &Parts) {
    let reason = match refused {
        Refused::Load => "load",
        Refused::Expired => "expired",
    };
    let urgency = match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    };
    let route = parts.extensions.get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    tracing::debug!(reason, priority = urgency, method = %parts.method, route, "shed");
    #[cfg(feature = "metrics")]
    metrics::counter!("mainstay.http.shed", "priority" => urgency, "reason" => reason).increment(1);
}
