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
//! kept waiting for less than 500 ms while the mover and the catalogue answer: the lock is asked for 150 ms at a time, and
//! what does not fit in 350 ms is tried again. Where the mover is stopped or cut off under the lock, the server lets
//! writers on after a second (MariaDB: once the statement at hand has ended). Where the catalogue does not answer once the
//! old shard is shut, writes fail with ROUTE-026 meanwhile; the map's change is tried for 10 s, and then somebody has to
//! resume the move or take it back. A writer may see DB-031 (a deadlock with the lock), which [`Db::transaction`](mainstay_db::Db::transaction) runs again.
//!
//! What it asks for: PostgreSQL or MariaDB, not SQLite or MySQL; a primary key for each table; one connection of each of
//! the two shards; no change of the schema or of who a key belongs to while it lasts. PostgreSQL: the tables' owner, for
//! whom no row-level security holds; one that may set `session_replication_role`, unless the tables have no triggers and
//! foreign keys; no tables that others inherit from, unless they are partitions; TRUNCATE fails meanwhile. MariaDB: tables
//! without triggers of their own and without CASCADE, whose changes no trigger sees; no TIMESTAMP in a primary key; and
//! no TRUNCATE meanwhile, which no trigger sees either.
//!
//! What it does not do: it looks through each table once a move, whatever the size of the logical shard; several can be
//! moved at the same time. It advances no sequence: use ids that are unique over all shards. Reads by a client with an
//! older map see the old rows until [`finish`](Mover::finish) deletes them. **Rows that are on both sides count twice in
//! [`scatter`](super::Shards::scatter)**, from the first that is copied until the old ones are deleted: it asks all shards
//! for all that they have. In memory it has at most the whole rows of 8,000 changes (100,000 where rows are in each
//! other's way), whatever their size. Errors and [`Strays`] name primary keys, since whoever looks into it needs them:
//! where those are personal data, so is what is told.

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
mod trigger;
mod which;

pub(super) use journal::allows;
pub use journal::{Move, State};
pub use mover::Mover;
pub use progress::{Outcome, Progress, Step};
pub use strays::Strays;
