//! Servers end with the process that started them, even when it is killed.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_testkit::{Cluster, Engine};

/// Says that this process is the one to be killed.
const ROLE: &str = "MAINSTAY_TEST_ORPHANS";

/// Starts a cluster, says its ports and waits to be killed; in a process of its own.
async fn victim(engine: Engine) {
    let cluster = Cluster::new(engine, 1).await;
    println!("\nports {} {}", cluster.primary().port(), cluster.replica(0).port());
    std::future::pending::<()>().await;
}

async fn all_end_with_a_killed_process(engine: Engine, test: &str) {
    if std::env::var_os(ROLE).is_some() {
        victim(engine).await;
    }
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test, "--nocapture"]).env(ROLE, "1").stdout(Stdio::piped());
    let mut process = process.spawn().unwrap();
    let said = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ports = said.into_iter().find_map(|line| line.strip_prefix("ports ").map(str::to_owned));
    let ports = ports.expect("the process says its ports");
    let ports: Vec<u16> = ports.split(' ').map(|port| port.parse().unwrap()).collect();
    let listens = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
    assert!(ports.len() == 2 && ports.iter().all(listens), "{ports:?}");
    process.kill().unwrap();
    process.wait().unwrap();
    while ports.iter().any(listens) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

mod postgres {
    #[tokio::test]
    async fn none_outlives_its_process() {
        let test = "orphans::postgres::none_outlives_its_process";
        super::all_end_with_a_killed_process(super::Engine::Postgres, test).await;
    }
}

mod mariadb {
    #[tokio::test]
    async fn none_outlives_its_process() {
        let test = "orphans::mariadb::none_outlives_its_process";
        super::all_end_with_a_killed_process(super::Engine::MariaDb, test).await;
    }
}
