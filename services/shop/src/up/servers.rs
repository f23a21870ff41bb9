//! The database and the broker of the five: those that are configured, or private ones below `./data`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use mainstay::route::Databases;
use mainstay::route::topology::MAIN;
use mainstay::{Code, Error, Result};
use mainstay_local::{Options, RabbitMq, Server};

use super::{FOLDER, ports, secret};
use crate::config::Config;
use crate::{schema, server};

/// Of the services' processes, which join it.
const DATABASE: &str = "postgres+local:data/pg";

/// What is running for the services. A private server ends with this process, however that ends.
pub(super) struct Servers {
    /// With the URLs of both.
    pub(super) config: Config,
    databases: Databases,
    rabbitmq: Option<Server>,
}

impl Servers {
    /// Starts what is missing, and brings the schema to where the services, which wait for that, need it.
    ///
    /// Errors: LOCAL-001 to LOCAL-003, DB-026, those of a connection and of a migration.
    pub(super) async fn start(config: &Config) -> Result<Self> {
        let mut config = config.clone();
        let own = config.mainstay.database.url.is_none();
        config.mainstay.database.url.get_or_insert_with(|| DATABASE.to_owned());
        // Each shard carries its own queues.
        let carried = config.mainstay.shards.databases.is_empty();
        let broker = carried && config.jobs.broker.is_none();
        if own || broker {
            eprintln!("starting private servers below ./{FOLDER}");
        }
        let rabbitmq = if broker {
            let (server, url) = private_rabbitmq().await?;
            config.jobs.broker = Some(url);
            Some(server)
        } else {
            None
        };
        let databases = config.connect().await?;
        schema::migrate(&databases, &config.mainstay.migrate).await?;
        // Their tables too, which five that start at the same time would all make.
        mainstay::cache::install(&databases.primary(MAIN)?).await?;
        Ok(Self { config, databases, rabbitmq })
    }

    /// What the services must be told.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let given = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut all = vec![("MAINSTAY_DATABASE__URL", given(&self.config.mainstay.database.url))];
        if self.config.jobs.broker.is_some() {
            all.push(("MAINSTAY_JOBS__BROKER", given(&self.config.jobs.broker)));
        }
        all
    }

    /// Where they are, without passwords.
    pub(super) fn places(&self) -> String {
        let places = server::places(&self.databases);
        let Some(url) = self.config.jobs.broker.as_deref() else { return places };
        let at = url.rsplit(['@', '/']).find(|part| part.contains(':')).unwrap_or("its address");
        format!("{places}, RabbitMQ at {at}")
    }

    /// Ends what is ours. Errors: POOL-, LOCAL-002.
    pub(super) async fn stop(self, limit: Duration) -> Result<()> {
        let closed = self.databases.close(limit).await;
        let stopped = match self.rabbitmq {
            Some(server) => blocking(|| server.stop()).await,
            None => Ok(()),
        };
        closed.and(stopped)
    }
}

/// The same again at the next start: what it had been given to carry is in its folder, under its address.
async fn private_rabbitmq() -> Result<(Server, String)> {
    let folder = Path::new(FOLDER);
    let file = folder.join("rabbitmq.access");
    let wrong = |e: std::io::Error| {
        let what = "the private RabbitMQ's port and password can't be kept in ./data";
        Error::new(Code::File, what).cause(e)
    };
    fs::create_dir_all(folder).map_err(wrong)?;
    let known = fs::read_to_string(&file).unwrap_or_default();
    let mut words = known.split_whitespace();
    let port = words.next().and_then(|port| port.parse().ok());
    let (port, password) = match (port, words.next()) {
        (Some(port), Some(password)) => (port, password.to_owned()),
        _ => {
            let (port, password) = (ports::any()?, secret()?);
            let mut file: File = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&file)
                .map_err(wrong)?;
            writeln!(file, "{port} {password}").map_err(wrong)?;
            (port, password)
        }
    };
    let url = format!("amqp://mainstay:{password}@127.0.0.1:{port}");
    let options = Options {
        port: Some(port),
        tcp_password: Some(password),
        ..Options::new(folder.join("rabbitmq"))
    };
    let server = blocking(move || RabbitMq::start(&options)).await?;
    Ok((server, url))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let cut = |e| Error::new(Code::LocalStart, "a private server was cut off").cause(e);
    tokio::task::spawn_blocking(work).await.map_err(cut)?
}
