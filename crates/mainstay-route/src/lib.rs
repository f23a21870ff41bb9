//! Replicas and shards: the same `Db`, many machines.
//!
//! A [`Cluster`] is a primary and its replicas: reads go to a replica that is fresh enough, and what may write to the
//! primary; [`classify()`] tells the two apart. [`Shards`] is one logical database over several, by key. [`TwoPhase`] commits
//! over several databases, or over none. A [`Topology`] is all of it as a configuration, and [`Databases`] what comes of it.
//!
//! It is no cluster of its own: replication, failover and storage are the engines'.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("mainstay-route needs at least one engine: enable `sqlite`, `postgres` or `mysql`");

pub mod classify;
mod create;
pub mod replica;
pub mod shard;
pub mod topology;
pub mod two_phase;

pub use classify::{Classifier, Decision, Where, classify};
pub use replica::{Cluster, Freshness, Role, ServerStatus, Token};
pub use shard::Shards;
pub use topology::{Databases, Topology};
pub use two_phase::TwoPhase;
