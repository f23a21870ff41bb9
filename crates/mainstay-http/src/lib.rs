//! What a service on axum has around its handlers: each request's [scope and deadline](ScopeLayer),
//! the [address of its client](ClientAddress), [rate limits](RateLimitLayer), [versions](Versions) of its
//! API, errors as RFC 9457 [problems](Problem), [shedding](ShedLayer) where there is more to do than can be
//! done, and [tokens](TokenLayer) by which clients read what they wrote from replicas; and, with the feature `client`, calls to other services.
//!
//! Limits are counted by `mainstay-limit`, and what is served is served by axum.
//!
//! ```
//! use axum::{Router, routing::get};
//! use mainstay_http::{Key, RateLimitLayer, ScopeLayer, TrustedProxies};
//! use mainstay_limit::{Limits, Policy};
//!
//! # fn main() -> mainstay_core::Result<()> {
//! let policy: Policy = "100/min burst 20".parse()?;
//! let limits = RateLimitLayer::by(Limits::local(vec![policy.named("api")])?, Key::client())?;
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(limits)
//!     .layer(TrustedProxies::hops(1))
//!     .layer(ScopeLayer::new());
//! # let _ = app;
//! # Ok(()) }
//! ```
//!
//! The layer added last is the outermost: it sees a request first.
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `metrics` | the counters `mainstay.http.limited`, `mainstay.http.versions` and `mainstay.http.idempotent`, through the `metrics` crate | no |
//! | `db` | the module `idempotency`; problems made of violated constraints name the columns; a call to another service inside a transaction is a finding | no |
//! | `client` | `service`: calls to other services | no |
//! | `client-tls` | and over https | no |
//! | `openapi` | `openapi`: a document for each version and their viewer, by utoipa and Swagger UI | no |
//! | `openapi-diff` | of it what breaks between two documents alone, which takes no other crate | no |

mod client;
mod holding;
#[cfg(feature = "db")]
pub mod idempotency;
mod layered;
mod limit;
#[cfg(feature = "openapi-diff")]
pub mod openapi;
mod problem;
mod scope;
#[cfg(feature = "client")]
pub mod service;
mod shed;
mod token;
mod version;

pub use client::{ClientAddress, TrustedProxies, Trusting};
#[cfg(feature = "db")]
pub use idempotency::{IdempotencyLayer, Idempotent};
pub use limit::{Cors, Families, Key, RateLimit, RateLimitLayer};
pub use problem::{Answer, Problem};
pub use scope::{REQUEST_TIMEOUT, ScopeLayer, Scoped};
pub use shed::{ShedLayer, Shedding};
pub use token::{Carried, Carrying, TOKEN_HEADER, TokenLayer};
pub use version::{
    Announced, ApiVersion, Brownout, Change, Changes, Consumer, Contradiction, Lifted, Lowered,
    Reader, Release, Reply, Rise, Since, Source, Stage, Usage, UsageReport, Used, Version,
    Versioned, Versions, VersionsBuilder, Writer,
};
