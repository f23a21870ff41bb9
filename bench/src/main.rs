//! `cargo xtask bench NAME`: ours and the peers, measured in one run and written to
//! `bench/results/NAME.json`. Run it through xtask: that starts the servers.

mod db;
mod jobs;
mod migrate;
mod pool;
#[path = "../../crates/mainstay-testkit/src/proxy.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the test kit's, which nothing but tests may depend on"
)]
mod proxy;
mod report;
mod servers;
mod shop;
mod transfers;
mod tx;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    // A worker that is to be killed.
    if name == "victim" {
        let (url, kind) = (arguments.next().unwrap_or_default(), arguments.next());
        jobs::victim(&url, &kind.unwrap_or_default()).await;
        return ExitCode::FAILURE;
    }
    // For work on one part: it is measured and shown, and nothing is written.
    let part = arguments.next();
    let cases = match (name.as_str(), part.as_deref()) {
        ("db", None) => db::run().await,
        ("pool", part) if part.is_none_or(|p| pool::PARTS.contains(&p)) => pool::run(part).await,
        ("tx", part) if part.is_none_or(|p| tx::PARTS.contains(&p)) => {
            Box::pin(tx::run(part)).await
        }
        ("migrate", part) if part.is_none_or(|p| migrate::PARTS.contains(&p)) => {
            Box::pin(migrate::run(part)).await
        }
        ("jobs", part) if part.is_none_or(|p| jobs::PARTS.contains(&p)) => {
            Box::pin(jobs::run(part)).await
        }
        (name, part) => {
            let part = part.map(|p| format!(" {p}")).unwrap_or_default();
            let (pools, transactions) = (pool::PARTS.join(", "), tx::PARTS.join(", "));
            let (migrations, jobs) = (migrate::PARTS.join(", "), jobs::PARTS.join(", "));
            eprintln!(
                "there is no benchmark `{name}{part}`; there are: db, pool (parts: {pools}), \
                 tx (parts: {transactions}), migrate (parts: {migrations}), jobs (parts: {jobs})"
            );
            return ExitCode::FAILURE;
        }
    };
    report::print(&cases);
    if part.is_none() {
        report::write(&name, &cases);
    }
    ExitCode::SUCCESS
}
