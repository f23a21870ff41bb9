//! What the suite's modules share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_jobs::broker::nats::Nats;
use mainstay_jobs::broker::rabbitmq::RabbitMq;
use mainstay_jobs::broker::redis::Redis;
use mainstay_jobs::broker::{Broker, Consumer, Message};
use mainstay_jobs::{Context, Job, Queue, Worker, WorkerBuilder};
use mainstay_testkit::{Broker as Server, Engine, Fresh};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

/// Makes each function a test on every backend, in a module named after it, with a fresh database, and
/// notes it for the table of what each backend guarantees. Those after `databases` do not hold where a
/// broker carries the queue, for the reason given.
macro_rules! on_every_backend {
    ($($name:ident),* $(,)? $(; databases: $($only:ident $why:literal),* $(,)?)?) => {
        on_every_backend!(@backend sqlite Sqlite $($name)* $($($only)*)?);
        on_every_backend!(@backend postgres Postgres $($name)* $($($only)*)?);
        on_every_backend!(@backend mariadb MariaDb $($name)* $($($only)*)?);
        on_every_backend!(@backend rabbitmq RabbitMq $($name)*);
        on_every_backend!(@backend nats Nats $($name)*);
        on_every_backend!(@backend redis Redis $($name)*);

        /// What was tested, and why not on brokers.
        pub const GUARANTEES: &[(&str, Option<&str>)] = &[
            $((stringify!($name), None),)*
            $($((stringify!($only), Some($why)),)*)?
        ];
    };
    (@backend $module:ident $backend:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::support::run(crate::support::Backend::$backend, super::$name).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_backend;

/// What the suite runs on: databases, and brokers that carry the queues of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
    MariaDb,
    RabbitMq,
    Nats,
    Redis,
}

impl Backend {
    pub fn engine(self) -> Engine {
        match self {
            Backend::Postgres => Engine::Postgres,
            Backend::MariaDb => Engine::MariaDb,
            Backend::Sqlite | Backend::RabbitMq | Backend::Nats | Backend::Redis => Engine::Sqlite,
        }
    }

    /// The broker that all tests of this process share.
    async fn broker(self) -> Option<Arc<dyn Broker>> {
        static RABBITMQ: OnceCell<Server> = OnceCell::const_new();
        static NATS: OnceCell<Server> = OnceCell::const_new();
        static REDIS: OnceCell<Server> = OnceCell::const_new();
        Some(match self {
            Backend::Sqlite | Backend::Postgres | Backend::MariaDb => return None,
            Backend::RabbitMq => {
                let url = RABBITMQ.get_or_init(Server::rabbitmq).await.url();
                Arc::new(RabbitMq::connect(&url).await.unwrap())
            }
            Backend::Nats => {
                Arc::new(Nats::connect(&NATS.get_or_init(Server::nats).await.url()).await.unwrap())
            }
            Backend::Redis => {
                let url = REDIS.get_or_init(Server::redis).await.url();
                Arc::new(Redis::connect(&url).await.unwrap())
            }
        })
    }
}

/// A broker with queues of one test.
#[derive(Clone, Debug)]
pub struct Apart {
    inner: Arc<dyn Broker>,
    prefix: String,
}

impl Apart {
    fn name(&self, queue: &str) -> String {
        format!("{}.{}", self.prefix, queue.replace(':', "."))
    }
}

impl Broker for Apart {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn declare<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.declare(&queue).await })
    }

    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.publish(&queue, messages).await })
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Consumer>>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.consume(&queue, prefetch).await })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.depth(&queue).await })
    }

    fn requeue_dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<u32>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.requeue_dead(&queue, max).await })
    }

    fn dead<'a>(&'a self, queue: &'a str, max: u32) -> BoxFuture<'a, Result<Vec<Message>>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.dead(&queue, max).await })
    }

    fn remove<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<()>> {
        let queue = self.name(queue);
        Box::pin(async move { self.inner.remove(&queue).await })
    }
}

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A fresh database with the tables of jobs.
#[derive(Clone, Debug)]
pub struct Here {
    pub db: Db,
    pub url: String,
    pub seen: Seen,
    pub broker: Option<Apart>,
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
    /// A queue, or a group, as this backend has it.
    pub fn queue(&self, name: &str) -> Queue {
        match &self.broker {
            None => Queue::new(name),
            Some(broker) => Queue::new(name).via(broker.clone()),
        }
    }

    /// A worker whose handlers add to what was seen.
    pub fn worker(&self) -> WorkerBuilder<Seen> {
        self.worker_on(self.queue("default"))
    }

    pub fn worker_on(&self, queue: Queue) -> WorkerBuilder<Seen> {
        Worker::builder(&self.db, self.seen.clone())
            .poll_interval(Duration::from_millis(50))
            .queue(queue)
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
        Self { db, ..self.clone() }
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
pub async fn run<F: Future<Output = ()>>(backend: Backend, test: impl Fn(Here) -> F) {
    let fresh = Fresh::new(backend.engine()).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    mainstay_jobs::install(&db).await.unwrap();
    let broker = backend.broker().await;
    let broker = broker.map(|inner| Apart { inner, prefix: fresh.name().to_owned() });
    let (url, seen) = (fresh.url().to_owned(), Seen::default());
    let here = Here { db: db.clone(), url, seen, broker };
    test(here).await;
    let _ = db.close(Duration::from_secs(5)).await;
    fresh.remove().await;
}

/// Ends a worker in order.
pub async fn drain(worker: Worker) -> Result<()> {
    worker.drain(Duration::from_secs(20)).await
}
