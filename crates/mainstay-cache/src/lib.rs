//! Cache-aside, sessions and leaderboards: in memory, in the database that is there anyway, or on Redis.
//!
//! ```
//! use std::time::Duration;
//! use mainstay_cache::{Cache, Memory};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let products: Cache<String> =
//!     Cache::builder("products", Memory::new()).ttl(Duration::from_secs(60)).build()?;
//! // However many ask at once, one of them loads.
//! let lamp = products.get_or_load("7", || async { Ok(Some("lamp".to_owned())) }).await?;
//! assert_eq!(lamp.as_deref().map(String::as_str), Some("lamp"));
//! products.invalidate("7").await?;
//! assert!(products.get("7").await.is_none());
//! # Ok::<(), mainstay_core::Error>(()) }).unwrap();
//! ```
//!
//! What it does not do: it knows no queries and no tables of yours; what is cached, and when that is
//! over, the program says.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("mainstay-cache needs at least one engine: enable `sqlite`, `postgres` or `mysql`");

pub mod board;
mod cache;
#[cfg(feature = "redis")]
mod redis;
mod schema;
pub mod session;
pub mod store;

pub use cache::{Builder, Cache, Value};
pub use schema::{install, schema};
pub use store::{Memory, Sql};
#[cfg(feature = "redis")]
pub use store::{Redis, Tiered};
