//! Replicas: one primary and what follows it, behind one handle.
//!
//! Each server has a prober, with a connection of its own, that says what the server is and how far it has come. Reads go
//! to a replica that is fresh enough; a write notes its position, so that later reads of the same request see it.
//!
//! It promotes nobody: that is done by who runs the servers, and followed here.

mod cluster;
mod inspect;
mod node;
mod own;
mod pending;
mod probe;
mod router;
mod samples;
mod settings;

pub use cluster::{Cluster, ServerStatus};
pub use mainstay_core::token::{Position, Token};
pub use node::Role;
pub use router::Freshness;
pub(crate) use router::Router;
pub use settings::{Builder, Settings};
