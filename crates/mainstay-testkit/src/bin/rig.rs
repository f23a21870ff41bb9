//! The test servers as a program: `exec` runs a command with them, `serve` keeps them up.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use mainstay_core::{Code, Error, Result};
use mainstay_testkit::Rig;

/// Real PostgreSQL, PgBouncer and MariaDB servers in a scratch folder, gone when this program ends.
#[derive(Parser)]
enum Call {
    /// Runs a command that finds the servers in its environment, and answers with its status.
    Exec {
        /// Commits reach the disk.
        #[arg(long)]
        durable: bool,
        /// With RabbitMQ and Redis beside the databases.
        #[arg(long)]
        brokers: bool,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// Writes the addresses to a file and keeps the servers up until SIGTERM or Ctrl-C.
    Serve {
        /// The file, JSON; removed at the end.
        #[arg(long)]
        state: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Call::parse() {
        Call::Exec { durable, brokers, command } => exec(durable, brokers, &command),
        Call::Serve { state } => serve(&state),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{}", error.report());
        ExitCode::FAILURE
    })
}

fn exec(durable: bool, brokers: bool, command: &[String]) -> Result<ExitCode> {
    let rig = Rig::start(durable)?;
    let rig = if brokers { rig.with_brokers()? } else { rig };
    let (name, value) = rig.variable();
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).env(name, value);
    // What cargo says of this program's package is not for the cargo that may be called: build
    // scripts that look at it would be run anew, with all that depends on them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            child.env_remove(name);
        }
    }
    let status = child.status();
    rig.stop()?;
    let status = status.map_err(|e| Error::user(format!("{} did not run: {e}", command[0])))?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn serve(state: &PathBuf) -> Result<ExitCode> {
    let rig = Rig::start(false)?;
    let wrong = |e: std::io::Error| {
        Error::new(Code::LocalFolder, format!("{} can't be written", state.display())).cause(e)
    };
    let (name, value) = rig.variable();
    let mut file = std::fs::File::create(state).map_err(wrong)?;
    writeln!(file, "{name}\n{value}\n{}", std::process::id()).map_err(wrong)?;
    asked_to_end()?;
    let _ = std::fs::remove_file(state);
    rig.stop()?;
    Ok(ExitCode::SUCCESS)
}

fn asked_to_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let wrong =
        |e: std::io::Error| Error::new(Code::LocalStart, "signals can't be waited for").cause(e);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(wrong),
        }
    })
}
