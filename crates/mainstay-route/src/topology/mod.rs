//! One database, one with replicas, or shards of either, by configuration alone.
//!
//! [`Topology`] is what is written, in `mainstay.toml` or elsewhere:
//!
//! ```toml
//! [database]
//! url = "postgres://shop:secret@10.0.0.1/shop"
//! replicas = ["postgres://shop:secret@10.0.0.2/shop"]
//!
//! [shards]
//! watch = "1s"                         # how often the map is looked for in the catalogue
//! reference = ["products"]             # tables that each shard has all rows of
//!
//! [shards.tables]
//! orders = ["user_id"]                 # sharded tables, and the columns of their keys
//!
//! [shards.databases.a]
//! url = "postgres://shop:secret@10.0.1.1/shop"
//! replicas = ["postgres://shop:secret@10.0.1.2/shop"]
//!
//! [shards.databases.b]
//! url = "postgres://shop:secret@10.0.2.1/shop"
//! ```
//!
//! [`Databases`] is what it comes to. There are always [shards](Databases::shards): without any in the configuration it is
//! one, the main database. So a service that asks for the handle of a key works on all of these alike.
//!
//! It starts no server, and moves no row.

mod check;
mod config;
mod databases;
mod late;
mod open;
mod status;

pub use config::{Database, Sharding, Topology, urls};
pub use databases::Databases;
pub use status::Status;

/// What the database of `[database]` is called, among the shards as well where there are no others.
pub const MAIN: &str = "main";
