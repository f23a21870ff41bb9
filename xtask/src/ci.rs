//! Tests, benchmarks, and what must pass before a change lands.

use std::process::Command;

use crate::run::{Done, cargo, run};
use crate::{again, oracle, packages};

/// What `cargo test` runs. The benchmarks have no tests, and their peers take minutes to build.
const TESTED: [&str; 4] = ["test", "--workspace", "--exclude", "bench"];

/// Tests at a time: most of them wait, for servers and for time to pass.
const THREADS: &str = "4";

/// The features of the facade, each of which must build alone.
const FEATURES: &[&str] = &[
    "sqlite",
    "postgres",
    "mysql",
    "local",
    "sqlite,metrics",
    "sqlite,migrate",
    "sqlite,jobs",
    "sqlite,rabbitmq",
    "sqlite,nats",
    "sqlite,jobs,redis",
    "sqlite,limit,redis",
    "sqlite,cache,redis",
    "sqlite,load",
    "sqlite,doctor",
    "sqlite,route",
    "sqlite,http",
    "sqlite,client",
    "sqlite,openapi",
];

/// The modules of the tests that need a server, or another tool.
const SERVERS: &[&str] = &[
    "postgres::",
    "mariadb::",
    "pgbouncer::",
    "oracle::",
    "rabbitmq::",
    "nats::",
    "redis::",
    // The doctor's, which are called by what they are about.
    "advice::advise::",
    "advice::bad::",
    "advice::plans::",
    "exam::safety::",
    "exam::server::",
];

/// Every test; under the rig, unless only the embedded ones are asked for.
pub(crate) fn test(embedded: bool, rest: &[String]) -> Done {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    if embedded {
        // What is given may itself have words for the test programs, after `--`.
        let at = rest.iter().position(|word| *word == "--").unwrap_or(rest.len());
        let (to_cargo, to_tests) = rest.split_at(at);
        let mut skip = vec!["--"];
        for server in SERVERS {
            skip.extend(["--skip", server]);
        }
        let to_tests = to_tests.get(1..).unwrap_or_default();
        return run(&mut cargo(&[&TESTED[..], to_cargo, &skip, to_tests].concat()));
    }
    run(&mut under_the_rig(&[&TESTED[..], &rest].concat())?)
}

/// A call of cargo's, with the servers.
fn under_the_rig(words: &[&str]) -> Done<Command> {
    packages::servers()?;
    let mut command = cargo(&[&RIG[..], &["exec", env!("CARGO")], words].concat());
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", THREADS);
    }
    if let Some(memory) = memory() {
        command.env("TMPDIR", memory);
    }
    command.env(oracle::VARIABLE, oracle::liquibase()?);
    Ok(command)
}

/// Where files are in memory, if there is enough of it: servers that need not survive start and make
/// thousands of tables in a fraction of the time there.
fn memory() -> Option<&'static str> {
    const FOLDER: &str = "/dev/shm";
    const FREE_MIN: u64 = 6 << 30;
    let room = rustix::fs::statvfs(FOLDER).ok()?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    (std::env::var_os("TMPDIR").is_none() && free >= FREE_MIN).then_some(FOLDER)
}

/// The servers as a program, from the testkit.
pub(crate) const RIG: [&str; 7] =
    ["run", "--quiet", "--package", "mainstay-testkit", "--bin", "mainstay-rig", "--"];

/// Ours and the peers, in one run, with commits that reach the disk.
pub(crate) fn bench(name: &str, part: Option<&str>) -> Done {
    packages::servers()?;
    packages::load()?;
    // They are of the library alone, and want brokers or Redis.
    let on_brokers = ["cache", "jobs", "limit"].contains(&name);
    if !on_brokers && !["doctor", "edge", "load", "route"].contains(&name) {
        run(&mut cargo(&["build", "--release", "--package", "shop", "--package", "mainstay-cli"]))?;
    }
    if name == "doctor" {
        run(&mut cargo(&["build", "--release", "--package", "bench", "--bin", "allocations"]))?;
    }
    let run_it = [env!("CARGO"), "run", "--quiet", "--release", "--package", "bench", "--", name];
    let bench: Vec<&str> = run_it.into_iter().chain(part).collect();
    let exec: &[&str] =
        if on_brokers { &["exec", "--durable", "--brokers"] } else { &["exec", "--durable"] };
    let mut command = cargo(&[&RIG[..], exec, &bench].concat());
    if name == "jobs" {
        command.env("MAINSTAY_BENCH_PEERS", oracle::peers()?);
        command.env("MAINSTAY_BENCH_NODE", oracle::bullmq()?);
    }
    if name == "migrate" {
        command.env(oracle::VARIABLE, oracle::liquibase()?);
    }
    run(&mut command)
}

/// The tests that are left out otherwise, of one crate, with optimisation.
pub(crate) fn soak(name: &str) -> Done {
    if name != "limit" {
        return Err(format!("there is no soak `{name}`; there is: limit"));
    }
    let test = ["test", "--release", "--package", "mainstay-limit", "--test", "it"];
    run(&mut cargo(&[&test[..], &["oracle::", "--", "--ignored", "--nocapture"]].concat()))
}

/// Format, lints, docs, features, tests.
pub(crate) fn ci() -> Done {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    for feature in FEATURES {
        let alone = ["clippy", "--package", "mainstay", "--no-default-features"];
        run(&mut cargo(&[&alone[..], &["--features", feature, "--", "-D", "warnings"]].concat()))?;
    }
    let all = under_the_rig(&[&TESTED[..], &["--no-fail-fast"]].concat())?;
    again::run(all, under_the_rig)
}
