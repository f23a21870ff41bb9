//! What the suite's modules share.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use mainstay_core::observe::{Statement, Subscriber};
use mainstay_core::{Code, Error};
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_migrate::{Migrations, Migrator};
pub use mainstay_testkit::Engine;
use mainstay_testkit::Fresh;

/// Makes each function a test on every engine, in a module named after it, with a fresh database.
/// Migrations need a session of their own, so none is behind a pooler.
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

/// A database with its URL.
#[derive(Clone, Debug)]
pub struct Here {
    pub db: Db,
}

impl Here {
    pub fn migrator(&self, migrations: Migrations) -> Migrator {
        Migrator::new(&self.db, migrations)
    }

    /// Of scripts by name.
    pub fn of(&self, scripts: &[(&str, &str)]) -> Migrator {
        let all = scripts.iter().fold(Migrations::new(), |all, (name, sql)| all.text(*name, *sql));
        self.migrator(all)
    }

    pub async fn run(&self, sql: &str) {
        let mut session = self.db.session().await.unwrap();
        session.run(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.db.query(AssertSqlSafe(sql.to_owned())).scalar().await.unwrap()
    }

    pub async fn exists(&self, table: &str) -> bool {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        self.db.query(AssertSqlSafe(sql)).scalar::<i64>().await.is_ok()
    }

    /// The history: version, type, success.
    pub async fn history(&self) -> Vec<(Option<String>, String, bool)> {
        let mut session = self.db.session().await.unwrap();
        let q = |name: &str| self.db.engine().quote(name);
        let sql = format!(
            "SELECT {}, {}, {} FROM flyway_schema_history ORDER BY {}",
            q("version"),
            q("type"),
            q("success"),
            q("installed_rank")
        );
        let rows = session.rows(&sql, Vec::new()).await.unwrap();
        rows.iter().map(|r| (r.at(0).unwrap(), r.at(1).unwrap(), r.at(2).unwrap())).collect()
    }
}

/// Runs `test` on a fresh database.
pub async fn run<F: Future<Output = ()>>(engine: Engine, test: impl Fn(Here) -> F) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    test(Here { db: db.clone() }).await;
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, code: Code) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), code, "{error:?}");
    error.report()
}

pub fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Ends the process with -9 after so many statements, whatever is under way.
pub struct Kill(pub AtomicI64);

impl Subscriber for Kill {
    fn statement(&self, _: &Statement<'_>) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}
