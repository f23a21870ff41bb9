//! What every Mainstay crate shares: errors with codes, configuration with origins, one seam for
//! time and one for randomness, the scope a piece of work runs in, and the observation path.
//!
//! It does no I/O beyond reading its configuration, and knows neither a database nor HTTP.

pub mod clock;
pub mod config;
pub mod error;
pub mod inspect;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod observe;
pub mod once;
pub mod rng;
pub mod scope;
pub mod token;

pub use error::{Code, Error, Place, Result, Retry};
