//! What the suite shares: an engine each, and a count of the statements.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::observe::{Statement, Subscriber};
use mainstay_db::Db;
pub use mainstay_testkit::Engine;
use mainstay_testkit::Fresh;

/// Makes each function a test on every engine, in a module named after it.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        on_every_engine!(@engine sqlite Sqlite $($name)*);
        on_every_engine!(@engine postgres Postgres $($name)*);
        on_every_engine!(@engine mariadb MariaDb $($name)*);
        on_every_engine!(@engine pgbouncer PgBouncer $($name)*);
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

/// Runs `test` on a fresh database with some orders.
pub async fn run<F: Future<Output = ()>>(engine: Engine, test: impl Fn(Db) -> F) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    test(db.clone()).await;
    db.close(Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

/// The texts of the statements so far, with the file that each is told of.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<(String, String)>>>);

impl Seen {
    pub fn on(db: &Db) -> Self {
        let seen = Self::default();
        db.observer().subscribe(seen.clone());
        seen
    }

    pub fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Seen {
    fn statement(&self, event: &Statement<'_>) {
        let place = event.place.file().to_owned();
        self.0.lock().unwrap().push((event.sql.to_owned(), place));
    }
}
