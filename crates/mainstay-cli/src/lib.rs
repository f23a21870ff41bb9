//! The `mainstay` command, as a library so that its parts are tested like any other.
//!
//! It holds no capability of its own: what it shows is what the crates below do.

pub mod copy;
mod explain;
pub mod jobs;
pub mod lab;
pub mod migrate;
mod target;

use clap::{Parser, Subcommand};
use mainstay_core::Result;

/// Migrates databases, shows live what one really does, and explains Mainstay's error codes.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version)]
pub struct Call {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what an error code means and what to do about it
    Explain {
        /// Such as POOL-002; all codes if there is none
        code: Option<String>,
    },
    /// Shows a database's behaviour live, in tables of its own that are dropped at the end
    #[command(subcommand)]
    Lab(lab::Lab),
    /// Moves a service's data from one database to another
    Copy(copy::Call),
    /// Shows background jobs, and tries them again, cancels, pauses and drains
    Jobs(jobs::Jobs),
    /// Applies, shows, checks and takes back schema migrations
    Migrate(migrate::Migrate),
}

/// Runs the command. Errors: what it met, with code and fix.
pub async fn run(call: Call) -> Result<()> {
    match call.command {
        Command::Explain { code } => explain::run(code.as_deref()),
        Command::Lab(lab) => lab::run(lab).await,
        Command::Copy(call) => copy::run(call).await,
        Command::Jobs(call) => Box::pin(jobs::run(call)).await,
        Command::Migrate(call) => Box::pin(migrate::run(call)).await,
    }
}
