//! Moving a logical shard from one database to another while it is written to.
//!
//! A [`Mover`] copies the rows, logs by triggers what is written meanwhile and brings it over, compares both sides, locks
//! the writers of that logical shard out for a moment, shuts the old shard for them, and changes the map. A client whose map
//! is older than that gets ROUTE-026 on its next write, and [`Shards::run`](super::Shards::run) takes it to the new shard.
//!
//! ```no_run
//! # async fn f(shards: mainstay_route::Shards, store: mainstay_route::shard::MapStore) -> mainstay_core::Result<()> {
//! use mainstay_route::shard::moves::Mover;
//!
//! let mover = Mover::new(shards, store)
//!     .table("users", &["id"])
//!     .table("orders", &["user_id"])
//!     .on(|p| println!("{} {:?}, {} behind", p.state.name(), p.table, p.lag));
//! let done = mover.start(802, "b").await?;
//! println!("{} rows, writes waited for {:?}", done.rows, done.pause);
//! // Once no client can have the old map: ten minutes later, unless said otherwise.
//! mover.finish(802).await?;
//! # Ok(()) }
//! ```
//!
//! What it guarantees: no row is lost or doubled, whatever is killed at whichever step. It is then
//! [resumed](Mover::resume), or, up to the map's change, [taken back](Mover::rollback). Writes to the logical shard are
//! kept waiting for less than 500 ms: the lock is asked for 150 ms at a time, and what does not fit in 350 ms is tried again.
//! A writer may see DB-031 (a deadlock with the lock), which [`Db::transaction`](mainstay_db::Db::transaction) runs again.
//!
//! What it asks for: PostgreSQL or MariaDB, not SQLite or MySQL; a primary key for each table; one connection of each of
//! the two shards; no change of the schema or of who a key belongs to while it lasts. PostgreSQL: an account that may set
//! `session_replication_role`, unless the tables have no triggers and foreign keys. MariaDB: tables without triggers of
//! their own and without CASCADE, whose changes no trigger sees.
//!
//! What it does not do: it looks through each table once a move, whatever the size of the logical shard; several can be
//! moved at the same time. It advances no sequence: use ids that are unique over all shards. Reads by a client with an
//! older map see the old rows until [`finish`](Mover::finish) deletes them.

mod capture;
mod column;
mod compare;
mod dialect;
mod going;
mod journal;
mod look;
mod mover;
mod progress;
mod side;
mod strays;
mod switch;
mod table;
mod which;

pub(super) use journal::allows;
pub use journal::{Move, State};
pub use mover::Mover;
pub use progress::{Outcome, Progress, Step};
pub use strays::Strays;
