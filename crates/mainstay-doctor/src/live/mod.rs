//! The doctor at work: it watches handles while the service runs.
//!
//! What it is told of is put into buffers of a fixed size (about 7 MiB in all, filled as they are used) on
//! the task that caused it, and looked through in the background. Bound values are never kept, only hashes.

mod costs;
mod engine;
mod planner;
mod pools;
mod record;
mod ring;
mod signals;
mod storms;
mod suppress;
mod texts;
mod watch;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot, Table};
use mainstay_core::observe::Subscription;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Connect, Db};

pub use record::{RecordOptions, Recorded};
pub use suppress::Suppression;

use crate::advice::Options as AdviceOptions;
use crate::detect::Limits;
use crate::finding::{Finding, Severity};
use engine::Engine;
use record::Recorder;
use watch::{Hot, Watch};

/// How often the buffers are emptied.
const EMPTY_EVERY: Duration = Duration::from_millis(200);
/// How often statements are planned, where advice is wanted.
const PLAN_EVERY: Duration = Duration::from_secs(60);
/// Findings that a snapshot lists.
const SHOWN_MAX: usize = 50;

/// Watches database handles, and says what is wrong. Cheap to clone; when the last clone is dropped, it
/// stops watching.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_doctor::Doctor;
///
/// let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// let doctor = Doctor::builder().build();
/// doctor.watch(&db);
/// db.query("SELECT 1").execute().await?;
/// for finding in doctor.findings() {
///     println!("{finding}");
/// }
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Doctor(Arc<Inner>);

struct Inner {
    hot: Arc<Hot>,
    engine: Mutex<Engine>,
    suppressions: Mutex<Vec<Suppression>>,
    /// With how it is connected to once more; `None` of a database in memory.
    watched: Mutex<Vec<(Subscription, Option<Connect>)>>,
    advice: Option<AdviceOptions>,
}

/// Makes a [`Doctor`].
#[derive(Clone, Debug)]
pub struct Builder {
    limits: Limits,
    clock: Clock,
    quiet: Duration,
    pool_window: Duration,
    together: bool,
    advice: Option<AdviceOptions>,
}

impl Builder {
    /// From where on something is worth a word.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A scope that has done nothing for so long is looked through, and forgotten. Default: 1 s.
    #[must_use]
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Pools are judged by what happened within so long. Default: 10 s.
    #[must_use]
    pub fn pool_window(mut self, window: Duration) -> Self {
        self.pool_window = window;
        self
    }

    /// Advises on indexes too, and judges plans, of the 20 statements that took most time; every minute, and
    /// of one statement once an hour. It connects for that with up to two connections of its own, which only
    /// read, and runs no statement. Without it, nothing but the pools' own connections are used.
    ///
    /// What can't be verified is not told: PostgreSQL without HypoPG and MariaDB need a
    /// [scratch copy](AdviceOptions::scratch), which by default is a private server on this machine; SQLite's is
    /// a file. In production, [`Scratch::Off`](crate::advice::Scratch::Off) or another machine's URL.
    /// Databases in memory have no second connection, and get no advice.
    #[must_use]
    pub fn advise(mut self, options: AdviceOptions) -> Self {
        self.advice = Some(options);
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// All statements are of one piece of work, scopes or not.
    #[must_use]
    pub(crate) fn together(mut self) -> Self {
        self.together = true;
        self
    }

    /// The doctor. Within a tokio runtime, a task of its own looks through what was observed, until the
    /// last handle is dropped; without one, only [`findings`](Doctor::findings) does.
    pub fn build(self) -> Doctor {
        let clock = self.clock.clone();
        let inner = Arc::new(Inner {
            hot: Arc::new(Hot::new(self.limits, self.clock)),
            engine: Mutex::new(Engine::new(
                self.quiet,
                self.pool_window,
                self.together,
                self.advice.is_some(),
            )),
            suppressions: Mutex::default(),
            watched: Mutex::default(),
            advice: self.advice,
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            if inner.advice.is_some() {
                runtime.spawn(planner::every(Arc::downgrade(&inner), clock.clone(), PLAN_EVERY));
            }
            runtime.spawn(empty(Arc::downgrade(&inner), clock));
        }
        Doctor(inner)
    }
}

async fn empty(doctor: Weak<Inner>, clock: Clock) {
    loop {
        clock.sleep(EMPTY_EVERY).await;
        let Some(doctor) = doctor.upgrade() else { return };
        doctor.tick();
    }
}

impl Inner {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        self.engine().tick(&self.hot, self.hot.clock.wall());
    }

    fn findings(&self) -> Vec<Finding> {
        let now = self.hot.clock.wall();
        let mut engine = self.engine();
        engine.tick(&self.hot, now);
        let findings = engine.findings(&self.hot.limits);
        drop(engine);
        let suppressions = self.suppressions.lock().unwrap_or_else(PoisonError::into_inner);
        suppress::apply(&suppressions, findings, now)
    }
}

impl Doctor {
    /// Begins one with the defaults.
    pub fn builder() -> Builder {
        Builder {
            limits: Limits::default(),
            clock: Clock::system(),
            quiet: Duration::from_secs(1),
            pool_window: Duration::from_secs(10),
            together: false,
            advice: None,
        }
    }

    /// From now on `db` is watched: the handle, its clones and its transactions. Watching it twice counts
    /// everything twice.
    pub fn watch(&self, db: &Db) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = Watch { hot: Arc::clone(&self.0.hot), pool: watched.len() };
        watched.push((db.observer().subscribe_while(watch), db.apart().ok()));
    }

    /// What is wrong, the worst first, of all that was observed up to now. At most 1000 are kept, by code,
    /// place and route.
    ///
    /// It looks through what is not looked through yet: milliseconds for thousands of statements. Not for
    /// the hot path.
    pub fn findings(&self) -> Vec<Finding> {
        self.0.findings()
    }

    /// The [findings](Self::findings) as a JSON array: the body of an endpoint.
    pub fn findings_json(&self) -> String {
        json(&self.findings())
    }

    /// Plans the statements that took most time now, not at the next minute: see [`Builder::advise`], without
    /// which this does nothing. What it finds is among the [findings](Self::findings) then.
    ///
    /// Cancel safe: dropped, its connections are closed; what was not planned is, in an hour.
    pub async fn advise(&self) {
        planner::look(&Arc::downgrade(&self.0)).await;
    }

    /// Silences findings. At most 1000 suppressions.
    ///
    /// Errors: CFG-003 where one has no reason or no place, is of no code of the doctor's, or there are too
    /// many.
    pub fn suppress(&self, suppression: Suppression) -> Result<()> {
        suppression.check()?;
        let mut all = self.0.suppressions.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= suppress::SUPPRESSIONS_MAX {
            let what = format!("there are {} suppressions already", all.len());
            return Err(Error::new(Code::ConfigValue, what).fix("mend some of what they silence"));
        }
        all.push(suppression);
        Ok(())
    }

    /// Writes all that is observed from now on to a new file, in the format of
    /// `docs/guide/doctor-traces.md`; what was recorded before that has its file ended. Values are hashed,
    /// with a salt that only this file has.
    ///
    /// The file is written by a thread of its own. Where that can't keep up, or the file is full,
    /// statements are left out and counted.
    ///
    /// Errors: DOC-019 where the file exists or can't be made.
    pub fn record_to(&self, path: impl AsRef<Path>, options: &RecordOptions) -> Result<()> {
        let recorder = Recorder::begin(path.as_ref(), options)?;
        let mut engine = self.0.engine();
        // What came before this call is not of the recording.
        engine.tick(&self.0.hot, self.0.hot.clock.wall());
        engine.recorder = Some(recorder);
        Ok(())
    }

    /// Ends the recording, once all that was observed by now is written; `None` if there is none.
    ///
    /// Cancel safe: dropped, the rest is written all the same.
    pub async fn stop_recording(&self) -> Option<Recorded> {
        let recorder = {
            let mut engine = self.0.engine();
            engine.tick(&self.0.hot, self.0.hot.clock.wall());
            engine.recorder.take()
        }?;
        tokio::task::spawn_blocking(|| recorder.end()).await.ok()
    }

    /// Statements and signals that were not looked at, since they came faster than that is done.
    pub fn dropped(&self) -> u64 {
        let rare = &self.0.hot.rare_dropped;
        self.0.hot.ring.dropped() + rare.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Findings as a JSON array.
pub(crate) fn json(findings: &[Finding]) -> String {
    serde_json::to_string(findings).unwrap_or_else(|_| "[]".to_owned())
}

impl std::fmt::Debug for Doctor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doctor").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Inspect for Doctor {
    fn inspect(&self) -> Snapshot {
        let findings = self.findings();
        let of = |severity| findings.iter().filter(|f| f.severity == severity).count();
        let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
        let health = if errors + warnings > 0 { Health::Degraded } else { Health::Good };
        let statements = usize::try_from(self.0.engine().statements).unwrap_or(usize::MAX);
        let row = |f: &Finding| {
            vec![
                f.code.to_string(),
                format!("{:?}", f.severity).to_lowercase(),
                f.place.clone().unwrap_or_default(),
                f.scope.clone().unwrap_or_default(),
                f.what.clone(),
                f.count.to_string(),
            ]
        };
        let mut out = Snapshot::new("doctor", "findings")
            .health(health)
            .fact(Fact::count("errors", errors))
            .fact(Fact::count("warnings", warnings))
            .fact(Fact::count("hints", of(Severity::Hint)))
            .fact(Fact::count("statements", statements))
            .fact(Fact::count("dropped", usize::try_from(self.dropped()).unwrap_or(usize::MAX)))
            .table(Table {
                title: "findings",
                columns: vec!["code", "severity", "place", "in", "what", "count"],
                rows: findings.iter().take(SHOWN_MAX).map(row).collect(),
            });
        if self.dropped() > 0 {
            out = out.note("some statements were not looked at: they came too fast");
        }
        out
    }
}
