//! Moves a service's data from one database to another, of whatever engines: from SQLite to PostgreSQL
//! when a service has outgrown its file, and back.
//!
//! The target has its tables already, made by migrations. Rows go in batches, each in one transaction
//! with the place where it ended, so that a run that was killed is gone on with; at the end both sides
//! are read again and compared. It makes no tables, and keeps nothing in step afterwards: whoever writes
//! to the source is stopped before.

mod cursor;
mod form;
mod kind;
mod order;
mod orphans;
mod pair;
mod read;
mod run;
mod schema;
mod sequence;
mod side;
mod value;
mod verify;
mod write;

use std::sync::Arc;
use std::time::Duration;

use mainstay_db::Db;
use serde::Serialize;

/// Rows of a batch at most, unless another number is asked for.
const BATCH_ROWS: usize = 5000;
const BATCH_ROWS_MAX: usize = 100_000;

/// A copy that is being put together; nothing happens until [`run`](Copy::run) is awaited.
///
/// Tables are matched by name and columns by name, without regard to case. The histories of migrations
/// and of changes stay out, and so does `mainstay_copy`, which is made in the target and may be dropped after.
///
/// Times without a zone are taken for UTC, and have microseconds at most. Triggers of the target run as
/// they do for any insert, save PostgreSQL's of tables that refer to themselves or each other in a circle:
/// those that change what they are given are found at the end, as a difference.
///
/// ```
/// use mainstay_migrate::copy::Copy;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = std::env::temp_dir().join(format!("mainstay-copy-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
/// # let from = mainstay_db::Db::connect(&url("a.db")).await?;
/// # let to = mainstay_db::Db::connect(&url("b.db")).await?;
/// for db in [&from, &to] {
///     db.query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)").execute().await?;
/// }
/// from.query("INSERT INTO users VALUES (1, 'Ada')").execute().await?;
/// let copied = Copy::new(&from, &to).run().await?;
/// assert_eq!((copied.tables[0].name.as_str(), copied.tables[0].rows), ("users", 1));
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "nothing is copied until run() is awaited"]
pub struct Copy {
    from: Db,
    to: Db,
    tables: Vec<String>,
    batch: usize,
    history: String,
    tell: Tell,
}

type Tell = Arc<dyn Fn(CopyTold<'_>) + Send + Sync>;

/// One thing that happened while data are copied.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CopyTold<'a> {
    /// A table begins, or is gone on with.
    Table {
        /// As the target calls it.
        name: &'a str,
        /// In the source.
        rows_total: u64,
        /// Those that an earlier run had copied.
        rows_done: u64,
    },
    /// A batch of it is in the target.
    Batch {
        /// As the target calls it.
        name: &'a str,
        /// So far, with those of earlier runs.
        rows_done: u64,
        /// In the source, when it began.
        rows_total: u64,
        /// Of this run.
        rows_per_s: f64,
        /// Until the table is done, if it goes on so.
        eta: Option<Duration>,
    },
    /// Both sides were read again, and are the same.
    Verified {
        /// As the target calls it.
        name: &'a str,
        /// In each of them.
        rows: u64,
    },
    /// Something that ought to be known.
    Note(&'a str),
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// In the order in which they were copied: what is referred to comes first.
    pub tables: Vec<CopiedTable>,
}

/// One table, the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedTable {
    /// As the target calls it.
    pub name: String,
    /// All of it, also those that an earlier run had copied.
    pub rows: u64,
    /// Over all values in a form that is the same on every engine; the order of rows does not count.
    pub checksum: String,
}

impl Copy {
    /// From one database to another.
    pub fn new(from: &Db, to: &Db) -> Self {
        Self {
            from: from.clone(),
            to: to.clone(),
            tables: Vec::new(),
            batch: BATCH_ROWS,
            history: "flyway_schema_history".to_owned(),
            tell: Arc::new(log),
        }
    }

    /// Copies this table, and no others that are not named likewise.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.tables.push(name.into());
        self
    }

    /// So many rows at a time at most: 1 to 100,000. Default 5000. Of long rows it takes fewer, about
    /// 16 MB of them.
    pub fn batch(mut self, rows: usize) -> Self {
        self.batch = rows.clamp(1, BATCH_ROWS_MAX);
        self
    }

    /// The table that migrations keep their history in, which is left out. Default
    /// `flyway_schema_history`.
    pub fn history(mut self, table: impl Into<String>) -> Self {
        self.history = table.into();
        self
    }

    /// Tells `tell` what happens meanwhile, in place of the log.
    pub fn on(mut self, tell: impl Fn(CopyTold<'_>) + Send + Sync + 'static) -> Self {
        self.tell = Arc::new(tell);
        self
    }
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy")
            .field("from", &self.from.place())
            .field("to", &self.to.place())
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

fn log(told: CopyTold<'_>) {
    match told {
        CopyTold::Table { name, rows_total, rows_done: 0 } => {
            tracing::info!(rows_total, "copying {name}");
        }
        CopyTold::Table { name, rows_total, rows_done } => {
            tracing::info!(rows_total, rows_done, "going on with {name}");
        }
        CopyTold::Batch { name, rows_done, rows_total, .. } => {
            tracing::debug!("{name}: {rows_done} of {rows_total}");
        }
        CopyTold::Verified { name, rows } => tracing::info!(rows, "{name} is the same"),
        CopyTold::Note(text) => tracing::warn!("{text}"),
    }
}
