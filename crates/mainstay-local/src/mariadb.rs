//! A private MariaDB.

use std::path::Path;
use std::process::Command;

use mainstay_core::{Code, Error, Result};

use crate::account::Account;
use crate::binaries::Programs;
use crate::folder::Folder;
use crate::options::Options;
use crate::process::{Watched, run, succeeds};
use crate::server::{START_LIMIT, Server, wait_ready};

pub(crate) const PROGRAMS: Programs = Programs {
    variable: "MAINSTAY_TEST_MARIADB_BIN",
    package: "mariadb-server",
    folders: &["/usr/sbin", "/usr/bin", "/usr/local/mysql/bin"],
};

pub(crate) const USER: &str = "mainstay";

/// Starts private MariaDB servers.
#[derive(Debug)]
pub struct MariaDb;

impl MariaDb {
    /// Runs MariaDB in `options.folder`, initialising it the first time (about 2 s).
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start, or another process runs one
    /// there), LOCAL-003 (folder).
    pub fn start(options: &Options) -> Result<Server> {
        start_with(options, &accounts(options))
    }
}

/// As [`MariaDb::start`]; `accounts` are the statements that make the accounts, run at every start.
pub(crate) fn start_with(options: &Options, accounts: &str) -> Result<Server> {
    let account = account()?;
    let folder = Folder::prepare(&options.folder, account)?;
    if !folder.try_own()? {
        let what = format!("another process runs a server in {}", folder.root.display());
        return Err(Error::new(Code::LocalStart, what).fix("end it, or choose another folder"));
    }
    if !folder.data.join("mysql").exists() {
        folder.make_data(|half| initialise(half, &folder, account))?;
    }
    let port = options.tcp_port()?;
    let socket = folder.run.join("mariadb.sock");
    let init = folder.write("init.sql", accounts, account)?;
    let mut command = command(options, &folder, &socket, port, account)?;
    command.push(format!("--init-file={}", init.display()));
    let mut process = Watched::spawn(&command, "TERM", &folder, options.temporary, account)?;
    wait_ready(&folder, &mut process, START_LIMIT, || answers(&socket, account))?;
    Ok(Server { folder, process: Some(process), socket, port, user: USER.to_owned() })
}

/// Who MariaDB's programs run as.
pub(crate) fn account() -> Result<Account> {
    Account::choose(&["mysql", "nobody"])
}

fn initialise(half: &Path, folder: &Folder, account: Account) -> Result<()> {
    let mut install = Command::new(PROGRAMS.find("mariadb-install-db")?);
    install.arg("--no-defaults").arg(format!("--datadir={}", half.display()));
    install.arg(format!("--tmpdir={}", folder.scratch(account)?.display()));
    install.args([
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]);
    run(&mut install, account)
}

fn command(
    options: &Options,
    folder: &Folder,
    socket: &Path,
    port: Option<u16>,
    account: Account,
) -> Result<Vec<String>> {
    let mut command =
        vec![PROGRAMS.find("mariadbd")?.display().to_string(), "--no-defaults".to_owned()];
    let mut set = |setting: String| command.push(format!("--{setting}"));
    set(format!("datadir={}", folder.data.display()));
    set(format!("socket={}", socket.display()));
    set(format!("tmpdir={}", folder.scratch(account)?.display()));
    set("character-set-server=utf8mb4".to_owned());
    set("skip-name-resolve".to_owned());
    match port {
        Some(port) => {
            set("bind-address=127.0.0.1".to_owned());
            set(format!("port={port}"));
        }
        None => set("skip-networking".to_owned()),
    }
    if let Some(tls) = &options.tls {
        for (name, text) in [("cert", &tls.certificate), ("key", &tls.key), ("ca", &tls.authority)]
        {
            let file = folder.write(&format!("server-{name}.pem"), text, account)?;
            set(format!("ssl-{name}={}", file.display()));
        }
    }
    if !options.durable {
        set("innodb-flush-log-at-trx-commit=0".to_owned());
        if !options.settings.iter().any(|s| s.starts_with("log-bin")) {
            set("skip-log-bin".to_owned());
        }
    }
    options.settings.iter().for_each(|s| set(s.clone()));
    Ok(command)
}

/// The statements that give our user its rights.
pub(crate) fn accounts(options: &Options) -> String {
    let mut sql = format!(
        "CREATE OR REPLACE USER '{USER}'@'localhost' IDENTIFIED BY '';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'localhost' WITH GRANT OPTION;\n"
    );
    if let Some(password) = &options.tcp_password {
        let password = password.replace('\\', "\\\\").replace('\'', "''");
        sql += &format!(
            "CREATE OR REPLACE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
             GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
        );
    }
    sql
}

fn answers(socket: &Path, account: Account) -> bool {
    let Ok(admin) = PROGRAMS.find("mariadb-admin") else { return false };
    let socket = format!("--socket={}", socket.display());
    let user = format!("--user={USER}");
    succeeds(Command::new(admin).args(["--no-defaults", &socket, &user, "ping"]), account)
}
