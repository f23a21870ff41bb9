//! The peers as processes: those in Rust are in a workspace of their own (`bench/peers`), BullMQ is Node's.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::report::{Case, median};

/// What one case of a peer gave. None where it failed, which is told.
pub(crate) async fn run(case: &str, url: &str, count: usize) -> Option<Value> {
    let program = variable("MAINSTAY_BENCH_PEERS")?;
    let mut command = Command::new(program);
    command.args([case, url, &count.to_string()]);
    output(case, command).await
}

pub(crate) async fn rate(case: &str, url: &str, count: usize) -> Option<f64> {
    run(case, url, count).await?.get("rate")?.as_f64()
}

/// `case` beside each peer at its best: of the ways in which one was run, the highest median.
pub(crate) fn best<'a>(case: Case, ways: impl IntoIterator<Item = (&'a str, Vec<f64>)>) -> Case {
    ways.into_iter().filter(|(_, all)| !all.is_empty()).fold(case, |case, (name, all)| {
        let other = case.peers.get(name).copied().unwrap_or_default();
        case.peer(name, median(all).max(other))
    })
}

/// BullMQ on Redis: jobs a second.
pub(crate) async fn bullmq(url: &str, count: usize) -> Option<f64> {
    let folder = variable("MAINSTAY_BENCH_NODE")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/bullmq.mjs");
    let mut command = Command::new("node");
    command.args([script, url, &count.to_string()]).env("NODE_PATH", folder);
    output("bullmq", command).await?.get("rate")?.as_f64()
}

async fn output(case: &str, mut command: Command) -> Option<Value> {
    let out = command.stderr(Stdio::inherit()).output().await;
    let out = out.map_err(|e| eprintln!("{case} did not run: {e}")).ok()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let last = text.lines().rev().find(|line| line.starts_with('{'));
    if last.is_none() {
        eprintln!("{case} gave no figure: {}", out.status);
    }
    serde_json::from_str(last?).ok()
}

#[expect(clippy::disallowed_methods, reason = "a tool, not a service: it has no configuration")]
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name);
    value.map_err(|_| eprintln!("{name} is not set: run it with `cargo xtask bench jobs`")).ok()
}
