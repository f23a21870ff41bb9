//! Rate limits around routes: who is counted, what is told, and what a refused caller gets.
//!
//! What is counted and how is `mainstay-limit`'s.

mod cors;
mod headers;
pub(crate) mod key;
mod layer;
mod observed;
mod refusal;
mod service;

pub use cors::Cors;
pub use headers::Families;
pub use key::Key;
#[cfg(feature = "db")]
pub(crate) use layer::IPV6_PREFIX;
pub use layer::RateLimitLayer;
pub(crate) use layer::is_preflight;
pub use service::RateLimit;

use mainstay_limit::{By, Decision, OnFailure, Policy};

/// The store did not answer, and what was decided meanwhile counted nothing.
fn is_blind(policy: &Policy, decision: &Decision) -> bool {
    decision.by == By::Failure && policy.fails() != OnFailure::Local
}
