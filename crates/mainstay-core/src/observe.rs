//! The one place that every statement, checkout and transaction passes: whoever subscribes sees
//! each, as a reference to what is already there.
//!
//! Delivery allocates nothing and takes no lock. Nothing is stored, sampled or exported here, and
//! bound values never appear: where a subscriber asks for them, their hashes do.

mod values;

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::error::{Error, Place};
use crate::scope::Scope;

pub use values::{BINDS_MAX, KeyColumns, RETURNED_MAX, ValueHash, Values};

/// Receives events, on the task that caused them: it must be quick, must not block and must not
/// panic. Every method does nothing unless it is implemented.
pub trait Subscriber: Send + Sync + 'static {
    /// Whether statements are to come with hashes of their [values](Statement::values). Asked once,
    /// when it subscribes. While anybody wants them, each statement pays for them.
    fn wants_values(&self) -> bool {
        false
    }
    /// A statement ended: in a result, an error, or by being dropped.
    fn statement(&self, _event: &Statement<'_>) {}
    /// A connection came back to its pool, or could not be had.
    fn checkout(&self, _event: &Checkout<'_>) {}
    /// A transaction ended.
    fn transaction(&self, _event: &Transaction<'_>) {}
    /// A connection was opened, could not be, was handed out or removed. When it comes back, that
    /// is a [`checkout`](Self::checkout).
    fn connection(&self, _event: &Connection<'_>) {}
    /// A connection is held in a way that is most likely a mistake.
    fn hold(&self, _event: &Hold<'_>) {}
    /// How a pool stands, about once a second.
    fn pool(&self, _event: &Pool<'_>) {}
    /// A transaction is used in a way that is most likely a mistake.
    fn finding(&self, _event: &Finding<'_>) {}
    /// A run of a job ended.
    fn job(&self, _event: &Job<'_>) {}
}

/// How a piece of work ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// To its end.
    Done,
    /// In an error.
    Failed(&'a Error),
    /// Its future was dropped first.
    Cancelled,
}

/// Identifies a text of SQL within this process: equal texts have equal identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlId(u64);

impl SqlId {
    /// The identity of `sql`. Linear in its length; computed once per distinct text by `Db`.
    pub fn of(sql: &str) -> Self {
        // SipHash with its fixed default key: stable within the process, and this is not a hot path.
        let mut hasher =
            std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::new().build_hasher();
        hasher.write(sql.as_bytes());
        Self(hasher.finish())
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// A number that is unique within this process: of a connection or of a transaction.
pub fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One statement, from the moment it was asked for to the end of its result.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// `sqlite`, `postgresql` or `mysql`: OpenTelemetry's `db.system.name`.
    pub system: &'static str,
    /// The text as the program wrote it, with placeholders.
    pub sql: &'a str,
    /// Its identity.
    pub sql_id: SqlId,
    /// Where the program asked for it.
    pub place: Place,
    /// The request or job it ran for.
    pub scope: Option<&'a Scope>,
    /// The transaction it ran in.
    pub transaction: Option<u64>,
    /// The connection it ran on; `None` if none could be had.
    pub connection: Option<u64>,
    /// From the call until it had its connection; zero where that was there at once.
    pub wait: Duration,
    /// From having the connection to the end of the result.
    pub duration: Duration,
    /// Rows received.
    pub rows: u64,
    /// Rows changed, as the server counts them.
    pub affected: u64,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// When.
    pub ended: Instant,
    /// Hashes of what was bound and of keys that were returned, where a subscriber wants them.
    pub values: Option<&'a Values>,
}

/// One checkout of a connection, told when it is back.
#[derive(Clone, Copy, Debug)]
pub struct Checkout<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The connection; `None` if none could be had.
    pub connection: Option<u64>,
    /// Where the program asked for it.
    pub place: Place,
    /// The request or job it was for.
    pub scope: Option<&'a Scope>,
    /// From the call until the connection was there.
    pub wait: Duration,
    /// From then until it came back.
    pub held: Duration,
    /// `Failed` if none could be had, `Cancelled` if the wait was dropped.
    pub outcome: Outcome<'a>,
}

/// What happened to a connection of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The connection; `None` if there is none.
    pub connection: Option<u64>,
    /// What happened.
    pub change: Change<'a>,
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It was opened.
    Opened {
        /// How long that took.
        took: Duration,
    },
    /// It could not be opened.
    OpenFailed {
        /// Why.
        error: &'a Error,
        /// How long that took.
        took: Duration,
    },
    /// It was handed out.
    Acquired {
        /// Where the program asked for it.
        place: Place,
        /// The request or job it is for.
        scope: Option<&'a Scope>,
        /// From the call until it was there.
        wait: Duration,
    },
    /// It is the pool's no more.
    Removed {
        /// Why.
        why: Removal,
        /// How long it was open.
        age: Duration,
    },
}

/// Why a pool gave a connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// Its last user left it beyond repair.
    Broken,
    /// Its last user changed its session.
    Spent,
    /// It did not become clean within its bound.
    NotRecovered,
    /// It did not answer when it was asked.
    NoAnswer,
    /// Its lifetime is over.
    Expired,
    /// It was idle for too long.
    Idle,
    /// The pool was made smaller.
    Surplus,
    /// The pool was cleared, as after a failover.
    Cleared,
    /// The pool was closed.
    Closed,
}

impl Removal {
    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Removal::Broken => "broken",
            Removal::Spent => "spent",
            Removal::NotRecovered => "not_recovered",
            Removal::NoAnswer => "no_answer",
            Removal::Expired => "expired",
            Removal::Idle => "idle",
            Removal::Surplus => "surplus",
            Removal::Cleared => "cleared",
            Removal::Closed => "closed",
        }
    }
}

/// A connection that is held as it should not be.
#[derive(Clone, Copy, Debug)]
pub struct Hold<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// What is wrong with it.
    pub kind: HoldKind,
    /// The connection.
    pub connection: u64,
    /// Where the program asked for it.
    pub place: Place,
    /// The request or job it is for.
    pub scope: Option<&'a Scope>,
    /// How long it has been held.
    pub held: Duration,
    /// Where the same task asked for a second one.
    pub second: Option<Place>,
    /// The whole story, with code and fix.
    pub report: &'a Error,
}

/// What is wrong with how a connection is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldKind {
    /// POOL-007: held, and not used for the threshold.
    Leak,
    /// POOL-008: what was reported as a leak came back.
    LeakReturned,
    /// POOL-009: its holder asks for a second one.
    Nested,
    /// TX-011: a transaction is open on it, and nobody has used it for the threshold.
    IdleInTransaction,
}

/// A transaction that is used as it should not be.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// What is wrong.
    pub kind: FindingKind,
    /// The transaction's number.
    pub transaction: u64,
    /// Where the program began it.
    pub begun: Place,
    /// Where the program did what is told of.
    pub place: Place,
    /// The request or job it was for.
    pub scope: Option<&'a Scope>,
    /// How long the transaction was open by then.
    pub open: Duration,
    /// The whole story, with code and fix.
    pub report: &'a Error,
}

/// What is wrong with how a transaction is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// TX-010: a statement went to the pool's handle while the task had a transaction open on it.
    OuterHandle,
    /// TX-012: a call over the network was made while it was open.
    NetworkCall,
    /// TX-009: a hook failed when it was over.
    HookFailed,
}

/// How a pool stands.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// Connections that it may have.
    pub max_size: usize,
    /// Idle connections that it keeps ready.
    pub min_idle: usize,
    /// Idle.
    pub idle: usize,
    /// Out, or being put right.
    pub in_use: usize,
    /// Being opened.
    pub connecting: usize,
    /// Callers that wait.
    pub waiting: usize,
}

/// One attempt at a transaction, told when it ended.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// Its number.
    pub id: u64,
    /// Where the program began it.
    pub place: Place,
    /// The request or job it was for.
    pub scope: Option<&'a Scope>,
    /// The connection it had.
    pub connection: u64,
    /// The attempt: 1 unless it was run again.
    pub attempt: u32,
    /// It failed, and is run again after this time.
    pub retry_after: Option<Duration>,
    /// Statements run in it.
    pub statements: u32,
    /// From BEGIN to the end.
    pub duration: Duration,
    /// Whether it was committed; false is a rollback.
    pub committed: bool,
    /// How it ended.
    pub outcome: Outcome<'a>,
}

/// One run of a job, told when its handler ended.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The job's number; negative for a message of somebody else's.
    pub id: i64,
    /// Its name.
    pub name: &'a str,
    /// The queue that it came from.
    pub queue: &'a str,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How long its handler ran.
    pub duration: Duration,
    /// The scope that it ran in.
    pub scope: &'a Scope,
    /// How it ended.
    pub end: JobEnd<'a>,
}

/// How a run of a job ended.
#[derive(Clone, Copy, Debug)]
pub enum JobEnd<'a> {
    /// Its handler returned.
    Completed,
    /// It waits for a timer or a signal, and goes on later.
    Suspended,
    /// Its handler failed, panicked, took too long or was cancelled.
    Failed(&'a Error),
}

/// Hands events to subscribers. Cheap to clone; the clones share their subscribers.
///
/// With no subscriber an event costs one relaxed load. With some, it costs their own work and one
/// atomic pointer load.
///
/// ```
/// use mainstay_core::observe::{Observer, Statement, Subscriber};
///
/// struct Print;
/// impl Subscriber for Print {
///     fn statement(&self, event: &Statement<'_>) {
///         println!("{} took {:?} at {}", event.sql, event.duration, event.place);
///     }
/// }
/// let observer = Observer::new();
/// observer.subscribe(Print);
/// assert!(observer.is_active());
/// ```
#[derive(Clone, Default)]
pub struct Observer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    active: AtomicBool,
    values: AtomicBool,
    subscribers: ArcSwap<Vec<Arc<dyn Subscriber>>>,
    /// Held while the three above are changed, so that they agree.
    changing: Mutex<()>,
}

impl Inner {
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn Subscriber>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::clone(&self.subscribers.load());
        change(&mut all);
        self.subscribers.store(Arc::new(all.clone()));
        self.values.store(all.iter().any(|s| s.wants_values()), Ordering::Relaxed);
        self.active.store(!all.is_empty(), Ordering::Relaxed);
    }
}

/// Tells its subscriber until it is dropped: see [`Observer::subscribe_while`].
#[must_use = "it is unsubscribed when this is dropped"]
pub struct Subscription {
    observer: Observer,
    subscriber: Arc<dyn Subscriber>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.observer.0.change(|all| all.retain(|s| !Arc::ptr_eq(s, &self.subscriber)));
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Observer {
    /// With no subscriber yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `subscriber` is told of every event. May be called at any time.
    pub fn subscribe(&self, subscriber: impl Subscriber) {
        let subscriber: Arc<dyn Subscriber> = Arc::new(subscriber);
        self.0.change(|all| all.push(Arc::clone(&subscriber)));
    }

    /// As [`subscribe`](Self::subscribe), until what is returned is dropped.
    pub fn subscribe_while(&self, subscriber: impl Subscriber) -> Subscription {
        let subscriber: Arc<dyn Subscriber> = Arc::new(subscriber);
        self.0.change(|all| all.push(Arc::clone(&subscriber)));
        Subscription { observer: self.clone(), subscriber }
    }

    /// Whether anybody wants hashes of values.
    #[inline]
    pub fn wants_values(&self) -> bool {
        self.0.values.load(Ordering::Relaxed)
    }

    /// Whether anybody listens. Ask before gathering what an event needs.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Tells of a statement.
    pub fn statement(&self, event: &Statement<'_>) {
        self.each(|s| s.statement(event));
    }

    /// Tells of a checkout.
    pub fn checkout(&self, event: &Checkout<'_>) {
        self.each(|s| s.checkout(event));
    }

    /// Tells of a transaction.
    pub fn transaction(&self, event: &Transaction<'_>) {
        self.each(|s| s.transaction(event));
    }

    /// Tells of a change of a connection.
    pub fn connection(&self, event: &Connection<'_>) {
        self.each(|s| s.connection(event));
    }

    /// Tells of a suspicious hold.
    pub fn hold(&self, event: &Hold<'_>) {
        self.each(|s| s.hold(event));
    }

    /// Tells how a pool stands.
    pub fn pool(&self, event: &Pool<'_>) {
        self.each(|s| s.pool(event));
    }

    /// Tells of a transaction that is used as it should not be.
    pub fn finding(&self, event: &Finding<'_>) {
        self.each(|s| s.finding(event));
    }

    /// Tells of a run of a job.
    pub fn job(&self, event: &Job<'_>) {
        self.each(|s| s.job(event));
    }

    fn each(&self, tell: impl Fn(&dyn Subscriber)) {
        if self.is_active() {
            self.0.subscribers.load().iter().for_each(|s| tell(s.as_ref()));
        }
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("subscribers", &self.0.subscribers.load().len()).finish()
    }
}
