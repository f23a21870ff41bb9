//! Which database a command works on.

use mainstay_core::Result;
use mainstay_core::config::Loader;
use mainstay_db::{Connect, Db};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Default, Serialize, Deserialize)]
struct Config {
    database: Database,
}

#[derive(Default, Serialize, Deserialize)]
struct Database {
    url: Option<String>,
}

/// A database's URL and where that came from; a database of its own if none is configured.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) origin: String,
    /// Removed with the database in it when this is dropped.
    folder: Option<TempDir>,
}

impl Target {
    /// `flag`, or else `DATABASE_URL`, or else `mainstay.toml`, or else a SQLite file in a temporary
    /// folder. Errors: CFG-001 to CFG-003.
    pub(crate) fn find(flag: Option<String>) -> Result<Self> {
        let loaded = Loader::new()
            .partial()
            .file_if_present("mainstay.toml")
            .variable("DATABASE_URL", "database.url")
            .flag("url", "database.url", flag)
            .load::<Config>()?;
        if let Some(url) = loaded.value.database.url {
            let origin = loaded.origins.get("database.url").cloned().unwrap_or_default();
            return Ok(Self { url, origin, folder: None });
        }
        let folder = tempfile::tempdir().map_err(|e| {
            mainstay_core::Error::new(mainstay_core::Code::File, "no temporary folder").cause(e)
        })?;
        let url = format!("sqlite:{}", folder.path().join("lab.db").display());
        let origin = "none is configured: SQLite in a temporary folder".to_owned();
        Ok(Self { url, origin, folder: Some(folder) })
    }

    /// Whether it is a database of its own, since none is configured.
    pub(crate) fn is_own(&self) -> bool {
        self.folder.is_some()
    }

    pub(crate) fn connect(&self) -> Connect {
        Db::builder(&self.url)
    }
}
