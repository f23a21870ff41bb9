//! `mainstay doctor`: what is wrong with a database, or with how a service uses it. Without a subcommand, the
//! examination of a database.

pub(crate) mod advise;
mod exam;
pub(crate) mod place;
mod record;
mod replay;

use clap::{Args, Subcommand};
use mainstay_core::Result;

/// What the doctor is to look at.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Doctor {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    exam: exam::Exam,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Advises indexes for a workload, each verified before it is told
    Advise(advise::Advise),
    /// Runs the detectors over a trace that a service recorded
    Replay(replay::Replay),
    /// Says how a service is made to record a trace
    Record,
}

/// Runs it. Errors: APP-001 where something was found; those of the command.
pub async fn run(doctor: Doctor) -> Result<()> {
    match doctor.command {
        None => exam::run(doctor.exam).await,
        Some(Command::Advise(call)) => advise::run(call).await,
        Some(Command::Replay(call)) => replay::run(&call),
        Some(Command::Record) => {
            print!("{}", record::HOW);
            Ok(())
        }
    }
}
