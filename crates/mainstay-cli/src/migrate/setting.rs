//! Where the migrations are and how they are run: flags over the environment over `mainstay.toml`.

use mainstay_core::config::Loader;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use mainstay_migrate::{Migrations, Migrator, Options, Told};
use mainstay_pool::Options as Pool;
use serde::{Deserialize, Serialize};

use super::Place;

/// A command has a session that migrates, one that locks, and one that looks.
const CONNECTIONS: u32 = 4;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    database: Database,
    migrate: Options,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Database {
    url: Option<String>,
}

pub(crate) struct Setting {
    url: Option<String>,
    pub(crate) origin: String,
    pub(crate) options: Options,
}

impl Setting {
    /// Errors: CFG-001 to CFG-003, APP-003.
    pub(crate) fn load(place: &Place) -> Result<Self> {
        let loaded = Loader::new()
            .partial()
            .file_if_present("mainstay.toml")
            .variable("DATABASE_URL", "database.url")
            .flag("url", "database.url", place.url.clone())
            .flag("table", "migrate.table", place.table.clone())
            .load::<Config>()?;
        let origin = loaded.origins.get("database.url").cloned().unwrap_or_default();
        let Config { database, migrate: mut options } = loaded.value;
        if !place.dirs.is_empty() {
            options.dir.clone_from(&place.dirs);
        }
        options.out_of_order |= place.out_of_order;
        for pair in &place.placeholders {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Error::new(Code::Argument, format!("--placeholder {pair} is no NAME=VALUE"))
            })?;
            options.placeholders.insert(name.to_owned(), value.to_owned());
        }
        options.validate()?;
        Ok(Self { url: database.url, origin, options })
    }

    pub(crate) fn migrations(&self) -> Migrations {
        self.options.dir.iter().fold(Migrations::new(), Migrations::folder)
    }

    /// Errors: CFG-004, and those of [`connect`](mainstay_db::Connect::connect).
    pub(crate) async fn connect(&self) -> Result<Db> {
        let url = self.url.as_deref().ok_or_else(|| {
            Error::new(Code::ConfigUrl, "no database is named")
                .fix("give --url, set DATABASE_URL, or write url under [database] in mainstay.toml")
        })?;
        let pool = Pool {
            max_size: CONNECTIONS,
            leak_after: None,
            transaction_idle_after: None,
            ..Pool::default()
        };
        Db::builder(url).name("migrate").pool(pool).connect().await
    }

    pub(crate) fn migrator(
        &self,
        db: &Db,
        tell: impl Fn(Told<'_>) + Send + Sync + 'static,
    ) -> Migrator {
        Migrator::new(db, self.migrations()).options(self.options.clone()).on(tell)
    }
}
