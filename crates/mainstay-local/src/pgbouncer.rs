//! A private PgBouncer before a PostgreSQL, in transaction mode.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mainstay_core::Result;
use mainstay_core::{Code, Error};

use crate::account::Account;
use crate::binaries::Programs;
use crate::folder::Folder;
use crate::options::Options;
use crate::process::Watched;
use crate::server::{START_LIMIT, Server, free_port, wait_ready};

const PROGRAMS: Programs = Programs {
    variable: "MAINSTAY_TEST_PGBOUNCER_BIN",
    package: "pgbouncer",
    folders: &["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"],
};

/// Starts private PgBouncers.
#[derive(Debug)]
pub struct PgBouncer;

/// The PostgreSQL behind it, on 127.0.0.1. Clients use the same user and password.
#[derive(Clone)]
pub struct Upstream {
    /// Its port.
    pub port: u16,
    /// The one user.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl PgBouncer {
    /// Runs PgBouncer in `options.folder` on a free port of 127.0.0.1, for every database of
    /// `upstream`. Of the options, TLS and durability mean nothing here.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn start(options: &Options, upstream: &Upstream) -> Result<Server> {
        let program = PROGRAMS.find("pgbouncer")?;
        let account = Account::choose(&["postgres", "nobody"])?;
        let folder = Folder::prepare(&options.folder, account)?;
        if !folder.try_own()? {
            let what = format!("another process runs a server in {}", folder.root.display());
            return Err(Error::new(Code::LocalStart, what).fix("end it, or choose another folder"));
        }
        let port = free_port()?;
        let quoted = |s: &str| s.replace('"', "\"\"");
        let users = format!("\"{}\" \"{}\"\n", quoted(&upstream.user), quoted(&upstream.password));
        let users = folder.write("userlist.txt", &users, account)?;
        let settings = options.settings.join("\n");
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n\
             pool_mode = transaction\nserver_login_retry = 1\nmax_client_conn = 2000\n\
             ignore_startup_parameters = extra_float_digits\n{settings}\n",
            upstream.port,
            users.display(),
        );
        let config = folder.write("pgbouncer.ini", &config, account)?;
        let command =
            [program.display().to_string(), "-q".to_owned(), config.display().to_string()];
        // It keeps nothing, and its versions differ in what they wait for at other signals.
        let mut process = Watched::spawn(&command, "KILL", &folder, options.temporary, account)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_ready(&folder, &mut process, START_LIMIT, || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })?;
        let socket = folder.run.join("pgbouncer.sock");
        let user = upstream.user.clone();
        Ok(Server { folder, process: Some(process), socket, port: Some(port), user })
    }
}

/// Without the password.
impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("port", &self.port)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_starts_and_is_gone_when_it_was_stopped() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // Nobody need be behind it to be listened for.
        let upstream =
            Upstream { port: 9, user: "mainstay".to_owned(), password: "secret".to_owned() };
        let server = PgBouncer::start(&Options::new(dir.path().join("b")), &upstream).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], server.port().unwrap()));
        assert!(TcpStream::connect(address).is_ok());
        server.stop().unwrap();
        assert!(TcpStream::connect(address).is_err(), "it still listens");
    }
}
