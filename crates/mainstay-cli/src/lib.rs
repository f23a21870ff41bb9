//! The `mainstay` command, as a library so that its parts are tested like any other.
//!
//! It holds no capability of its own: what it shows is what the crates below do.

pub mod copy;
pub mod doctor;
mod explain;
pub mod jobs;
pub mod lab;
pub mod migrate;
pub mod shards;
mod target;
pub mod versions;

use clap::{Parser, Subcommand};
use mainstay_core::Result;

/// Migrates databases, shows live what one really does, compares versions of an API, and explains
/// Mainstay's error codes.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version)]
pub struct Call {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what an error code means, what is wrong with a statement's plan, or which server it may run on
    Explain(explain::Explain),
    /// Shows a database's behaviour live, in tables of its own that are dropped at the end
    #[command(subcommand)]
    Lab(lab::Lab),
    /// Moves a service's data from one database to another
    Copy(copy::Call),
    /// Examines a database, read-only; advises indexes; looks through what a service recorded
    Doctor(doctor::Doctor),
    /// Shows background jobs, and tries them again, cancels, pauses and drains
    Jobs(jobs::Jobs),
    /// Applies, shows, checks and takes back schema migrations
    Migrate(migrate::Migrate),
    /// Shows shards, and moves logical shards between them while they are in use
    Shards(shards::Shards),
    /// Says what breaks between two versions of an API, and who still uses which
    #[command(subcommand)]
    Versions(versions::Versions),
}

/// The status that the process ends with, as a [detail](mainstay_core::Error::detail) of the error; 1 without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

/// Runs the command. Errors: what it met, with code and fix.
pub async fn run(call: Call) -> Result<()> {
    match call.command {
        Command::Explain(call) => Box::pin(explain::run(call)).await,
        Command::Lab(lab) => lab::run(lab).await,
        Command::Copy(call) => copy::run(call).await,
        Command::Doctor(call) => Box::pin(doctor::run(call)).await,
        Command::Jobs(call) => Box::pin(jobs::run(call)).await,
        Command::Migrate(call) => Box::pin(migrate::run(call)).await,
        Command::Shards(call) => Box::pin(shards::run(call)).await,
        Command::Versions(call) => Box::pin(versions::run(call)).await,
    }
}
