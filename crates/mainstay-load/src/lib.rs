//! Batching loaders, and eager loading of rows: two ways out of a query for each row.
//!
//! [`load_many`] and [`load_one`] load what belongs to a list that is at hand. A [`Loader`] is for code
//! that knows one key at a time, such as the resolvers of a GraphQL API: it gathers the keys that are
//! asked for at the same time, and asks once for all of them.
//!
//! ```
//! use mainstay_db::{Db, FromRow};
//! use mainstay_load::load_many;
//!
//! #[derive(Clone, FromRow)]
//! struct Item { sku: String }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let db = Db::connect("sqlite::memory:").await?;
//! # db.script("CREATE TABLE item (order_id INTEGER, sku TEXT NOT NULL);
//! #            INSERT INTO item VALUES (1, 'lamp'), (1, 'cup'), (3, 'cup')").await?;
//! let orders: Vec<i64> = vec![1, 2, 3];
//! // The first column is the key.
//! let sql = "SELECT order_id, sku FROM item WHERE order_id IN ($keys) ORDER BY sku";
//! let items: Vec<Vec<Item>> = load_many(&db, &orders, |id| *id, sql).await?;
//! assert_eq!(items.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 1]);
//! assert_eq!(items[0][1].sku, "lamp");
//! # Ok::<(), mainstay_core::Error>(()) }).unwrap();
//! ```
//!
//! What it does not do: it knows no relations and writes no SQL of its own, and it keeps nothing beyond
//! the life of a loader: that is `mainstay-cache`'s.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("mainstay-load needs at least one engine: enable `sqlite`, `postgres` or `mysql`");

mod loader;
mod rows;

pub use loader::{Builder, Loader};
pub use rows::{Key, Rows, ToKey, load_many, load_one};
