//! `cargo xtask bench NAME`: ours and the peers, measured in one run and written to
//! `bench/results/NAME.json`. Run it through xtask: that starts the servers.

mod db;
mod pool;
mod report;
mod servers;
mod shop;
mod transfers;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let cases = match name.as_str() {
        "db" => db::run().await,
        "pool" => pool::run().await,
        other => {
            eprintln!("there is no benchmark `{other}`; there are: db, pool");
            return ExitCode::FAILURE;
        }
    };
    report::print(&cases);
    report::write(&name, &cases);
    ExitCode::SUCCESS
}
