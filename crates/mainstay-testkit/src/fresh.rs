//! A database of its own for each test.

use std::fmt;

use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::rig::rig;

/// The databases that Mainstay runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB, for MySQL's protocol.
    MariaDb,
    /// PostgreSQL through PgBouncer in transaction mode.
    PgBouncer,
}

impl Engine {
    /// Every engine, for a suite that runs on each.
    pub const ALL: [Engine; 4] =
        [Engine::Sqlite, Engine::Postgres, Engine::MariaDb, Engine::PgBouncer];
}

/// An empty database that nobody else uses. It is dropped with this value, or else goes with the
/// run's scratch folder.
pub struct Fresh {
    engine: Engine,
    url: String,
    name: String,
    /// Of SQLite's file.
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    /// Makes an empty database. Panics, saying why, where the server is missing.
    pub async fn new(engine: Engine) -> Self {
        let name = format!("t_{:016x}", fastrand::u64(..));
        let (url, folder) = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().expect("a scratch folder");
                (format!("sqlite:{}/{name}.db", folder.path().display()), Some(folder))
            }
            Engine::Postgres => (format!("{}/{name}", rig().postgres), None),
            Engine::MariaDb => (format!("{}/{name}", rig().mariadb), None),
            Engine::PgBouncer => (format!("{}/{name}", rig().pgbouncer), None),
        };
        let fresh = Self { engine, url, name, _folder: folder };
        fresh.administer(&format!("CREATE DATABASE {}", fresh.name)).await;
        fresh
    }

    /// Its URL, for `Db::connect`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL over the server's Unix socket, where it has one.
    pub fn socket_url(&self) -> String {
        match self.engine {
            Engine::Sqlite | Engine::PgBouncer => self.url.clone(),
            Engine::Postgres => {
                let socket = rig().postgres_socket.display();
                let port = rig().postgres.rsplit(':').next().unwrap_or_default();
                format!("postgres:///{}?host={socket}&port={port}&user=mainstay", self.name)
            }
            Engine::MariaDb => {
                format!(
                    "mysql://mainstay@localhost/{}?socket={}",
                    self.name,
                    rig().mariadb_socket.display()
                )
            }
        }
    }

    /// Removes the database. Not needed, but a long run is kinder to the disk for it.
    pub async fn remove(self) {
        let on_postgres = matches!(self.engine, Engine::Postgres | Engine::PgBouncer);
        let force = if on_postgres { " WITH (FORCE)" } else { "" };
        self.administer(&format!("DROP DATABASE {}{force}", self.name)).await;
    }

    async fn administer(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        let done = match self.engine {
            Engine::Sqlite => return,
            Engine::Postgres | Engine::PgBouncer => {
                async {
                    let url = format!("{}/postgres", rig().postgres);
                    sqlx::PgConnection::connect(&url).await?.execute(sql).await.map(drop)
                }
                .await
            }
            Engine::MariaDb => {
                async {
                    sqlx::MySqlConnection::connect(&rig().mariadb)
                        .await?
                        .execute(sql)
                        .await
                        .map(drop)
                }
                .await
            }
        };
        done.unwrap_or_else(|e| panic!("the test server refused: {e}"));
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh")
            .field("engine", &self.engine)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
