//! Shards: one logical database over several.
//!
//! A [`Map`] says where each key is, and [`Shards`] gives the [`Db`](mainstay_db::Db) of a key: all that a `Db`
//! can do, a shard can. `Shards` itself takes no statement, so that one without a key does not compile; who wants
//! all shards says so, with [`scatter`](Shards::scatter), [`each`](Shards::each) or
//! [`everywhere`](Shards::everywhere).
//!
//! ```
//! use mainstay_db::Db;
//! use mainstay_route::shard::{Map, Shards};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! # let url = |name: &str| format!("sqlite:{}/{name}.db", folder.path().display());
//! let shards = Shards::builder(Map::even(["a", "b"])?)
//!     .shard("a", Db::connect(&url("a")).await?)
//!     .shard("b", Db::connect(&url("b")).await?)
//!     .build()?;
//!
//! shards
//!     .each(|_, db| async move { db.script("CREATE TABLE orders (id BLOB, user_id INTEGER, cents INTEGER)").await })
//!     .run()
//!     .await?;
//! for user in 1..=9_i64 {
//!     let id = shards.id(&user)?;
//!     let db = shards.of(&user)?;
//!     db.query("INSERT INTO orders VALUES ($1, $2, $3)").bind(id).bind(user).bind(user * 100).execute().await?;
//! }
//!
//! let best = shards
//!     .scatter()
//!     .query("SELECT user_id, cents FROM orders ORDER BY cents DESC LIMIT $1")
//!     .bind(2)
//!     .all::<(i64, i64)>()
//!     .await?;
//! assert_eq!(best.rows, [(9, 900), (8, 800)]);
//! # Ok::<(), mainstay_db::Error>(()) }).unwrap();
//! ```
//!
//! A statement without a key is refused by the compiler:
//!
//! ```compile_fail,E0599
//! # async fn f(shards: mainstay_route::shard::Shards) {
//! shards.query("DELETE FROM orders").execute().await;
//! # }
//! ```
//!
//! It moves no data and commits nothing over several shards: a transaction is one shard's.

mod each;
mod handle;
mod id;
mod id64;
mod inspect;
mod key;
mod map;
pub mod moves;
mod run;
mod scatter;
mod store;

pub use each::{Each, Report};
pub use handle::{Builder, Shards};
pub use key::{Key, LOGICAL, POSTGRES_LOGICAL, ToKey};
pub use map::{Bound, Map, Placement, Region, Segment, Shard, Slot, Span};
pub use scatter::{Cell, FromCell, FromGroup, Gathered, Group, Partial, Question, Scatter};
pub use store::MapStore;
