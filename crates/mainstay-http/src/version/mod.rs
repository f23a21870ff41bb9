//! Versions of an API: where a request names one, how each of them lives and ends, and the typed
//! changes between them, so that a handler is written for the newest alone.
//!
//! No version is stored with an account; OpenAPI documents are written by `crate::openapi`.

mod admit;
mod announced;
mod brownout;
mod builder;
mod changes;
mod check;
#[cfg(feature = "openapi")]
pub(crate) mod described;
mod extract;
mod known;
mod layer;
mod lifted;
mod media;
mod number;
mod refusal;
mod release;
mod resolve;
mod seen;
mod service;
mod shown;
mod since;
mod source;
mod usage;
mod versions;
mod when;

pub use announced::Announced;
pub use brownout::{Brownout, Rise};
pub use builder::VersionsBuilder;
pub use changes::{Change, Changes, Reader, Writer};
pub use extract::{ApiVersion, Consumer};
pub use lifted::{Lifted, Lowered, Reply};
pub use number::Version;
pub use release::{Release, Stage};
pub use service::Versioned;
pub use since::Since;
pub use source::{Contradiction, Source};
pub use usage::{Usage, UsageReport, Used};
pub use versions::Versions;
