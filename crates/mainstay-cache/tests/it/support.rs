//! What the suite's modules share: the stores, as handles that another process would have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_cache::{Builder, Cache, Memory, Redis, Sql, Tiered};
use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::Db;
use mainstay_testkit::{Broker, Engine, Fresh};
use tokio::sync::OnceCell;

/// Makes each function a test on every store, in a module named after what it needs.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        on_every_store!(@store memory Memory $($name)*);
        on_every_store!(@store sqlite Sqlite $($name)*);
        on_every_store!(@store postgres Postgres $($name)*);
        on_every_store!(@store mariadb MariaDb $($name)*);
        on_every_store!(@store redis Redis $($name)*);
        mod tiered {
            crate::support::on_every_store!(@store redis Tiered $($name)*);
        }
    };
    (@store $module:ident $kind:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let store = crate::support::At::new(crate::support::Kind::$kind).await;
                    crate::cache::$name(&store).await;
                    store.remove().await;
                }
            )*
        }
    };
}
pub(crate) use on_every_store;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Sqlite,
    Postgres,
    MariaDb,
    Redis,
    Tiered,
}

/// A store with nothing in it, and a database beside it.
pub struct At {
    pub kind: Kind,
    fresh: Fresh,
    pub db: Db,
    memory: Memory,
    redis: Option<Redis>,
}

/// The server of all tests that leave it alone.
async fn server() -> &'static Broker {
    static SERVER: OnceCell<Broker> = OnceCell::const_new();
    SERVER.get_or_init(Broker::redis).await
}

/// Long enough for a busy machine: the default is tested where it matters.
pub const PATIENT: Duration = Duration::from_secs(5);

impl At {
    pub async fn new(kind: Kind) -> Self {
        let engine = match kind {
            Kind::Postgres => Engine::Postgres,
            Kind::MariaDb => Engine::MariaDb,
            _ => Engine::Sqlite,
        };
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        mainstay_cache::install(&db).await.unwrap();
        let redis = match kind {
            Kind::Redis | Kind::Tiered => {
                let prefix = format!("{}:", fresh.name());
                let redis = Redis::new(&server().await.url()).unwrap().answer_within(PATIENT);
                Some(redis.prefix(prefix).unwrap())
            }
            _ => None,
        };
        Self { kind, fresh, db, memory: Memory::new(), redis }
    }

    pub fn builder(&self) -> Builder<String> {
        let redis = || self.redis.clone().expect("it is on Redis");
        match self.kind {
            Kind::Memory => Cache::builder("words", self.memory.clone()),
            Kind::Redis => Cache::builder("words", redis()),
            Kind::Tiered => Cache::builder("words", Tiered::new(redis())),
            _ => Cache::builder("words", Sql::new(&self.db)),
        }
    }

    /// As every other process would have it.
    pub fn cache(&self) -> Cache<String> {
        self.builder().build().unwrap()
    }

    pub async fn remove(self) {
        let _ = self.db.close(Duration::from_secs(5)).await;
        self.fresh.remove().await;
    }
}

/// A loader that counts, and says how often it was asked.
#[derive(Clone, Default)]
pub struct Loader(Arc<AtomicUsize>);

impl Loader {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Loads `word`, in no time.
    pub fn of(
        &self,
        word: &'static str,
    ) -> impl FnOnce() -> std::future::Ready<Result<Option<String>>> + Send + 'static + use<> {
        let count = Arc::clone(&self.0);
        move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(Some(word.to_owned())))
        }
    }
}

/// What `get_or_load` gave, as text.
pub fn word(found: Result<Option<Arc<String>>>) -> Option<String> {
    found.unwrap().map(|word| String::clone(&word))
}

pub async fn sleep_ms(ms: u64) {
    Clock::system().sleep(Duration::from_millis(ms)).await;
}

/// Waits until it is so, and fails after 20 s.
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
            assert!(waited < Duration::from_secs(20), "not within {waited:?}: {what}, at {place}");
            clock.sleep(Duration::from_millis(10)).await;
        }
    }
}
