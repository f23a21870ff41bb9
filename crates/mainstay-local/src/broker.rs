//! Private message brokers and a private Redis: RabbitMQ, NATS with JetStream, Redis with its log of
//! appends. On 127.0.0.1 alone, for users with a password.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use crate::account::Account;
use crate::binaries::Programs;
use crate::folder::Folder;
use crate::options::Options;
use crate::process::{Watched, wait_until};
use crate::server::{START_LIMIT, Server, free_port, wait_ready};

/// The one user.
const USER: &str = "mainstay";

const RABBITMQ: Programs = Programs {
    variable: "MAINSTAY_TEST_RABBITMQ_BIN",
    package: "rabbitmq-server",
    folders: &["/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"],
};
const EPMD: Programs = Programs {
    variable: "MAINSTAY_TEST_ERLANG_BIN",
    package: "erlang-base",
    folders: &["/usr/bin", "/usr/lib/erlang/bin", "/usr/local/bin", "/opt/homebrew/bin"],
};
const NATS: Programs = Programs {
    variable: "MAINSTAY_TEST_NATS_BIN",
    package: "nats-server",
    folders: &["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"],
};
const REDIS: Programs = Programs {
    variable: "MAINSTAY_TEST_REDIS_BIN",
    package: "redis-server",
    folders: &["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"],
};

/// RabbitMQ needs its node's directory beside it: `$1` is epmd, the rest the server. Both end together,
/// and nothing of Erlang's stays behind.
const RABBITMQ_START: &str = r#"epmd=$1; shift
"$epmd" -port "$ERL_EPMD_PORT" -address 127.0.0.1 &
directory=$!
"$@" &
server=$!
trap 'kill -s TERM "$server"' TERM
wait "$server"; wait "$server" 2>/dev/null
status=$?
kill -s KILL "$directory" 2>/dev/null
exit $status"#;

/// Erlang starts slowly, and slower yet where others use the processors.
const RABBITMQ_LIMIT: Duration = Duration::from_secs(120);

/// Starts private RabbitMQs.
#[derive(Debug)]
pub struct RabbitMq;

/// Starts private NATS servers, with JetStream.
#[derive(Debug)]
pub struct Nats;

/// Starts private Redis servers.
#[derive(Debug)]
pub struct Redis;

impl RabbitMq {
    /// Runs RabbitMQ in `options.folder`, on the port asked for or a free one of 127.0.0.1. Of the options,
    /// TLS and durability mean nothing here: quorum queues always write to the disk.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn start(options: &Options) -> Result<Server> {
        let (server, epmd) = (RABBITMQ.find("rabbitmq-server")?, EPMD.find("epmd")?);
        let (folder, account, port) = prepare(options, &["rabbitmq"])?;
        for name in ["mnesia", "logs", "home"] {
            let path = folder.root.join(name);
            std::fs::create_dir_all(&path).map_err(|e| unusable(&path, e))?;
            account.own(&path)?;
        }
        wait_for_predecessor(&folder)?;
        let settings = format!(
            "listeners.tcp.default = 127.0.0.1:{port}\ndefault_user = {USER}\ndefault_pass = {}\n\
             loopback_users = none\ndisk_free_limit.absolute = 50MB\n{}\n",
            password(options),
            options.settings.join("\n")
        );
        let config = folder.write("rabbitmq.conf", &settings, account)?;
        let plugins = folder.write("enabled_plugins", "[].\n", account)?;
        let root = folder.root.display();
        // A shell can't trap what was ignored when it began, as it is by the one that watches.
        let mut command: Vec<String> =
            ["/usr/bin/env", "-i", "--default-signal=TERM"].map(str::to_owned).to_vec();
        command.extend([
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin".to_owned(),
            format!("HOME={root}/home"),
            format!("RABBITMQ_NODENAME=mainstay-{port}@localhost"),
            format!("RABBITMQ_MNESIA_BASE={root}/mnesia"),
            format!("RABBITMQ_LOG_BASE={root}/logs"),
            format!("RABBITMQ_CONFIG_FILE={}", config.display()),
            format!("RABBITMQ_ENABLED_PLUGINS_FILE={}", plugins.display()),
            "RABBITMQ_CONF_ENV_FILE=/dev/null".to_owned(),
            format!("RABBITMQ_PID_FILE={root}/pid"),
            format!("RABBITMQ_DIST_PORT={}", free_port()?),
            format!("ERL_EPMD_PORT={}", free_port()?),
            "ERL_EPMD_ADDRESS=127.0.0.1".to_owned(),
            // The port that nodes of a cluster would use is on all addresses otherwise.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}"
                .to_owned(),
            "LANG=C.UTF-8".to_owned(),
        ]);
        let start = ["/bin/sh", "-c", RABBITMQ_START, "rabbitmq"].map(str::to_owned);
        command.extend(start);
        command.extend([epmd.display().to_string(), server.display().to_string()]);
        let mut process = Watched::spawn(&command, "TERM", &folder, options.temporary, account)?;
        // It listens before it is ready, but greets nobody.
        wait_ready(&folder, &mut process, RABBITMQ_LIMIT, || {
            greets(port, b"AMQP\x00\x00\x09\x01", &[1])
        })?;
        Ok(running(folder, process, port))
    }
}

impl Nats {
    /// Runs NATS in `options.folder`, on the port asked for or a free one of 127.0.0.1. It acknowledges
    /// before its data is on the disk, whatever the options say.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn start(options: &Options) -> Result<Server> {
        let server = NATS.find("nats-server")?;
        let (folder, account, port) = prepare(options, &["nats", "nobody"])?;
        let store = folder.root.join("jetstream");
        std::fs::create_dir_all(&store).map_err(|e| unusable(&store, e))?;
        account.own(&store)?;
        let settings = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n\
             authorization {{ user: {USER}, password: \"{}\" }}\n{}\n",
            store.display(),
            password(options),
            options.settings.join("\n")
        );
        let config = folder.write("nats.conf", &settings, account)?;
        let command = [server.display().to_string(), "-c".to_owned(), config.display().to_string()];
        let mut process = Watched::spawn(&command, "TERM", &folder, options.temporary, account)?;
        wait_ready(&folder, &mut process, START_LIMIT, || greets(port, b"", b"INFO"))?;
        Ok(running(folder, process, port))
    }
}

impl Redis {
    /// Runs Redis in `options.folder`, on the port asked for or a free one of 127.0.0.1. Durable, each write
    /// is on the disk before it is answered; otherwise within a second.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn start(options: &Options) -> Result<Server> {
        let server = REDIS.find("redis-server")?;
        let (folder, account, port) = prepare(options, &["redis", "nobody"])?;
        let data = folder.root.join("redis");
        std::fs::create_dir_all(&data).map_err(|e| unusable(&data, e))?;
        account.own(&data)?;
        let sync = if options.durable { "always" } else { "everysec" };
        let settings = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nrequirepass {}\nappendonly yes\nappendfsync {sync}\n\
             save \"\"\ndaemonize no\n{}\n",
            data.display(),
            password(options),
            options.settings.join("\n")
        );
        let config = folder.write("redis.conf", &settings, account)?;
        let command = [server.display().to_string(), config.display().to_string()];
        let mut process = Watched::spawn(&command, "TERM", &folder, options.temporary, account)?;
        // While it reads its log it answers LOADING, but to those alone whom it knows.
        let hello = format!("AUTH {}\r\nPING\r\n", password(options));
        let ready = || greets(port, hello.as_bytes(), b"+OK\r\n+PONG");
        wait_ready(&folder, &mut process, START_LIMIT, ready)?;
        let mut server = running(folder, process, port);
        "default".clone_into(&mut server.user);
        Ok(server)
    }
}

/// A RabbitMQ whose process was killed a moment ago may still be stopping, with its files open.
fn wait_for_predecessor(folder: &Folder) -> Result<()> {
    let home = folder.root.join("home").display().to_string();
    let running = || {
        let pid = std::fs::read_to_string(folder.root.join("pid")).unwrap_or_default();
        // The number may be another process's by now.
        let said = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim()));
        said.is_ok_and(|said| said.contains(&home))
    };
    wait_until(START_LIMIT, || !running()).ok_or_else(|| {
        let what = format!("a server that nobody watches over runs in {}", folder.root.display());
        Error::new(Code::LocalStart, what)
            .fix(format!("end the process named in {}/pid", folder.root.display()))
    })
}

fn password(options: &Options) -> &str {
    options.tcp_password.as_deref().unwrap_or("mainstay")
}

fn prepare(options: &Options, accounts: &[&str]) -> Result<(Folder, Account, u16)> {
    let account = Account::choose(accounts)?;
    let folder = Folder::prepare(&options.folder, account)?;
    if !folder.try_own()? {
        let what = format!("another process runs a server in {}", folder.root.display());
        return Err(Error::new(Code::LocalStart, what).fix("end it, or choose another folder"));
    }
    let port = options.port.map_or_else(free_port, Ok)?;
    Ok((folder, account, port))
}

fn running(folder: Folder, process: Watched, port: u16) -> Server {
    let socket = folder.run.join("none");
    Server { folder, process: Some(process), socket, port: Some(port), user: USER.to_owned() }
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::LocalFolder, format!("{} can't be made", path.display())).cause(error)
}

/// Whether who listens there answers `hello` with something that begins like `answer`.
fn greets(port: u16, hello: &[u8], answer: &[u8]) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let wait = Duration::from_secs(2);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, wait) else { return false };
    let mut first = vec![0; answer.len()];
    stream.set_read_timeout(Some(wait)).is_ok()
        && stream.write_all(hello).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == answer
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn started(start: fn(&Options) -> Result<Server>) -> (tempfile::TempDir, Server) {
        let dir = folder();
        let server = start(&Options::new(dir.path().join("b"))).unwrap();
        (dir, server)
    }

    fn it_comes_back(start: fn(&Options) -> Result<Server>) {
        let dir = folder();
        let options = Options::new(dir.path().join("b"));
        let mut server = start(&options).unwrap();
        let port = server.port();
        let address = SocketAddr::from(([127, 0, 0, 1], port.unwrap()));
        assert!(TcpStream::connect(address).is_ok());
        server.kill().unwrap();
        assert!(TcpStream::connect(address).is_err(), "it still listens");
        drop(server);
        let server = start(&Options { port, ..options }).unwrap();
        assert!(TcpStream::connect(address).is_ok(), "on the same port");
        server.stop().unwrap();
        assert!(TcpStream::connect(address).is_err(), "it still listens");
    }

    /// Each in a module of its server's name, by which tests that need none leave them out.
    mod rabbitmq {
        use super::*;

        #[test]
        fn it_is_gone_when_it_was_killed_and_comes_back() {
            it_comes_back(RabbitMq::start);
        }

        /// As after a kill -9 of the process that had started it.
        #[test]
        fn one_that_is_still_stopping_is_waited_for() {
            let dir = folder();
            let account = Account::choose(&["rabbitmq"]).unwrap();
            let folder = Folder::prepare(&dir.path().join("b"), account).unwrap();
            let home = folder.root.join("home");
            let mut stopping = std::process::Command::new("/bin/sh");
            let mut stopping = stopping.args(["-c", "sleep 1; :"]).arg(&home).spawn().unwrap();
            std::fs::write(folder.root.join("pid"), stopping.id().to_string()).unwrap();
            wait_for_predecessor(&folder).unwrap();
            assert!(stopping.try_wait().unwrap().is_some(), "it still runs");
            // Somebody else has its number by now.
            std::fs::write(folder.root.join("pid"), std::process::id().to_string()).unwrap();
            wait_for_predecessor(&folder).unwrap();
        }

        #[test]
        fn whatever_it_listens_on_is_loopback() {
            let (_dir, server) = started(RabbitMq::start);
            let below = crate::tree::below(server.process.as_ref().unwrap().pid().unwrap());
            let beam = below.iter().find(|p| {
                let name = std::fs::read_to_string(format!("/proc/{}/comm", p.as_raw_pid()));
                name.is_ok_and(|name| name.starts_with("beam"))
            });
            let listening = listening(beam.unwrap().as_raw_pid());
            assert!(listening.len() >= 2, "{listening:?}");
            assert!(
                listening.iter().all(|address| address.starts_with("0100007F:")),
                "{listening:?}"
            );
            server.stop().unwrap();
        }

        /// The local addresses of a process's listening sockets, as the kernel writes them.
        fn listening(process: i32) -> Vec<String> {
            let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
            let links: Vec<String> = open
                .filter_map(|fd| Some(std::fs::read_link(fd.path()).ok()?.display().to_string()))
                .collect();
            let mut found = Vec::new();
            for table in ["tcp", "tcp6"] {
                let rows = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap();
                for row in rows.lines().skip(1) {
                    let fields: Vec<&str> = row.split_whitespace().collect();
                    if fields[3] == "0A" && links.contains(&format!("socket:[{}]", fields[9])) {
                        found.push(fields[1].to_owned());
                    }
                }
            }
            found
        }
    }

    mod nats {
        use super::*;

        #[test]
        fn it_is_gone_when_it_was_killed_and_comes_back() {
            it_comes_back(Nats::start);
        }
    }

    mod redis {
        use super::*;

        #[test]
        fn it_is_gone_when_it_was_killed_and_comes_back() {
            it_comes_back(Redis::start);
        }

        #[test]
        fn one_whose_time_is_stopped_can_be_stopped() {
            let (_dir, server) = started(Redis::start);
            server.freeze(true).unwrap();
            server.stop().unwrap();
        }
    }
}
