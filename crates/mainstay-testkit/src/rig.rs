//! The servers of a test run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mainstay_core::{Code, Error, Result, config};
use mainstay_local::{
    MariaDb, Options, PgBouncer, Postgres, RabbitMq, Redis, Server, Tls, Upstream,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde::{Deserialize, Serialize};

/// The variable that tells a test process where the servers are, as JSON.
const VARIABLE: &str = "MAINSTAY_TEST_RIG";

/// Where the servers are reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// PostgreSQL, without a database: `postgres://user:password@127.0.0.1:port`.
    pub postgres: String,
    /// The folder of its Unix socket.
    pub postgres_socket: PathBuf,
    /// MariaDB, without a database.
    pub mariadb: String,
    /// Its Unix socket.
    pub mariadb_socket: PathBuf,
    /// PgBouncer in transaction mode before that PostgreSQL, without a database.
    pub pgbouncer: String,
    /// RabbitMQ, where it was asked for: benchmarks do; tests have [brokers](crate::Broker) of their own.
    #[serde(default)]
    pub rabbitmq: Option<String>,
    /// Redis, where it was asked for.
    #[serde(default)]
    pub redis: Option<String>,
    /// The certificate of the authority that signed both servers' certificates.
    pub authority: PathBuf,
}

/// Running servers; they end when it is dropped.
#[derive(Debug)]
pub struct Rig {
    servers: Vec<Server>,
    addresses: Addresses,
    /// Removed when it is dropped.
    scratch: tempfile::TempDir,
}

/// The servers of this run. Panics, naming what to install, where they can't be started.
pub fn rig() -> &'static Addresses {
    static RIG: OnceLock<(Addresses, Option<Rig>)> = OnceLock::new();
    let (addresses, _) = RIG.get_or_init(|| match config::variable(VARIABLE) {
        Some(json) => {
            let addresses = serde_json::from_str(&json);
            (
                addresses.unwrap_or_else(|e| panic!("{VARIABLE} is not what the rig wrote: {e}")),
                None,
            )
        }
        None => {
            let rig = Rig::start(false)
                .unwrap_or_else(|e| panic!("the test servers did not start\n{e:?}"));
            (rig.addresses.clone(), Some(rig))
        }
    });
    addresses
}

impl Rig {
    /// Starts PostgreSQL, PgBouncer before it, and MariaDB in a scratch folder, on free loopback ports with TLS. With
    /// `durable`, commits reach the disk, as benchmarks want it.
    pub fn start(durable: bool) -> Result<Self> {
        let scratch = scratch()?;
        let (tls, authority) = certificates(scratch.path())?;
        // Long enough not to be guessed by others on this machine; never printed but in the URLs.
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let options = |name: &str, settings: &[&str]| Options {
            tcp_password: Some(password.clone()),
            tls: Some(tls.clone()),
            durable,
            temporary: true,
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            ..Options::new(scratch.path().join(name))
        };
        let postgres = Postgres::start(&options(
            "postgres",
            &["max_connections=200", "max_prepared_transactions=50"],
        ))?;
        let mariadb = MariaDb::start(&options("mariadb", &["max-connections=300"]))?;
        let upstream = Upstream {
            port: postgres.port().expect("started with a password, so it has a port"),
            user: postgres.user().to_owned(),
            password: password.clone(),
        };
        // Its idle connections to the server go soon: each test has a database of its own.
        let settings = ["default_pool_size=40", "server_idle_timeout=5", "query_wait_timeout=20"];
        let pgbouncer = PgBouncer::start(&options("pgbouncer", &settings), &upstream)?;
        let at = |scheme: &str, server: &Server| {
            let port = server.port().expect("started with a password, so it has a port");
            format!("{scheme}://{}:{password}@127.0.0.1:{port}", server.user())
        };
        let addresses = Addresses {
            postgres: at("postgres", &postgres),
            postgres_socket: postgres.socket_folder().to_owned(),
            pgbouncer: at("postgres", &pgbouncer),
            mariadb: at("mysql", &mariadb),
            mariadb_socket: mariadb.socket().to_owned(),
            rabbitmq: None,
            redis: None,
            authority,
        };
        Ok(Self { servers: vec![pgbouncer, postgres, mariadb], addresses, scratch })
    }

    /// With RabbitMQ and Redis beside them.
    pub fn with_brokers(mut self) -> Result<Self> {
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let options = |name: &str| Options {
            tcp_password: Some(password.clone()),
            temporary: true,
            ..Options::new(self.scratch.path().join(name))
        };
        let (rabbitmq, redis) =
            (RabbitMq::start(&options("rabbitmq"))?, Redis::start(&options("redis"))?);
        let port = |server: &Server| server.port().unwrap_or_default();
        let (amqp, resp) = (port(&rabbitmq), port(&redis));
        self.addresses.rabbitmq = Some(format!("amqp://mainstay:{password}@127.0.0.1:{amqp}"));
        self.addresses.redis = Some(format!("redis://:{password}@127.0.0.1:{resp}"));
        self.servers.extend([rabbitmq, redis]);
        Ok(self)
    }

    /// Where they are.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The variable to set for a process that shall use these servers.
    pub fn variable(&self) -> (&'static str, String) {
        (VARIABLE, serde_json::to_string(&self.addresses).expect("plain strings"))
    }

    /// Stops them and waits for their end.
    pub fn stop(self) -> Result<()> {
        self.servers.into_iter().try_for_each(Server::stop)
    }
}

/// A scratch folder that the servers' accounts can reach.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix("mainstay-rig-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .map_err(|e| Error::new(Code::LocalFolder, "no scratch folder could be made").cause(e))
}

/// A private authority, and a certificate for 127.0.0.1 and localhost that it signed.
fn certificates(folder: &Path) -> Result<(Tls, PathBuf)> {
    let failed =
        |e: rcgen::Error| Error::new(Code::LocalStart, "no certificate could be made").cause(e);
    let mut authority = CertificateParams::new(Vec::new()).map_err(failed)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(failed)?);
    let authority = authority.map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .and_then(|params| params.signed_by(&key, &authority))
        .map_err(failed)?;
    let path = folder.join("authority.pem");
    std::fs::write(&path, authority.pem()).map_err(|e| {
        Error::new(Code::LocalFolder, format!("{} can't be written", path.display())).cause(e)
    })?;
    let tls = Tls {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        authority: authority.pem(),
    };
    Ok((tls, path))
}
