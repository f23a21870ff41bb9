//! What the suite's modules share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_jobs::{Context, Job, Worker, WorkerBuilder};
pub use mainstay_testkit::Engine;
use mainstay_testkit::Fresh;
use serde::{Deserialize, Serialize};

/// Makes each function a test on every engine, in a module named after it, with a fresh database.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        on_every_engine!(@engine sqlite Sqlite $($name)*);
        on_every_engine!(@engine postgres Postgres $($name)*);
        on_every_engine!(@engine mariadb MariaDb $($name)*);
    };
    (@engine $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::support::run(crate::support::Engine::$engine, super::$name).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_engine;

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A fresh database with the tables of jobs.
#[derive(Clone, Debug)]
pub struct Here {
    pub db: Db,
    pub url: String,
    pub seen: Seen,
}

/// What handlers saw, in their order.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut out = BTreeMap::new();
        for one in self.all() {
            *out.entry(one).or_default() += 1;
        }
        out
    }
}

/// A job that says what it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Note {
    pub text: String,
}

impl Job for Note {
    const NAME: &'static str = "note";

    fn failed(&self, attempt: u32, _: &mainstay_core::Error) -> mainstay_jobs::Action {
        mainstay_jobs::Action::Retry(Duration::from_millis(20 * u64::from(attempt)))
    }
}

pub fn note(text: impl Into<String>) -> Note {
    Note { text: text.into() }
}

impl Here {
    /// A worker whose handlers add to what was seen.
    pub fn worker(&self) -> WorkerBuilder<Seen> {
        Worker::builder(&self.db, self.seen.clone()).poll_interval(Duration::from_millis(50))
    }

    /// One that only notes.
    pub async fn notes(&self) -> Worker {
        let worker = self.worker().handle(|note: Note, ctx: Context<Seen>| async move {
            ctx.state().add(note.text);
            Ok(())
        });
        worker.start().await.unwrap()
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM {table}")).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.db.query(AssertSqlSafe(sql.to_owned())).scalar().await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.db.query(AssertSqlSafe(sql.to_owned())).execute().await.unwrap();
    }

    /// Another handle to the same database, as another process has.
    pub async fn another(&self) -> Self {
        let db = Db::connect(&self.url).await.unwrap();
        Self { db, url: self.url.clone(), seen: self.seen.clone() }
    }
}

/// Waits until it is so.
#[track_caller]
pub fn until<F, Fut>(what: &'static str, mut done: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let place = std::panic::Location::caller();
    async move {
        let clock = Clock::system();
        let begun = clock.now();
        while !done().await {
            let waited = clock.now().saturating_duration_since(begun);
            assert!(waited < LIMIT, "not within {waited:?}: {what}, at {place}");
            clock.sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Waits until so many were seen.
pub async fn until_seen(seen: &Seen, count: usize) {
    let clock = Clock::system();
    let begun = clock.now();
    while seen.len() < count {
        let waited = clock.now().saturating_duration_since(begun);
        assert!(waited < LIMIT, "{} of {count} within {waited:?}: {:?}", seen.len(), seen.all());
        clock.sleep(Duration::from_millis(5)).await;
    }
}

/// Runs `test` on a fresh database.
pub async fn run<F: Future<Output = ()>>(engine: Engine, test: impl Fn(Here) -> F) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    mainstay_jobs::install(&db).await.unwrap();
    let here = Here { db: db.clone(), url: fresh.url().to_owned(), seen: Seen::default() };
    test(here).await;
    let _ = db.close(Duration::from_secs(5)).await;
    fresh.remove().await;
}

/// Ends a worker in order.
pub async fn drain(worker: Worker) -> Result<()> {
    worker.drain(Duration::from_secs(20)).await
}
