//! The Debian packages that tests and benchmarks need: installed where we may, named where not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{Done, run};

/// A package, by a program that it brings.
struct Package {
    name: &'static str,
    program: &'static str,
}

const SERVERS: &[Package] = &[
    Package { name: "postgresql", program: "initdb" },
    // Hypothetical indexes, by which advice is verified.
    Package {
        name: "postgresql-15-hypopg",
        program: "/usr/share/postgresql/15/extension/hypopg.control",
    },
    Package { name: "mariadb-server", program: "mariadbd" },
    Package { name: "pgbouncer", program: "pgbouncer" },
    Package { name: "rabbitmq-server", program: "/usr/lib/rabbitmq/bin/rabbitmq-server" },
    Package { name: "nats-server", program: "nats-server" },
    Package { name: "redis-server", program: "redis-server" },
    // Another client of RabbitMQ's, which ours is held to.
    Package { name: "python3-pika", program: "/usr/lib/python3/dist-packages/pika/__init__.py" },
];
const LOAD: &[Package] = &[Package { name: "wrk", program: "wrk" }];

const JAVA: &[Package] = &[
    Package { name: "default-jre-headless", program: "java" },
    Package { name: "libslf4j-java", program: "/usr/share/java/slf4j-nop.jar" },
    Package { name: "npm", program: "npm" },
];

const NODE: &[Package] =
    &[Package { name: "nodejs", program: "node" }, Package { name: "npm", program: "npm" }];

/// What BullMQ runs on.
pub(crate) fn node() -> Done {
    ensure(NODE)
}

/// What the real Liquibase runs on.
pub(crate) fn java() -> Done {
    ensure(JAVA)
}

/// The servers that the tests run against.
pub(crate) fn servers() -> Done {
    ensure(SERVERS)
}

/// The load generator of the benchmarks.
pub(crate) fn load() -> Done {
    ensure(LOAD)
}

fn ensure(packages: &[Package]) -> Done {
    let missing: Vec<&str> =
        packages.iter().filter(|p| !installed(p.program)).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let by_hand = format!(
        "missing: {names}. Install with: sudo apt-get install --no-install-recommends {names}"
    );
    let Some(prefix) = privilege() else { return Err(by_hand) };
    eprintln!("installing {names}");
    let apt = |args: &[&str]| {
        let mut command = Command::new(prefix.first().copied().unwrap_or("apt-get"));
        command.args(prefix.iter().skip(1)).args((!prefix.is_empty()).then_some("apt-get"));
        // Single-user mode: the packages do not start servers of their own.
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        run(command.stdout(Stdio::null()))
    };
    apt(&["update", "-q"]).map_err(|e| format!("{e}\n{by_hand}"))?;
    let install = [&["install", "-q", "-y", "--no-install-recommends"], &missing[..]].concat();
    apt(&install).map_err(|e| format!("{e}\n{by_hand}"))?;
    match packages.iter().find(|p| !installed(p.program)) {
        None => Ok(()),
        Some(package) => {
            Err(format!("{} was installed, but {} is not there", package.name, package.program))
        }
    }
}

/// How to run apt-get with rights: as we are, through sudo, or not at all.
fn privilege() -> Option<&'static [&'static str]> {
    if !on_path("apt-get") {
        return None;
    }
    let succeeds = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    if succeeds("sh", &["-c", "test $(id -u) = 0"]) {
        Some(&[])
    } else if succeeds("sudo", &["-n", "true"]) {
        Some(&["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"])
    } else {
        None
    }
}

fn installed(program: &str) -> bool {
    let elsewhere =
        ["/usr/sbin", "/usr/local/bin"].iter().map(PathBuf::from).chain(postgres_folders());
    on_path(program) || elsewhere.into_iter().any(|folder| folder.join(program).is_file())
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|f| f.join(program).is_file()))
}

fn postgres_folders() -> Vec<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir();
    versions.into_iter().flatten().flatten().map(|v| v.path().join("bin")).collect()
}
