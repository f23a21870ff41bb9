//! A connection pool that is fair, bounded and correct when futures are dropped, generic over what
//! it pools. It knows no database.
//!
//! - Waiters are served first come, first served; idle connections last in, first out, so that a
//!   pool that is too large shrinks.
//! - Neither [`acquire`](Pool::acquire) nor the return of a [`Lease`] holds a lock across an await,
//!   and a return does no I/O: what is dirty is put right by a task of the pool, within a bound.
//! - Connections are opened by tasks of the pool, a few at a time, and go to whoever waits longest;
//!   a returned connection overtakes one that is still being opened.
//!
//! ```
//! use mainstay_pool::{Condition, Manage, Options, Pool};
//!
//! struct Numbers;
//! impl Manage for Numbers {
//!     type Connection = u64;
//!     async fn connect(&self) -> mainstay_core::Result<u64> { Ok(7) }
//!     async fn check(&self, _: &mut u64) -> mainstay_core::Result<()> { Ok(()) }
//!     fn condition(&self, _: &u64) -> Condition { Condition::Clean }
//!     async fn recover(&self, _: &mut u64) -> mainstay_core::Result<()> { Ok(()) }
//!     async fn close(&self, _: u64) {}
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let pool = Pool::builder(Numbers).options(Options { max_size: 2, ..Options::default() }).build()?;
//! let lease = pool.acquire().await?;
//! assert_eq!(*lease, 7);
//! # Ok::<(), mainstay_core::Error>(()) }).unwrap();
//! ```

mod acquire;
mod activity;
mod advice;
mod builder;
mod core;
mod holder;
mod inspect;
mod leak;
mod lease;
mod lifetime;
mod manage;
mod nested;
mod options;
mod pool;
mod report;
mod shared;
mod shed;
mod slots;
mod sync;
mod tend;
#[cfg(test)]
mod tests;
mod upkeep;
mod usage;
mod waiters;

pub use activity::{Activity, What};
pub use advice::{Advice, Server};
pub use builder::Builder;
pub use holder::InUse;
pub use lease::Lease;
pub use manage::{Condition, Manage};
pub use options::Options;
pub use pool::{Pool, Status};
pub use usage::Usage;
