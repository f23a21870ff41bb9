//! The data backbone of a Rust service: one [`Db`] handle over embedded SQLite, PostgreSQL and
//! MySQL/MariaDB, with a pool, transactions, configuration and observation.
//!
//! ```
//! use mainstay::prelude::*;
//!
//! #[derive(FromRow)]
//! struct User {
//!     id: i64,
//!     name: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> mainstay::Result<()> {
//! let db = Db::connect("sqlite::memory:").await?;
//! db.query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").execute().await?;
//! db.transaction(|tx| async move {
//!     tx.query("INSERT INTO users (name) VALUES ($1)").bind("Ada").execute().await?;
//!     Ok(())
//! }).await?;
//! let user: User = db.query("SELECT id, name FROM users").one().await?;
//! assert_eq!((user.id, user.name.as_str()), (1, "Ada"));
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `sqlite` | SQLite, built in | yes |
//! | `postgres` | PostgreSQL | no |
//! | `mysql` | MySQL and MariaDB | no |
//! | `metrics` | `mainstay::metrics::Metrics`, a subscriber that measures through the `metrics` crate | no |
//! | `migrate` | [`migrate`], schema migrations | no |
//! | `jobs` | [`jobs`], background jobs, schedules, events and sagas | no |
//! | `rabbitmq`, `nats` | brokers that carry the queues of jobs; each implies `jobs` | no |
//! | `limit` | [`limit`], rate limits | no |
//! | `cache` | [`cache`], cache-aside, sessions and leaderboards | no |
//! | `load` | [`load`], batching loaders and eager loading | no |
//! | `route` | `mainstay::route`, replicas, shards, and transactions over several databases | no |
//! | `doctor` | [`doctor`], which names the classic failures while they happen | no |
//! | `http` | [`http`], layers for axum: request scope, deadlines, limits, shedding, idempotency keys; implies `limit` | no |
//! | `client` | `http::service`, calls to other services; implies `http` | no |
//! | `openapi` | `http::openapi`, OpenAPI documents for each version of an API; implies `http` | no |
//! | `redis` | Redis, for what is there of `jobs`, `limit` and `cache` | no |
//! | `local` | `postgres+local:PATH`, a private PostgreSQL from installed binaries; implies `postgres` | no |
//!
//! The derive of [`FromRow`] and macros such as `sqlx::query!` are sqlx's: a crate that uses them
//! names `sqlx` 0.9 among its own dependencies, with `default-features = false`.

mod settings;

#[cfg(feature = "cache")]
pub use mainstay_cache as cache;
pub use mainstay_core::clock;
pub use mainstay_core::config;
pub use mainstay_core::inspect;
#[cfg(feature = "metrics")]
pub use mainstay_core::metrics;
pub use mainstay_core::observe;
pub use mainstay_core::rng;
pub use mainstay_core::scope;
pub use mainstay_core::token;
pub use mainstay_core::{Code, Error, Place, Result, Retry};
pub use mainstay_db as db;
pub use mainstay_db::{
    AdvisoryLock, Conflict, Db, Deadlock, Durability, Engine, FromRow, Isolation, Propagation,
    RetryPolicy, Violation, ViolationKind, network_call,
};
#[cfg(feature = "doctor")]
pub use mainstay_doctor as doctor;
#[cfg(feature = "http")]
pub use mainstay_http as http;
#[cfg(feature = "jobs")]
pub use mainstay_jobs as jobs;
#[cfg(feature = "limit")]
pub use mainstay_limit as limit;
#[cfg(feature = "load")]
pub use mainstay_load as load;
#[cfg(feature = "migrate")]
pub use mainstay_migrate as migrate;
pub use mainstay_pool as pool;
#[cfg(feature = "route")]
pub use mainstay_route as route;
pub use settings::{Database, Settings};

/// What most files of a service want: `use mainstay::prelude::*`.
pub mod prelude {
    pub use mainstay_core::{Code, Error, Result};
    pub use mainstay_db::{Db, FromRow, Isolation, Propagation, SqlxResultExt};
    #[cfg(feature = "jobs")]
    pub use mainstay_jobs::{Context, Event, Job, Jobs, Worker};
}
