//! Rate limits: five algorithms and concurrency, in one process or on Redis, several decided together.
//!
//! A [`Limiter`] is one policy in this process: tens of nanoseconds a decision, no allocation, memory that
//! is fixed when it is made. [`Limits`] are several, decided all or nothing, here or across a fleet. There is
//! no HTTP here.

mod decision;
mod limiter;
mod limits;
mod log;
mod overrides;
mod parse;
mod policy;
#[cfg(feature = "redis")]
pub mod redis;
mod rule;
mod table;

pub use decision::{By, Decision, STACK_MAX, Verdict};
pub use limiter::{Limiter, Permit};
pub use limits::{Admission, Ask, Builder, Limits};
pub use policy::{OnFailure, Policy, Rule};
