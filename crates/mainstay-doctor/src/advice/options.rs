//! What advice may cost, and where it may be tried.

use std::time::Duration;

use mainstay_core::clock::Clock;

/// Where indexes may really be built, and statements run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scratch {
    /// Nowhere: what HypoPG can't tell is not told.
    Off,
    /// On a server of our own, in a temporary folder, from the programs that are installed; of SQLite a file there.
    #[default]
    Private,
    /// In the database at this URL, of the same engine, that has no tables of the names in question. They are dropped at
    /// the end; who is killed leaves them.
    Url(String),
}

/// Bounds of [`advise`](crate::advice::advise).
///
/// ```
/// use mainstay_doctor::advice::{Options, Scratch};
///
/// let careful = Options { scratch: Scratch::Off, ..Options::default() };
/// assert_eq!(careful.budget.as_secs(), 60);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// All that it may take; default 60 s. What is not done by then is said to be left.
    pub budget: Duration,
    /// One statement of the doctor's; default 5 s.
    pub statement_timeout: Duration,
    /// How long one may wait for a lock; default 1 s.
    pub lock_timeout: Duration,
    /// Statements that are looked at; default 500.
    pub statements_max: usize,
    /// New indexes of one table, at most; default 8.
    pub table_max: usize,
    /// Where they are tried; default on a private server.
    pub scratch: Scratch,
    /// Bytes of the tables that are copied, at most; default 256 MB. Of more, a sample is.
    pub copy_bytes: u64,
    /// Time; default the machine's.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(1),
            statements_max: 500,
            table_max: 8,
            scratch: Scratch::default(),
            copy_bytes: 256 << 20,
            clock: Clock::system(),
        }
    }
}
