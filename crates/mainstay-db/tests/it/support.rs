//! What the suite's modules share.

use mainstay_db::Db;
pub use mainstay_testkit::Engine;
use mainstay_testkit::Fresh;

/// Makes each function a test on every engine, in a module named after it, with a fresh database.
///
/// With `url:` in front, the functions are also given the database's URL.
macro_rules! on_every_engine {
    (url: $($name:ident),* $(,)?) => {
        on_every_engine!(@url sqlite Sqlite $($name)*);
        on_every_engine!(@url postgres Postgres $($name)*);
        on_every_engine!(@url mariadb MariaDb $($name)*);
        on_every_engine!(@url pgbouncer PgBouncer $($name)*);
    };
    (@url $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::support::run_with(crate::support::Engine::$engine, super::$name).await;
                }
            )*
        }
    };
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

/// Runs `test` on a fresh database, and looks afterwards whether all came back.
pub async fn run<F: Future<Output = ()>>(engine: Engine, test: impl Fn(Db) -> F) {
    run_with(engine, |db, _| test(db)).await;
}

/// As [`run`], with the database's URL.
pub async fn run_with<F: Future<Output = ()>>(engine: Engine, test: impl Fn(Db, String) -> F) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    test(db.clone(), fresh.url().to_owned()).await;
    all_back(&db).await;
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

/// Waits until no connection is out.
pub async fn all_back(db: &Db) {
    for _ in 0..5000 {
        if db.status().in_use == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("connections are still out: {:?}", db.status());
}

/// Whether PgBouncer is between: it never passes on what the driver says at the start.
pub async fn behind_pooler(db: &Db) -> bool {
    const ASK: &str =
        "SELECT source <> 'client' FROM pg_settings WHERE name = 'extra_float_digits'";
    db.engine() == mainstay_db::Engine::Postgres && db.query(ASK).scalar().await.unwrap()
}

/// Runs the text that is for the handle's engine.
pub async fn script(db: &Db, sqlite: &'static str, postgres: &'static str, mysql: &'static str) {
    let sql = match db.engine() {
        mainstay_db::Engine::Sqlite => sqlite,
        mainstay_db::Engine::Postgres => postgres,
        mainstay_db::Engine::MySql => mysql,
    };
    db.script(sql).await.unwrap();
}

/// A table with a key that counts up, a number and a text.
pub async fn accounts(db: &Db, count: i64) {
    db.script("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0))")
        .await
        .unwrap();
    db.bulk_insert("accounts", &["id", "balance"], (0..count).map(|id| (id, 1000i64)))
        .await
        .unwrap();
}
