//! Real servers for tests, and a fresh database for each test.
//!
//! Servers are started once per run: by `cargo xtask test`, which tells the test processes where
//! they are, or else by the first test of a process that asks. They end with whoever started them.
//! A server that can't be started fails the test and names the package to install; it is never
//! skipped in silence, save under `cargo xtask test --embedded`, which leaves the server tests out
//! by name.
//!
//! ```no_run
//! use mainstay_testkit::{Engine, Fresh};
//!
//! # async fn example() {
//! let database = Fresh::new(Engine::Postgres).await;
//! println!("{}", database.url());
//! # }
//! ```

mod broker;
mod cluster;
mod fresh;
mod proxy;
mod rig;
mod shards;

pub use broker::Broker;
pub use cluster::{Cluster, Member};
pub use fresh::{Engine, Fresh};
pub use proxy::{Proxy, Weather};
pub use rig::{Addresses, Rig, rig};
pub use shards::Shards;
