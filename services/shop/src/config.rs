//! The shop's configuration: Mainstay's keys and its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay::config::Loader;
use mainstay::observe::Observer;
use mainstay::route::Databases;
use mainstay::{Code, Error, Result, Settings};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::faults;
use crate::part::Part;
use crate::peers;

/// Where the database is unless something else is said; its folder is made.
pub(crate) const DEFAULT_URL: &str = "sqlite:data/shop.db";

/// Keys whose values are not shown: they are secret, or URLs that may hold a password.
pub const SECRETS: [&str; 7] = [
    "database.replicas",
    "database.url",
    "jobs.broker",
    "redis.url",
    "sessions.secret",
    "shards.catalogue",
    "shards.databases",
];

/// All keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `[http]`.
    pub http: Http,
    /// `[api]`.
    pub api: Api,
    /// `[jobs]`.
    pub jobs: Background,
    /// `[limits]`.
    pub limits: Limited,
    /// `[cache]`.
    pub cache: Remembered,
    /// `[sessions]`.
    pub sessions: LoggedIn,
    /// `[redis]`.
    pub redis: Beside,
    /// `[services]`.
    pub services: Services,
    /// `[database]`, `[pool]` and `[shards]`.
    #[serde(flatten)]
    pub mainstay: Settings,
}

impl Default for Config {
    fn default() -> Self {
        let mut mainstay = Settings::default();
        // Shops that are older than their migrations have the tables of the first one.
        mainstay.migrate.baseline_on_migrate = true;
        Self {
            http: Http::default(),
            api: Api::default(),
            jobs: Background::default(),
            limits: Limited::default(),
            cache: Remembered::default(),
            sessions: LoggedIn::default(),
            redis: Beside::default(),
            services: Services::default(),
            mainstay,
        }
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
    /// Whether there are routes that fail on purpose, below `/faults`, and what the doctor says of them at `/doctor`.
    /// Default false.
    pub faults: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            ready_needs_database: false,
            faults: false,
        }
    }
}

/// `[jobs]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Background {
    /// Whether this process runs jobs; with false some other process must. Default true.
    pub worker: bool,
    /// How many at a time. Default 10.
    pub concurrency: usize,
    /// Where mails are written. Default data/mail.
    pub mail_folder: PathBuf,
    /// The RabbitMQ that carries the queues, `amqp://...`; also read from `RABBITMQ_URL`. Default none: the
    /// database does. Every process with workers must be given the same.
    pub broker: Option<String>,
}

impl Default for Background {
    fn default() -> Self {
        let mail_folder = PathBuf::from("data/mail");
        Self { worker: true, concurrency: 10, mail_folder, broker: None }
    }
}

/// `[limits]`: policies, such as `100/min burst 20`, for each client address.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limited {
    /// Of all requests. Default `200/s burst 400`.
    pub requests: String,
    /// Of orders. Default `100/s burst 200`.
    pub orders: String,
    /// Of codes asked for and tried. Default `20/min burst 10`.
    pub login: String,
    /// Proxies in front that are trusted to say who the client is. Default 0.
    pub trusted_hops: usize,
}

impl Default for Limited {
    fn default() -> Self {
        let policy = str::to_owned;
        Self {
            requests: policy("200/s burst 400"),
            orders: policy("100/s burst 200"),
            login: policy("20/min burst 10"),
            trusted_hops: 0,
        }
    }
}

/// `[cache]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remembered {
    /// How long a page of products is good. Default 30s.
    #[serde(with = "humantime_serde")]
    pub products_ttl: Duration,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { products_ttl: Duration::from_secs(30) }
    }
}

/// `[sessions]`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggedIn {
    /// What cookies are signed with: 32 random bytes or more. Default one of this process's own.
    pub secret: Option<String>,
    /// Whether cookies go over HTTPS alone. Default false, for a shop on loopback.
    pub secure: bool,
}

/// `[redis]`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Beside {
    /// Where limits, sessions and pages are shared among processes; without it they are this process's, and
    /// sessions the database's.
    pub url: Option<String>,
}

/// `[services]`: which of the shop's services this process is, and where the others are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// all, users, orders, inventory, notifications or analytics; the flag `--service`. Default all.
    pub run: Part,
    /// Where the users service is, for a process that is the orders service alone: `http://127.0.0.1:8081`.
    pub users: Option<String>,
    /// The same of the inventory service.
    pub inventory: Option<String>,
}

impl Services {
    /// Whether it says where the others are that this process asks, so that it is told before anything is
    /// begun. Errors: CFG-003.
    pub fn check(&self) -> Result<()> {
        peers::service(Part::Users, self)?;
        peers::service(Part::Inventory, self).map(drop)
    }
}

/// Without the broker's URL, which holds a password.
impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background")
            .field("worker", &self.worker)
            .field("concurrency", &self.concurrency)
            .field("mail_folder", &self.mail_folder)
            .finish_non_exhaustive()
    }
}

/// Without the secret.
impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn").field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl Config {
    /// `mainstay.toml`, the environment; flags are the caller's to add.
    pub fn sources() -> Loader {
        Settings::sources()
            .variable("PORT", "http.port")
            .variable("RABBITMQ_URL", "jobs.broker")
            .variable("REDIS_URL", "redis.url")
    }

    /// Connects to the configured databases: one, one with replicas, or shards of orders beside it. What happens on any of
    /// them is told to the main database's observer.
    ///
    /// Errors: as [`mainstay::route::Topology::connect`]; CFG-003 where a broker is to carry the queues of several
    /// databases.
    pub async fn connect(&self) -> Result<Databases> {
        if self.jobs.broker.is_some() && !self.mainstay.shards.databases.is_empty() {
            let what = "`jobs.broker` is set, and so is `shards.databases`";
            return Err(Error::new(Code::ConfigValue, what)
                .why("a queue on a broker is one database's, and each shard has its own")
                .fix("leave the broker out: each shard's queues are carried by itself"));
        }
        if self.mainstay.database.url.is_none() {
            let folder = Path::new("data");
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::new(Code::File, "the folder ./data can't be made").cause(e))?;
        }
        let mut settings = self.mainstay.clone();
        if self.http.faults {
            faults::impatient(&mut settings.pool);
        }
        let observer = Observer::new();
        let topology = settings.topology(DEFAULT_URL);
        let connected = topology.connect_with(|connect| connect.observer(observer.clone()));
        Box::pin(connected).await
    }
}
