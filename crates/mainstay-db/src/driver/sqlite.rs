//! SQLite, opened the way a server should: WAL, every commit synced, foreign keys on, one writer
//! and many readers.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection};
use tokio::sync::OnceCell;

use crate::connection::Raw;
use crate::error::from_driver;
use crate::url::{self, Shape};

/// How long a statement waits for another process that holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A long WAL is cut back to this after a checkpoint.
const WAL_KEPT_BYTES: &str = "67108864";
/// Pages in the WAL at which a commit moves them into the database: 16 MiB. It is that commit that waits for
/// it, some milliseconds; at SQLite's own 1,000 it is one in fifty.
const WAL_PAGES: &str = "4000";
/// Instructions of SQLite's machine between two looks at whether to go on: some 10 us.
const STEPS_PER_LOOK: i32 = 10_000;

const SHAPE: Shape = Shape {
    example: "sqlite:PATH or sqlite::memory:",
    parameters: &["mode", "cache", "immutable", "vfs"],
};

/// Tells SQLite's thread to give an abandoned statement up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

#[derive(Clone, Debug)]
pub(crate) struct Driver {
    options: SqliteConnectOptions,
    in_memory: bool,
    role: Role,
    /// Never used: while it is open, a database in memory outlives the pool's connections.
    anchor: Arc<OnceCell<Mutex<SqliteConnection>>>,
}

impl Driver {
    /// The writer's. Errors: CFG-004, DB-026 where the file's folder is missing.
    pub(crate) fn from_url(text: &str) -> Result<Self> {
        SHAPE.check_parameters(text)?;
        let mut options =
            SqliteConnectOptions::from_str(text).map_err(|e| url::refused(&e, SHAPE.example))?;
        let in_memory = text.contains(":memory:") || text.contains("mode=memory");
        if !text.contains("mode=") {
            options = options.create_if_missing(true);
        }
        if !in_memory {
            check_folder(options.get_filename())?;
            if !text.contains("mode=ro") && !text.contains("immutable=") {
                options = options.journal_mode(SqliteJournalMode::Wal);
            }
        }
        let options = options
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("journal_size_limit", WAL_KEPT_BYTES)
            .pragma("wal_autocheckpoint", WAL_PAGES)
            .disable_statement_logging();
        Ok(Self { options, in_memory, role: Role::Writer, anchor: Arc::default() })
    }

    /// A database in memory lives in its one connection.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Where files are locked for what SQLite has no locks for; a database in memory is one handle's.
    pub(crate) fn lock_folder(&self) -> Option<PathBuf> {
        let mut name = self.options.get_filename().as_os_str().to_owned();
        name.push("-locks");
        (!self.in_memory).then(|| PathBuf::from(name))
    }

    /// For connections that can't write, whatever they are sent.
    pub(crate) fn reader(&self) -> Self {
        let options = self.options.clone().pragma("query_only", "ON");
        let anchor = Arc::clone(&self.anchor);
        Self { options, role: Role::Reader, in_memory: self.in_memory, anchor }
    }

    pub(crate) fn place(&self) -> String {
        if self.in_memory {
            return "SQLite in memory".to_owned();
        }
        format!("SQLite at {}", self.options.get_filename().display())
    }

    pub(crate) async fn connect(&self) -> Result<Raw> {
        let name = self.options.get_filename().display().to_string();
        if self.in_memory {
            let open =
                || async { SqliteConnection::connect_with(&self.options).await.map(Mutex::new) };
            self.anchor.get_or_try_init(open).await.map_err(|e| from_driver(e, None))?;
        }
        let opened = SqliteConnection::connect_with(&self.options).await;
        let mut connection = opened.map_err(|e| from_driver(e, None)).map_err(|e| {
            let what = format!("{name} can't be opened as a SQLite database ({:?})", self.role);
            Error::new(if e.code() == Code::Server { Code::File } else { e.code() }, what).cause(e)
        })?;
        let interrupt = Interrupt::default();
        let flag = interrupt.clone();
        let mut handle = connection.lock_handle().await.map_err(|e| from_driver(e, None))?;
        handle.set_progress_handler(STEPS_PER_LOOK, move || !flag.0.load(Ordering::Relaxed));
        drop(handle);
        Ok(Raw::Sqlite(connection, interrupt))
    }
}

/// Has the abandoned statement give up, and waits until SQLite's thread is free.
pub(crate) async fn finish_abandoned(
    connection: &mut SqliteConnection,
    interrupt: &Interrupt,
) -> Result<()> {
    interrupt.0.store(true, Ordering::Relaxed);
    let answer = connection.ping().await;
    interrupt.0.store(false, Ordering::Relaxed);
    answer.map_err(|e| from_driver(e, None))
}

fn check_folder(file: &Path) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::new(Code::File, format!("the folder {} does not exist", folder.display()))
        .why(format!("{} was to be opened or created there", file.display()))
        .fix(format!("mkdir -p {}", folder.display())))
}
