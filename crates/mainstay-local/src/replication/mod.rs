//! Servers that replicate: a primary and its replicas, each in a folder of its own, and what can happen to
//! them: a pause, a delay, a crash, a promotion.
//!
//! Replication goes over TCP on 127.0.0.1; statements to a server go through its own client program, over its
//! Unix socket. Who is promoted and who follows, the caller says: nothing here elects.

mod mariadb;
mod postgres;

use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use crate::options::Options;
use crate::process::{ask, wait_until};
use crate::server::{START_LIMIT, Server};

/// For so long a killed PostgreSQL is started again.
const AGAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long one statement to a server may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Postgres,
    MariaDb,
}

/// A server that replicates: a primary or a replica. Made by [`Postgres::primary`](crate::Postgres::primary),
/// [`Postgres::replica`](crate::Postgres::replica) and MariaDB's two of the same names. It ends with the
/// process that started it, as every [`Server`]. Every call blocks: making a
/// replica for as long as it takes to copy what there is, all others for at most 70 s.
///
/// ```no_run
/// use mainstay_local::{Options, Postgres};
///
/// let with = |folder| Options { tcp_password: Some("secret".to_owned()), ..Options::new(folder) };
/// let mut primary = Postgres::primary(&with("./data/primary"))?;
/// let mut replica = Postgres::replica(&with("./data/replica"), &primary)?;
/// replica.wait_for(&primary.position()?)?;
/// primary.kill()?;
/// replica.promote()?;
/// println!("{}", replica.url("postgres"));
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Node {
    kind: Kind,
    /// With its port and its password.
    options: Options,
    /// `None` after a kill.
    server: Option<Server>,
    /// Whether a start makes a replica of it; PostgreSQL's data folder knows by itself.
    replica: bool,
    /// How often it was made anew.
    times: u16,
}

impl Node {
    /// Starts it for the first time, with a port that it keeps.
    fn first(
        kind: Kind,
        options: Options,
        start: impl FnOnce(&Options) -> Result<Server>,
    ) -> Result<Self> {
        if options.tcp_password.is_none() {
            let what = "a server that replicates is reached over TCP, and needs a password";
            return Err(Error::new(Code::LocalStart, what).fix("set Options::tcp_password"));
        }
        let options = Options { port: options.tcp_port()?, ..options };
        let server = start(&options)?;
        if !server.is_ours() {
            let what = format!("another process runs a server in {}", options.folder.display());
            return Err(Error::new(Code::LocalStart, what).fix("end it, or choose another folder"));
        }
        Ok(Self { kind, options, server: Some(server), replica: false, times: 0 })
    }

    /// Its URL, with the password; MariaDB's `database` may be empty.
    pub fn url(&self, database: &str) -> String {
        let (scheme, user) = match self.kind {
            Kind::Postgres => ("postgres", crate::postgres::USER),
            Kind::MariaDb => ("mysql", crate::mariadb::USER),
        };
        format!("{scheme}://{user}:{}@127.0.0.1:{}/{database}", self.password(), self.port())
    }

    /// Its port on 127.0.0.1, the same after a [`start`](Self::start).
    pub fn port(&self) -> u16 {
        self.options.port.unwrap_or_default()
    }

    /// The server; `None` after [`kill`](Self::kill).
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Ends it as a crash of its machine would, and waits until it is gone. What was committed is still
    /// there for [`start`](Self::start). Nothing where it is gone already.
    ///
    /// Errors: LOCAL-002.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.kill())
    }

    /// Starts it after a [`kill`](Self::kill), in the same folder and on the same port: a replica goes on as
    /// one, a primary as a primary, even if another was promoted meanwhile. Nothing where it runs.
    ///
    /// Errors: LOCAL-001, LOCAL-002, LOCAL-003.
    pub fn start(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        if !self.options.folder.join("data").exists() {
            let what = format!("{} has no data", self.options.folder.display());
            return Err(Error::new(Code::LocalFolder, what)
                .why("it was about to become another's replica, and that failed")
                .fix("let it rejoin"));
        }
        self.server = Some(match self.kind {
            Kind::Postgres => started_again(&self.options)?,
            Kind::MariaDb => mariadb::start(&self.options, self.times, self.replica)?,
        });
        Ok(())
    }

    /// Stops it and waits for its end.
    ///
    /// Errors: LOCAL-002.
    pub fn stop(mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Server::stop)
    }

    /// Stops the time for it, as for a machine that hangs: its connections stay, new ones are taken, and
    /// nobody answers.
    ///
    /// Errors: LOCAL-002.
    pub fn pause(&self) -> Result<()> {
        self.running()?.freeze(true)
    }

    /// Lets it go on.
    ///
    /// Errors: LOCAL-002.
    pub fn resume(&self) -> Result<()> {
        self.running()?.freeze(false)
    }

    /// Makes a primary of a replica, and waits until it takes writes. What it had received is applied first:
    /// PostgreSQL does so whatever its [delay](Self::delay), MariaDB waits the delay out, at most 30 s. The others
    /// go on as before until they [follow](Self::follow) it.
    ///
    /// Errors: LOCAL-002, as where it is a primary already.
    pub fn promote(&mut self) -> Result<()> {
        match self.kind {
            Kind::Postgres => postgres::promote(self)?,
            Kind::MariaDb => mariadb::promote(self)?,
        }
        self.replica = false;
        Ok(())
    }

    /// Makes a replica follow another primary, such as one that was promoted. One that has received more than
    /// the new primary had can't follow it, nor can a former primary: see [`rejoin`](Self::rejoin).
    ///
    /// Errors: LOCAL-002.
    pub fn follow(&mut self, primary: &Node) -> Result<()> {
        self.same_kind(primary)?;
        match self.kind {
            Kind::Postgres => postgres::follow(self, primary),
            Kind::MariaDb => mariadb::follow(self, primary),
        }
    }

    /// Throws away what it has and makes it a new replica of `primary`, on its port: the way back for a former
    /// primary. Kills it first, where it runs.
    ///
    /// Errors: LOCAL-002, LOCAL-003.
    pub fn rejoin(&mut self, primary: &Node) -> Result<()> {
        self.same_kind(primary)?;
        self.kill()?;
        let data = self.options.folder.join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).map_err(|e| {
                let what = format!("{} can't be removed", data.display());
                Error::new(Code::LocalFolder, what).cause(e)
            })?;
        }
        let options = of_replica(&self.options, primary);
        *self = match self.kind {
            Kind::Postgres => replica_again(&options, primary)?,
            Kind::MariaDb => mariadb::replica(options, self.times.wrapping_add(1), primary)?,
        };
        Ok(())
    }

    /// From now on a replica applies what is this old, and no sooner; zero ends it. MariaDB counts whole
    /// seconds: a part of one is taken for one; it asks its primary again for what it had received and not
    /// applied. PostgreSQL delays commits alone, and counts from the
    /// primary's.
    ///
    /// Errors: LOCAL-002.
    pub fn delay(&self, by: Duration) -> Result<()> {
        match self.kind {
            Kind::Postgres => postgres::delay(self, by),
            Kind::MariaDb => mariadb::delay(self, by),
        }
    }

    /// A replica still receives and answers reads, but applies nothing more, when this returns.
    ///
    /// Errors: LOCAL-002.
    pub fn pause_apply(&self) -> Result<()> {
        match self.kind {
            Kind::Postgres => postgres::pause_apply(self),
            Kind::MariaDb => mariadb::pause_apply(self),
        }
    }

    /// Lets it apply again.
    ///
    /// Errors: LOCAL-002.
    pub fn resume_apply(&self) -> Result<()> {
        match self.kind {
            Kind::Postgres => postgres::resume_apply(self),
            Kind::MariaDb => mariadb::resume_apply(self),
        }
    }

    /// How far it is: a primary with writing, a replica with applying. A log sequence number or a GTID.
    ///
    /// Errors: LOCAL-002.
    pub fn position(&self) -> Result<String> {
        self.execute(match self.kind {
            Kind::Postgres => postgres::POSITION,
            Kind::MariaDb => mariadb::POSITION,
        })
    }

    /// Waits until a replica has applied up to a [position](Self::position) of its primary, at most 30 s.
    ///
    /// Errors: LOCAL-002, with the end of its log.
    pub fn wait_for(&self, position: &str) -> Result<()> {
        let reached = match self.kind {
            Kind::Postgres => postgres::reaches(self, position, START_LIMIT)?,
            Kind::MariaDb => mariadb::reaches(self, position, START_LIMIT)?,
        };
        if reached {
            return Ok(());
        }
        let what = format!("the replica on port {} did not reach {position}", self.port());
        Err(Error::new(Code::LocalStart, what).why(self.running()?.folder.log_tail()))
    }

    /// Runs statements as an administrator, who may write to a MariaDB that is read only, and tells their rows,
    /// one a line, columns divided by tabs. The first that fails is the last. PostgreSQL's run in
    /// the database `postgres`.
    ///
    /// Errors: LOCAL-002, with what the server said; where it does not answer, after 40 s.
    pub fn execute(&self, sql: &str) -> Result<String> {
        let server = self.running()?;
        let (mut client, account) = match self.kind {
            Kind::Postgres => (postgres::client(self, server)?, crate::postgres::account()?),
            Kind::MariaDb => (mariadb::client(server)?, crate::mariadb::account()?),
        };
        ask(&mut client, sql, STATEMENT_LIMIT, account)
    }
}

impl Node {
    fn password(&self) -> &str {
        self.options.tcp_password.as_deref().unwrap_or_default()
    }

    fn running(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| {
            let what = format!("the server of port {} was killed", self.port());
            Error::new(Code::LocalStart, what).fix("start it again")
        })
    }

    fn same_kind(&self, primary: &Node) -> Result<()> {
        same_kind(self.kind, primary)
    }
}

fn same_kind(kind: Kind, primary: &Node) -> Result<()> {
    if kind == primary.kind {
        return Ok(());
    }
    let what = format!("{kind:?} can't follow {:?}", primary.kind);
    Err(Error::new(Code::LocalStart, what).fix("name a primary of the same engine"))
}

/// What a replica is started with: as asked, with the primary's password.
fn of_replica(options: &Options, primary: &Node) -> Options {
    Options { tcp_password: primary.options.tcp_password.clone(), ..options.clone() }
}

/// The settings that every such server needs, before those that were asked for, which so prevail.
fn with_settings(options: &Options, own: impl IntoIterator<Item = String>) -> Options {
    let settings = own.into_iter().chain(options.settings.iter().cloned()).collect();
    Options { settings, ..options.clone() }
}

/// As [`started_again`], where the data is the primary's.
fn replica_again(options: &Options, primary: &Node) -> Result<Node> {
    let mut node = postgres::replica(options.clone(), primary);
    wait_until(AGAIN_LIMIT, || {
        if node.is_err() {
            node = postgres::replica(options.clone(), primary);
        }
        node.is_ok()
    });
    node
}

/// What a killed one leaves with the kernel is not gone at once, and PostgreSQL does not begin beside that.
fn started_again(options: &Options) -> Result<Server> {
    let mut started = crate::Postgres::start(options);
    wait_until(AGAIN_LIMIT, || {
        if started.is_err() {
            started = crate::Postgres::start(options);
        }
        started.is_ok()
    });
    started
}
