//! `cargo xtask`: the project's commands, so that nobody has to remember them.

mod again;
mod ci;
mod contract;
mod oracle;
mod packages;
mod run;
mod services;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Call {
    /// Installs the servers that are missing, starts them, and runs every test
    Test {
        /// Only what needs no server
        #[arg(long)]
        embedded: bool,
        /// Passed to cargo test
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Measures ours and the peers in one run, and writes bench/results/NAME.json
    Bench {
        /// Which: db, pool, tx, migrate, jobs, limit, cache, edge, load, doctor, route
        name: String,
        /// One part of it alone: the other figures stay as they are
        part: Option<String>,
    },
    /// Runs what takes minutes and needs no other machine: limit, 10^8 decisions beside their oracles
    Soak {
        /// Which: limit
        name: String,
    },
    /// Asks the shop all that its OpenAPI documents allow, and more; installs schemathesis with pip
    Contract,
    /// Keeps the test servers up for work by hand
    Services {
        #[command(subcommand)]
        action: Action,
    },
    /// What must pass before a change lands: format, lints, docs, features, tests
    Ci,
}

#[derive(Subcommand)]
enum Action {
    /// Starts them and prints how to reach them
    Up,
    /// Says whether they are up
    Status,
    /// Stops them
    Down,
}

fn main() -> ExitCode {
    let done = match Call::parse() {
        Call::Test { embedded, rest } => ci::test(embedded, &rest),
        Call::Bench { name, part } => ci::bench(&name, part.as_deref()),
        Call::Soak { name } => ci::soak(&name),
        Call::Contract => contract::contract(),
        Call::Services { action: Action::Up } => services::up(),
        Call::Services { action: Action::Status } => services::status(),
        Call::Services { action: Action::Down } => services::down(),
        Call::Ci => ci::ci(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
