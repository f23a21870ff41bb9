//! One handle over SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! [`Db`] is the pool and, inside a transaction, the transaction: a function takes `&Db` and works
//! in both. SQL is written with `$1, $2, ...` on every engine, and a struct that derives
//! [`FromRow`] reads from all of them.
//!
//! ```
//! use mainstay_db::{Db, Result};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let db = Db::connect("sqlite::memory:").await?;
//! db.query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").execute().await?;
//! db.query("INSERT INTO users (name) VALUES ($1)").bind("Ada").execute().await?;
//! let name: String = db.query("SELECT name FROM users WHERE id = $1").bind(1).scalar().await?;
//! assert_eq!(name, "Ada");
//! # Ok::<(), mainstay_db::Error>(()) }).unwrap();
//! ```
//!
//! What it does not do: it generates no SQL for your tables, maps no relations and translates no
//! dialect beyond the placeholders.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("mainstay-db needs at least one engine: enable `sqlite`, `postgres` or `mysql`");

mod config;
mod connection;
mod db;
mod deadline;
mod deadlock;
mod driver;
mod engine;
mod error;
mod executor;
mod hold;
mod insert;
mod keys;
pub mod lex;
#[cfg(feature = "postgres")]
mod listen;
mod local;
mod lock;
mod pooling;
mod query;
mod record;
mod route;
mod row;
mod session;
mod statement;
mod steps;
mod tables;
mod text;
mod trail;
mod transaction;
mod types;
mod url;
mod value;

pub use config::Connect;
pub use db::Db;
pub use deadlock::{Deadlock, DeadlockSide, DeadlockStep};
pub use engine::Engine;
pub use error::{SqlxResultExt, Violation, ViolationKind};
#[cfg(feature = "mysql")]
pub use executor::MySql;
#[cfg(feature = "postgres")]
pub use executor::Postgres;
#[cfg(feature = "sqlite")]
pub use executor::Sqlite;
pub use insert::IntoValues;
#[cfg(feature = "postgres")]
pub use listen::{Heard, Listener};
pub use lock::{AdvisoryLock, Conflict, LockRequest, Versioned};
pub use mainstay_core::{Code, Error, Result, Retry};
pub use query::{Done, Query};
pub use route::{Choice, Route, Work};
pub use row::{FromRow, Get, Row};
pub use sea_query;
pub use session::Session;
pub use sqlx;
pub use sqlx::AssertSqlSafe;
pub use sqlx::types::Json;
pub use statement::IntoSql;
pub use tables::Tables;
pub use transaction::{
    Durability, Isolation, Participant, Prepared, PreparedId, Propagation, RetryPolicy, Tx,
    network_call,
};
pub use types::{Array, Decimal};
pub use value::Value;
