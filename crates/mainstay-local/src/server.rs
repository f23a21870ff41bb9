//! A private server that runs: where it is reached, and how it ends. What PostgreSQL and MariaDB
//! share of starting is here too.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use crate::folder::Folder;
use crate::process::{Watched, wait_until};

/// How long a start or a stop may take.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// A running private server. Dropping it stops the server if we started it, in the background;
/// [`stop`](Server::stop) waits for the end. If another process had started it, we only use it.
#[derive(Debug)]
pub struct Server {
    pub(crate) folder: Folder,
    /// `None` where another process owns the server.
    pub(crate) process: Option<Watched>,
    pub(crate) socket: PathBuf,
    pub(crate) port: Option<u16>,
    pub(crate) user: String,
}

impl Server {
    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        &self.folder.run
    }

    /// The Unix socket itself.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The port on 127.0.0.1, if it has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The account to connect as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.folder.log
    }

    /// Whether it was started by us, and so ends with us.
    pub fn is_ours(&self) -> bool {
        self.process.is_some()
    }

    /// Ends it at once, as a crash of its machine would, and waits until it is gone: for tests of what then
    /// happens. Nothing where it is not ours.
    ///
    /// Errors: LOCAL-002.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |p| p.kill(START_LIMIT))
    }

    /// Stops the time for it, as for a machine that hangs, or lets it go on: its connections stay, and nobody
    /// answers. Nothing where it is not ours.
    ///
    /// Errors: LOCAL-002.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.process.as_ref().map_or(Ok(()), |p| p.freeze(frozen).map(drop))
    }

    /// Stops it and waits for its end, if it is ours.
    pub fn stop(mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), |p| p.stop(START_LIMIT))
    }
}

/// Waits until the server answers. Errors: LOCAL-002 with the end of its log.
pub(crate) fn wait_ready(
    folder: &Folder,
    process: &mut Watched,
    limit: Duration,
    ready: impl Fn() -> bool,
) -> Result<()> {
    let mut died = false;
    let up = wait_until(limit, || {
        died = !process.is_alive();
        died || ready()
    });
    if up.is_some() && !died {
        return Ok(());
    }
    let how = if died { "ended at once" } else { "did not answer" };
    Err(Error::new(
        Code::LocalStart,
        format!("the private server in {} {how}", folder.root.display()),
    )
    .why(folder.log_tail())
    .fix(format!("read {}", folder.log.display())))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|l| l.local_addr())
        .map(|a| a.port())
        .map_err(|e| Error::new(Code::LocalStart, "no free port on 127.0.0.1").cause(e))
}
