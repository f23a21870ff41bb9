//! What the suite's modules share.

use std::sync::Arc;
use std::time::Duration;

use mainstay_db::Db;
use mainstay_doctor::{Doctor, Finding};
pub use mainstay_testkit::Engine;
use mainstay_testkit::Fresh;

/// Makes each function a test on every engine, in a module named after it, with a fresh database and its
/// URL.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        on_every_engine!(@ sqlite Sqlite $($name)*);
        on_every_engine!(@ postgres Postgres $($name)*);
        on_every_engine!(@ mariadb MariaDb $($name)*);
    };
    (@ $module:ident $engine:ident $($name:ident)*) => {
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

/// Runs `test` on a fresh database.
pub async fn run<F: Future<Output = ()>>(engine: Engine, test: impl Fn(Db, String) -> F) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    test(db.clone(), fresh.url().to_owned()).await;
    db.close(Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

/// Posts, each with comments; their keys are in no order.
pub async fn posts(db: &Db, count: i64) {
    db.script(
        "CREATE TABLE posts (id BIGINT PRIMARY KEY, author VARCHAR(20) NOT NULL);
         CREATE TABLE comments (id BIGINT PRIMARY KEY, post_id BIGINT NOT NULL, text VARCHAR(50) NOT NULL)",
    )
    .await
    .unwrap();
    let key = |n: i64| n * 37 % 1009 + 3;
    let posts = (0..count).map(|n| (key(n), "ada"));
    db.bulk_insert("posts", &["id", "author"], posts).await.unwrap();
    let comments = (0..count).map(|n| (n, key(n), "well"));
    db.bulk_insert("comments", &["id", "post_id", "text"], comments).await.unwrap();
}

/// The findings once there is one of `code`, or none after a while.
pub async fn told(doctor: &Doctor, code: &str) -> Arc<[Finding]> {
    for _ in 0..500 {
        let found = doctor.findings();
        if found.iter().any(|f| f.code.as_str() == code) {
            return found.into();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    doctor.findings().into()
}

/// The one of `code`.
pub fn of<'f>(findings: &'f [Finding], code: &str) -> &'f Finding {
    let mut all = findings.iter().filter(|f| f.code.as_str() == code);
    let first = all.next().unwrap_or_else(|| panic!("no {code} in {findings:#?}"));
    assert!(all.next().is_none(), "several {code} in {findings:#?}");
    first
}
