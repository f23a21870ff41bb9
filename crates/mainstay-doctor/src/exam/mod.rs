//! A read-only examination of a database, whoever made it: indexes, foreign keys, sequences, statistics, settings,
//! transactions, locks, cache, replication, statements.
//!
//! It reads catalogues and counters; of the users' tables it reads nothing, but in SQLite's `integrity` and `references`,
//! which `prod` leaves out. It writes nothing, takes no lock on a user's table, and has one connection, a bound for each
//! statement and one for the whole. Where the database is in trouble it stops and says so.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use mainstay_doctor::exam::{Examination, Options};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("shop.db");
//! # let url = format!("sqlite:{}", file.display());
//! # mainstay_db::Db::connect(&url).await?;
//! let report = Examination::new(&url).options(Options::default()).run().await?;
//! assert_eq!(report.findings().count(), 0);
//! # Ok::<(), mainstay_core::Error>(()) }).unwrap();
//! ```

mod check;
mod connect;
mod ctx;
mod mysql;
mod options;
mod postgres;
mod ranking;
mod redundant;
mod report;
mod run;
mod sqlite;
mod words;

pub use check::Check;
pub use options::Options;
pub use report::{Checked, Outcome, Report, Statement};
pub use run::{Examination, top_statements};
