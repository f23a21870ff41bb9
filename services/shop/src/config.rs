//! The shop's configuration: Mainstay's keys and its own.

use std::path::{Path, PathBuf};

use mainstay::config::Loader;
use mainstay::{Code, Db, Error, Result, Settings};
use serde::{Deserialize, Serialize};

/// Where the database is unless something else is said; its folder is made.
const DEFAULT_URL: &str = "sqlite:data/shop.db";

/// All keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[http]`.
    pub http: Http,
    /// `[jobs]`.
    pub jobs: Background,
    /// `[database]` and `[pool]`.
    #[serde(flatten)]
    pub mainstay: Settings,
}

impl Default for Config {
    fn default() -> Self {
        let mut mainstay = Settings::default();
        // Shops that are older than their migrations have the tables of the first one.
        mainstay.migrate.baseline_on_migrate = true;
        Self { http: Http::default(), jobs: Background::default(), mainstay }
    }
}

/// `[http]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The address to listen on. Default 127.0.0.1.
    pub host: String,
    /// The port to listen on; 0 takes a free one. Also read from `PORT`. Default 8080.
    pub port: u16,
    /// Whether `/readyz` fails while the database does not answer. Default false: where all
    /// instances share a database, failing would take all of them out at once.
    pub ready_needs_database: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 8080, ready_needs_database: false }
    }
}

/// `[jobs]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Background {
    /// Whether this process runs jobs; with false some other process must. Default true.
    pub worker: bool,
    /// How many at a time. Default 10.
    pub concurrency: usize,
    /// Where mails are written. Default data/mail.
    pub mail_folder: PathBuf,
}

impl Default for Background {
    fn default() -> Self {
        Self { worker: true, concurrency: 10, mail_folder: PathBuf::from("data/mail") }
    }
}

impl Config {
    /// `mainstay.toml`, the environment; flags are the caller's to add.
    pub fn sources() -> Loader {
        Settings::sources().variable("PORT", "http.port")
    }

    /// Connects to the configured database. Errors: as [`mainstay::db::Connect::connect`].
    pub async fn connect(&self) -> Result<Db> {
        if self.mainstay.database.url.is_none() {
            let folder = Path::new("data");
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::new(Code::File, "the folder ./data can't be made").cause(e))?;
        }
        self.mainstay.connect(DEFAULT_URL).await
    }
}
