//! `mainstay migrate`: schema migrations from the command line.

mod expand;
mod lint;
mod liquibase;
mod make;
mod setting;
mod show;
mod split;
mod takeover;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mainstay_core::{Code, Error, Result};
use mainstay_migrate::{Migrator, Target, Version};

use setting::Setting;

/// Where the database and the migrations are, and how they are run.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// What all of them take. Whatever is not given comes from mainstay.toml and the environment.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The database; also DATABASE_URL or mainstay.toml
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A folder of migrations; may be given several times [default: migrations]
    #[arg(long = "dir", global = true, value_name = "DIR")]
    pub(crate) dirs: Vec<String>,
    /// The history's table [default: flyway_schema_history]
    #[arg(long, global = true)]
    pub(crate) table: Option<String>,
    /// A value for ${NAME}; may be given several times
    #[arg(long = "placeholder", global = true, value_name = "NAME=VALUE")]
    pub(crate) placeholders: Vec<String>,
    /// Lets a pending migration be below one that was applied
    #[arg(long, global = true)]
    pub(crate) out_of_order: bool,
    /// Prints JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Applies what is pending
    Up {
        /// latest, current, next, a version, or VERSION? if it may be missing
        #[arg(long, default_value = "latest")]
        target: Target,
        /// Prints what would be sent, and changes nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows each migration with where it stands
    Info,
    /// Checks that what was applied is what the files say
    Validate,
    /// Takes back the last migration by its undo file, or all down to a version
    Undo {
        /// The lowest version to take back
        #[arg(long, value_parser = version)]
        target: Option<Version>,
    },
    /// Makes the history say what the files do, and forgets failed migrations
    Repair,
    /// Takes a database with tables and no history for one at a version
    Baseline {
        /// The version [default: 1]
        #[arg(long)]
        version: Option<String>,
        /// What the history says of it
        #[arg(long)]
        description: Option<String>,
    },
    /// Makes an empty migration, with the next version
    New(make::New),
    /// Says what pending migrations would do to a running service
    Lint(lint::Lint),
    /// Runs Liquibase's changelogs, with Liquibase's own history
    Liquibase(liquibase::Liquibase),
    /// Changes a table in phases, while the service runs
    #[command(subcommand)]
    Expand(expand::Expand),
    /// Goes on where another tool stopped
    Takeover(takeover::Takeover),
    /// Prints the statements of a file as they would be sent, with their places
    Split(split::Split),
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| format!("`{text}` is no version"))
}

/// Runs what was asked for. Errors: those of the command, CFG-001 to CFG-004, APP-003.
pub async fn run(call: Migrate) -> Result<()> {
    let Migrate { place, command } = call;
    let command = match command {
        Command::Split(split) => return split::run(&split, place.json),
        Command::New(new) => return make::run(&new, &Setting::load(&place)?),
        Command::Lint(lint) => {
            return lint::run(&lint, &Setting::load(&place)?, place.json).await;
        }
        Command::Liquibase(call) => {
            return liquibase::run(&call, &Setting::load(&place)?, place.json).await;
        }
        Command::Takeover(call) => return take_over(call, &place).await,
        Command::Expand(call) => return expand_it(call, &place).await,
        command => command,
    };
    let mut setting = Setting::load(&place)?;
    if let Command::Baseline { version, description } = &command {
        let options = &mut setting.options;
        if let Some(version) = version {
            options.baseline_version.clone_from(version);
        }
        if let Some(description) = description {
            options.baseline_description.clone_from(description);
        }
    }
    let db = setting.connect().await?;
    if !place.json {
        eprintln!("{} ({})", db.place(), setting.origin);
    }
    let migrator = setting.migrator(&db, show::progress(place.json));
    let done = work(&migrator, command, place.json).await;
    db.close(std::time::Duration::from_secs(10)).await?;
    done
}

async fn expand_it(call: expand::Expand, place: &Place) -> Result<()> {
    let setting = Setting::load(place)?;
    let db = setting.connect().await?;
    let done = expand::run(call, &db, &setting.options, place.json).await;
    db.close(std::time::Duration::from_secs(10)).await?;
    done
}

async fn take_over(call: takeover::Takeover, place: &Place) -> Result<()> {
    let setting = Setting::load(place)?;
    let db = setting.connect().await?;
    let migrator = setting.migrator(&db, show::progress(place.json));
    let done = takeover::run(&migrator, call, &setting, place.json).await;
    db.close(std::time::Duration::from_secs(10)).await?;
    done
}

async fn work(migrator: &Migrator, command: Command, json: bool) -> Result<()> {
    match command {
        Command::Up { target, dry_run: true } => {
            show::dry_run(&migrator.dry_run(target).await?, json)
        }
        Command::Up { target, dry_run: false } => {
            show::report(&migrator.up(target).await?, "applied", json)
        }
        Command::Undo { target } => show::report(&migrator.undo(target).await?, "undone", json),
        Command::Info => show::info(&migrator.info().await?, json),
        Command::Validate => show::validation(migrator.validate().await?, json),
        Command::Repair => show::repaired(&migrator.repair().await?, json),
        Command::Baseline { .. } => {
            println!("the database is taken for one at version {}", migrator.baseline().await?);
            Ok(())
        }
        Command::New(_)
        | Command::Split(_)
        | Command::Lint(_)
        | Command::Liquibase(_)
        | Command::Takeover(_)
        | Command::Expand(_) => Ok(()),
    }
}

/// Errors: APP-003.
pub(crate) fn read(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| {
        Error::new(Code::Argument, format!("{} can't be read", path.display())).cause(e)
    })
}
