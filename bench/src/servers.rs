//! The databases that are measured: a new one on each server of the rig, and a file for SQLite.

use std::sync::atomic::{AtomicU32, Ordering};

use mainstay::Db;
use sqlx::{AssertSqlSafe, Connection, Executor};

/// An engine under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Engine {
    pub(crate) const ALL: [Engine; 3] = [Engine::Sqlite, Engine::Postgres, Engine::MariaDb];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
            Engine::MariaDb => "MariaDB",
        }
    }
}

/// A new database; SQLite's file goes with it.
pub(crate) struct Fresh {
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

/// What the rig says of its servers.
#[expect(clippy::disallowed_methods, reason = "a tool, not a service: it has no configuration")]
pub(crate) fn address(key: &str) -> String {
    let json = std::env::var("MAINSTAY_TEST_RIG").expect("run it with `cargo xtask bench`");
    let json: serde_json::Value = serde_json::from_str(&json).expect("what the rig wrote");
    json[key].as_str().expect("an address").to_owned()
}

pub(crate) async fn fresh(engine: Engine) -> Fresh {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("bench_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = tempfile::tempdir().expect("a scratch folder");
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    // Without TLS on both sides of every comparison: loopback is what is measured.
    let url = match engine {
        Engine::Sqlite => format!("sqlite:{}/{name}.db", folder.path().display()),
        Engine::Postgres => {
            let server = address("postgres");
            let admin = format!("{server}/postgres?sslmode=disable");
            let mut admin =
                sqlx::PgConnection::connect(&admin).await.expect("the rig's PostgreSQL");
            admin.execute(create).await.expect("a new database");
            format!("{server}/{name}?sslmode=disable")
        }
        Engine::MariaDb => {
            let server = address("mariadb");
            let admin = format!("{server}?ssl-mode=DISABLED");
            let mut admin =
                sqlx::MySqlConnection::connect(&admin).await.expect("the rig's MariaDB");
            admin.execute(create).await.expect("a new database");
            format!("{server}/{name}?ssl-mode=DISABLED")
        }
    };
    Fresh { url, _folder: folder }
}

pub(crate) async fn connect(fresh: &Fresh) -> Db {
    let options = mainstay::pool::Options { max_size: 10, ..Default::default() };
    Db::builder(&fresh.url).pool(options).connect().await.expect("it was just made")
}
