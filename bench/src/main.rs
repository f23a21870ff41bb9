//! `cargo xtask bench NAME`: ours and the peers, measured in one run and written to
//! `bench/results/NAME.json`. Run it through xtask: that starts the servers.

mod cache;
mod db;
mod doctor;
mod edge;
mod jobs;
mod limit;
mod load;
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
mod route;
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
    if name == "edge-victim" {
        let (url, address) = (arguments.next().unwrap_or_default(), arguments.next());
        edge::victim(&url, &address.unwrap_or_default()).await;
        return ExitCode::FAILURE;
    }
    if name == "route-victim" {
        let urls: [String; 2] = std::array::from_fn(|_| arguments.next().unwrap_or_default());
        route::victim(urls.each_ref().map(String::as_str)).await;
        return ExitCode::FAILURE;
    }
    if name == "resident" {
        let (kind, keys) = (arguments.next().unwrap_or_default(), arguments.next());
        limit::resident_of(&kind, keys.and_then(|keys| keys.parse().ok()).unwrap_or(1));
        return ExitCode::SUCCESS;
    }
    let part = arguments.next();
    // Long ones are written part by part: an hour is not lost to its last minute.
    let in_parts: &[&str] = match (name.as_str(), &part) {
        ("jobs", None) => &jobs::PARTS,
        ("limit", None) => &limit::PARTS,
        ("cache", None) => &cache::PARTS,
        ("edge", None) => &edge::PARTS,
        ("doctor", None) => &doctor::PARTS,
        ("route", None) => &route::PARTS,
        _ => &[],
    };
    if in_parts.is_empty() {
        return measure(&name, part.as_deref(), part.is_none()).await;
    }
    for (at, part) in in_parts.iter().enumerate() {
        if measure(&name, Some(part), at == 0).await == ExitCode::FAILURE {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Measures, shows, and writes: in place of what was there, or of the cases of the same names alone.
async fn measure(name: &str, part: Option<&str>, anew: bool) -> ExitCode {
    let cases = match (name, part) {
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
        ("limit", part) if part.is_none_or(|p| limit::PARTS.contains(&p)) => {
            Box::pin(limit::run(part)).await
        }
        ("cache", part) if part.is_none_or(|p| cache::PARTS.contains(&p)) => {
            Box::pin(cache::run(part)).await
        }
        ("edge", part) if part.is_none_or(|p| edge::PARTS.contains(&p)) => {
            Box::pin(edge::run(part)).await
        }
        ("load", part) if part.is_none_or(|p| load::PARTS.contains(&p)) => {
            Box::pin(load::run(part)).await
        }
        ("doctor", part) if part.is_none_or(|p| doctor::PARTS.contains(&p)) => {
            Box::pin(doctor::run(part)).await
        }
        ("route", part) if part.is_none_or(|p| route::PARTS.contains(&p)) => {
            Box::pin(route::run(part)).await
        }
        (name, part) => {
            let part = part.map(|p| format!(" {p}")).unwrap_or_default();
            let (pools, transactions) = (pool::PARTS.join(", "), tx::PARTS.join(", "));
            let (migrations, jobs) = (migrate::PARTS.join(", "), jobs::PARTS.join(", "));
            let (limits, caches) = (limit::PARTS.join(", "), cache::PARTS.join(", "));
            let (edges, loads) = (edge::PARTS.join(", "), load::PARTS.join(", "));
            let (doctors, routes) = (doctor::PARTS.join(", "), route::PARTS.join(", "));
            eprintln!(
                "there is no benchmark `{name}{part}`; there are: db, pool (parts: {pools}), \
                 tx (parts: {transactions}), migrate (parts: {migrations}), jobs (parts: {jobs}), \
                 limit (parts: {limits}), cache (parts: {caches}), edge (parts: {edges}), \
                 load (parts: {loads}), doctor (parts: {doctors}), route (parts: {routes})"
            );
            return ExitCode::FAILURE;
        }
    };
    report::print(&cases);
    report::write(name, &cases, anew);
    ExitCode::SUCCESS
}
