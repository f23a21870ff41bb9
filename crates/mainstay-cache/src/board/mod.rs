//! Leaderboards: scores of members, and who is the how manieth, for all time or by day, week and month.
//!
//! A member is a name and a score an `i64`; what they stand for is the program's. It keeps no history
//! within a window.

mod entry;
mod read;
pub(crate) mod schema;
mod store;
mod tree;
mod window;
mod write;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use chrono_tz::Tz;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

pub use self::entry::{COUNT_MAX, Entry, MEMBER_BYTES_MAX, Standing};
pub use self::store::BoardStore;
use self::store::Slot;
use self::window::Moment;
pub use self::window::Window;

/// How many windows may be kept.
const KEEP_MAX: u32 = 1000;
const KEEP_DEFAULT: u32 = 12;

/// A leaderboard. Cheap to clone.
///
/// The higher score comes first; members of one score share a rank, and the rank after three firsts is 4
/// (1, 1, 1, 4). Among them, the order is that of their names, byte by byte: the same on every store, and
/// the same tomorrow. Scores are any `i64`; on Redis, whose scores are floating point, from -2^53 to 2^53,
/// and CACHE-004 beyond. What goes over a bound is refused with CACHE-004 and changes nothing.
///
/// A board with windows counts each anew and keeps the last [`keep`](Self::keep) of them. They begin at
/// midnight UTC, or of a [`zone`](Self::zone).
///
/// Errors of all: CACHE-001 (the store), CACHE-004 (an option or a name out of its bounds), CACHE-005 (no
/// tables), and those of a statement. All are cancel safe in this sense: dropped half-way, the store did it or
/// did not; [`set`](Self::set) may be repeated then, [`add`](Self::add) may not.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_cache::board::{Board, BoardStore, Window};
///
/// let board = Board::new("best-sellers", BoardStore::memory(100_000)).window(Window::Week).keep(4);
/// board.add("teapot", 3).await?;
/// board.add("cup", 5).await?;
/// let teapot = board.rank("teapot").await?.unwrap();
/// assert_eq!((teapot.rank, teapot.score), (2, 3));
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Board {
    name: Arc<str>,
    store: BoardStore,
    window: Window,
    zone: Tz,
    keep: u32,
    clock: Clock,
    /// The time that it is about, if not now.
    at: Option<SystemTime>,
    /// Up to which window old ones were removed.
    pruned: Arc<Mutex<String>>,
}

impl Board {
    /// The board `name`, of 1 to 100 of the characters `A-Za-z0-9_.:-`, in `store`, for all time.
    pub fn new(name: &str, store: BoardStore) -> Self {
        Self {
            name: name.into(),
            store,
            window: Window::AllTime,
            zone: Tz::UTC,
            keep: KEEP_DEFAULT,
            clock: Clock::system(),
            at: None,
            pruned: Arc::default(),
        }
    }

    /// What it counts together; default [`Window::AllTime`]. Those of different windows with one name are
    /// different boards.
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Whose midnight a window begins at; default UTC.
    pub fn zone(mut self, zone: Tz) -> Self {
        self.zone = zone;
        self
    }

    /// How many windows are kept, the present one among them: 1 to 1000; default 12. Older ones are empty,
    /// and removed when the first of a new window is added; on Redis they expire.
    pub fn keep(mut self, windows: u32) -> Self {
        self.keep = windows;
        self
    }

    /// What tells the time; default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The board of the window that `time` is in: what happened then is read, and may be added to.
    pub fn at(&self, time: SystemTime) -> Self {
        Self { at: Some(time), ..self.clone() }
    }

    /// The same board through `db`, such as an open transaction: what is added then commits or vanishes with
    /// the rest. For tables alone.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # use mainstay_cache::board::{Board, BoardStore};
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # mainstay_cache::install(&db).await?;
    /// let board = Board::new("best-sellers", BoardStore::sql(&db));
    /// db.transaction(|tx| {
    ///     let board = board.on(&tx);
    ///     async move { board?.add("teapot", 1).await }
    /// })
    /// .await?;
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    ///
    /// Errors: CACHE-004 where the store is another.
    pub fn on(&self, db: &Db) -> Result<Self> {
        Ok(Self { store: self.store.on(db)?, ..self.clone() })
    }

    /// The window that it is about; `None` where it is kept no more.
    ///
    /// Errors: CACHE-004 for the options, which have no other occasion to be looked at.
    fn slot(&self) -> Result<Option<Slot<'_>>> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if self.name.is_empty() || self.name.len() > 100 || !self.name.chars().all(fits) {
            return Err(wrong(format!("no leaderboard can be called `{}`", self.name))
                .why("a name has 1 to 100 of the characters A-Z a-z 0-9 _ . : -"));
        }
        if !(1..=KEEP_MAX).contains(&self.keep) {
            return Err(wrong(format!("keep is {}: it is 1 to {KEEP_MAX}", self.keep)));
        }
        let now = self.moment(self.clock.wall())?;
        let then = self.at.map_or(Ok(now), |at| self.moment(at))?;
        let kept = self.window.is_kept(then, now, self.keep);
        Ok(kept.then(|| Slot {
            board: &self.name,
            label: self.window.label(then),
            ttl: self.window.ttl(then, now, self.keep),
        }))
    }

    fn moment(&self, time: SystemTime) -> Result<Moment> {
        Moment::of(time, self.zone)
            .ok_or_else(|| wrong("the time is before 1970, or too far in the future"))
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::CacheOption, what.into())
}
