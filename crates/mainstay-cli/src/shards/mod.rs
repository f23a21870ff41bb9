//! `mainstay shards`: where the shards' keys are, what a change of the map would move, and moving it.
//!
//! What there is, it reads from the configuration's `[database]` and `[shards]`.

mod moving;
mod plan;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use mainstay_core::config::Loader;
use mainstay_core::{Code, Error, Result};
use mainstay_pool::Options as Pool;
use mainstay_route::shard::MapStore;
use mainstay_route::shard::moves::Mover;
use mainstay_route::{Databases, Topology};
use serde::{Deserialize, Serialize};

/// Of each database: one that moves, one that looks.
const CONNECTIONS: u32 = 4;

/// Shows shards, and moves logical shards between them while they are in use
#[derive(Debug, Args)]
pub struct Shards {
    /// The configuration, with [database] and [shards]
    #[arg(long, value_name = "FILE", default_value = "mainstay.toml", global = true)]
    config: PathBuf,
    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The map, the shards, and the moves that are not over
    Status,
    /// What one shard more or less would move
    Plan(plan::Plan),
    /// Moves a logical shard to another shard
    Move(moving::Move),
    /// Looks for rows that are on a shard where the map does not have them
    Verify {
        /// Rows a second that are looked at, at most
        #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
    },
}

/// Runs the command. Errors: CFG-001 to CFG-004, those of connecting, ROUTE-021 to ROUTE-052.
pub async fn run(call: Shards) -> Result<()> {
    let databases = connect(&call).await?;
    let done = Box::pin(work(&call, &databases)).await;
    let closed = databases.close(Duration::from_secs(10)).await;
    done.and(closed)
}

async fn work(call: &Shards, databases: &Databases) -> Result<()> {
    match &call.command {
        Command::Status => show::status(databases, &mover(databases)?, call.json).await,
        Command::Plan(plan) => plan::run(plan, databases, call.json),
        Command::Move(of) => moving::run(of, databases, call.json).await,
        Command::Verify { rate } => {
            show::verify(databases, &mover(databases)?.rate(*rate), call.json).await
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Config {
    #[serde(flatten)]
    topology: Topology,
}

async fn connect(call: &Shards) -> Result<Databases> {
    let loaded = Loader::new().partial().file(&call.config).load::<Config>()?;
    let pool = Pool {
        max_size: CONNECTIONS,
        leak_after: None,
        transaction_idle_after: None,
        ..Pool::default()
    };
    let topology = Topology { pool, ..loaded.value.topology };
    if topology.shards.databases.is_empty() {
        let what = format!("no shards are configured in {}", call.config.display());
        return Err(
            Error::new(Code::ConfigValue, what).fix("name their databases in [shards.databases]")
        );
    }
    topology.connect().await
}

fn store(databases: &Databases) -> Result<&MapStore> {
    databases.store().ok_or_else(|| Error::new(Code::ShardMap, "no shards are configured"))
}

/// How many sharded tables are configured. Errors: CFG-003 where none is: nothing would be moved, or looked at.
fn tables(databases: &Databases) -> Result<usize> {
    match databases.tables().len() {
        0 => Err(Error::new(Code::ConfigValue, "no sharded tables are configured")
            .fix("name them and their keys in [shards.tables], as in orders = [\"user_id\"]")),
        count => Ok(count),
    }
}

/// With the sharded tables of the configuration.
fn mover(databases: &Databases) -> Result<Mover> {
    let mover = Mover::new(databases.shards().clone(), store(databases)?.clone());
    let add = |mover: Mover, (table, key): (&String, &Vec<String>)| {
        mover.table(table, &key.iter().map(String::as_str).collect::<Vec<_>>())
    };
    Ok(databases.tables().iter().fold(mover, add))
}

/// One value as JSON on stdout.
fn json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::user(e.to_string()))?;
    println!("{text}");
    Ok(())
}

/// A logical shard, as it is told: those that no key is hashed to are slots.
fn logical(text: &str) -> std::result::Result<u16, String> {
    match text.parse::<u16>() {
        Ok(number) if number < 8192 => Ok(number),
        _ => Err("a logical shard is 0 to 4095, and a slot 4096 to 8191".to_owned()),
    }
}
