//! A private PostgreSQL.

use std::path::Path;
use std::process::Command;

use mainstay_core::{Code, Error, Result};

use crate::account::Account;
use crate::binaries::Programs;
use crate::folder::Folder;
use crate::options::Options;
use crate::process::{Watched, run, succeeds, wait_until};
use crate::server::{START_LIMIT, Server, wait_ready};

pub(crate) const PROGRAMS: Programs = Programs {
    variable: "MAINSTAY_TEST_POSTGRES_BIN",
    package: "postgresql",
    folders: &["/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin"],
};

/// The superuser of a private cluster; only who may open its socket's folder can be it.
pub(crate) const USER: &str = "mainstay";
/// Names the socket's file; on TCP another one is chosen.
const SOCKET_PORT: u16 = 5432;

/// Starts private PostgreSQL servers.
#[derive(Debug)]
pub struct Postgres;

impl Postgres {
    /// Runs PostgreSQL in `options.folder`, initialising it the first time (0.5 s), or joins the
    /// one that another process runs there. The server's own database is `postgres`.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn start(options: &Options) -> Result<Server> {
        start_with(options, |half, folder, account| initialise(options, half, folder, account))
    }
}

/// As [`Postgres::start`]; `make` fills the data folder the first time.
pub(crate) fn start_with(
    options: &Options,
    make: impl FnOnce(&Path, &Folder, Account) -> Result<()>,
) -> Result<Server> {
    let account = account()?;
    let folder = Folder::prepare(&options.folder, account)?;
    if !folder.try_own()? {
        return join(folder, account);
    }
    wait_for_predecessor(&folder, account)?;
    if !folder.data.join("PG_VERSION").exists() {
        folder.make_data(|half| make(half, &folder, account))?;
    }
    let port = options.tcp_port()?;
    let command = command(options, &folder, port, account)?;
    let mut process = Watched::spawn(&command, "INT", &folder, options.temporary, account)?;
    let name = port.unwrap_or(SOCKET_PORT);
    wait_ready(&folder, &mut process, START_LIMIT, || answers(&folder.run, name, account))?;
    let socket = folder.run.join(format!(".s.PGSQL.{name}"));
    Ok(Server { folder, process: Some(process), socket, port, user: USER.to_owned() })
}

/// Who PostgreSQL's programs run as.
pub(crate) fn account() -> Result<Account> {
    Account::choose(&["postgres", "nobody"])
}

fn join(folder: Folder, account: Account) -> Result<Server> {
    wait_until(START_LIMIT, || answers(&folder.run, SOCKET_PORT, account)).ok_or_else(|| {
        Error::new(
            Code::LocalStart,
            format!(
                "{} is in use by a process whose server does not answer",
                folder.root.display()
            ),
        )
        .fix("end that process, or choose another folder")
    })?;
    let socket = folder.run.join(format!(".s.PGSQL.{SOCKET_PORT}"));
    Ok(Server { folder, process: None, socket, port: None, user: USER.to_owned() })
}

/// A server whose process was killed a moment ago may still be stopping.
fn wait_for_predecessor(folder: &Folder, account: Account) -> Result<()> {
    let Ok(pg_ctl) = PROGRAMS.find("pg_ctl") else { return Ok(()) };
    let running = || {
        folder.data.join("postmaster.pid").exists()
            && succeeds(Command::new(&pg_ctl).arg("status").arg("-D").arg(&folder.data), account)
    };
    wait_until(START_LIMIT, || !running()).ok_or_else(|| {
        Error::new(
            Code::LocalStart,
            format!("a server that nobody watches over runs in {}", folder.root.display()),
        )
        .fix(format!("pg_ctl stop -D {}", folder.data.display()))
    })
}

pub(crate) fn initialise(
    options: &Options,
    half: &Path,
    folder: &Folder,
    account: Account,
) -> Result<()> {
    let mut initdb = Command::new(PROGRAMS.find("initdb")?);
    initdb.arg("-D").arg(half).args(["-U", USER, "-E", "UTF8", "--locale=C.UTF-8"]);
    initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"]);
    if let Some(password) = &options.tcp_password {
        let file = folder.write("password", password, account)?;
        initdb.arg(format!("--pwfile={}", file.display()));
    }
    if !options.durable {
        initdb.arg("--no-sync");
    }
    run(&mut initdb, account)
}

fn command(
    options: &Options,
    folder: &Folder,
    port: Option<u16>,
    account: Account,
) -> Result<Vec<String>> {
    let mut settings = vec![format!("unix_socket_directories={}", folder.run.display())];
    settings.push(format!("port={}", port.unwrap_or(SOCKET_PORT)));
    settings.push(format!("listen_addresses={}", if port.is_some() { "127.0.0.1" } else { "" }));
    if let Some(tls) = &options.tls {
        let certificate = folder.write("server.crt", &tls.certificate, account)?;
        let key = folder.write("server.key", &tls.key, account)?;
        settings.push("ssl=on".to_owned());
        settings.push(format!("ssl_cert_file={}", certificate.display()));
        settings.push(format!("ssl_key_file={}", key.display()));
    }
    if !options.durable {
        settings.extend(
            ["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(String::from),
        );
    }
    settings.extend(options.settings.iter().cloned());
    let program = PROGRAMS.find("postgres")?.display().to_string();
    let mut command = vec![program, "-D".to_owned(), folder.data.display().to_string()];
    command.extend(settings.into_iter().flat_map(|s| ["-c".to_owned(), s]));
    Ok(command)
}

fn answers(run: &Path, port: u16, account: Account) -> bool {
    let Ok(ready) = PROGRAMS.find("pg_isready") else { return false };
    let port = port.to_string();
    succeeds(Command::new(ready).arg("-h").arg(run).args(["-p", &port, "-d", "postgres"]), account)
}
