//! `mainstay migrate liquibase`: Liquibase's changelogs, by Liquibase's words.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use mainstay_migrate::{Changelog, ChangelogReport, RollbackTo};

use super::setting::Setting;
use super::show;

/// A changelog, and what to do with it.
#[derive(Debug, Args)]
pub(crate) struct Liquibase {
    /// The changelog's first file
    #[arg(long, global = true, value_name = "FILE", default_value = "changelog.xml")]
    changelog_file: String,
    /// The folder that the paths of changelogs lead from
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    search_path: PathBuf,
    /// The contexts of this run, separated by commas
    #[arg(long, global = true, value_delimiter = ',')]
    contexts: Vec<String>,
    /// An expression of labels
    #[arg(long, global = true)]
    labels: Option<String>,
    /// A property's value; may be given several times
    #[arg(short = 'D', long = "parameter", global = true, value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the change sets that did not run yet
    Update,
    /// Prints the SQL of the change sets that did not run yet, and changes nothing
    UpdateSql,
    /// Shows each change set with where it stands
    Status,
    /// Checks that what ran is what the changelog says
    Validate,
    /// Takes the last change sets back
    Rollback {
        /// How many
        #[arg(long, conflicts_with = "tag", required_unless_present = "tag")]
        count: Option<usize>,
        /// All that ran after the one with this tag
        #[arg(long)]
        tag: Option<String>,
    },
}

impl Liquibase {
    fn changelog(&self, db: &Db, setting: &Setting, json: bool) -> Result<Changelog> {
        let mut changelog = Changelog::new(db, &self.changelog_file)
            .search_path(&self.search_path)
            .contexts(self.contexts.iter().cloned())
            .options(setting.options.clone())
            .on(show::progress(json));
        if let Some(labels) = &self.labels {
            changelog = changelog.labels(labels);
        }
        for pair in &self.parameters {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::new(Code::Argument, format!("-D {pair} is no NAME=VALUE")))?;
            changelog = changelog.parameter(name, value);
        }
        Ok(changelog)
    }
}

/// Runs what was asked for. Errors: those of [`Changelog`].
pub(crate) async fn run(call: &Liquibase, setting: &Setting, json: bool) -> Result<()> {
    let db = setting.connect().await?;
    let done = match call.changelog(&db, setting, json) {
        Ok(changelog) => work(&call.command, &changelog, json).await,
        Err(error) => Err(error),
    };
    db.close(std::time::Duration::from_secs(10)).await?;
    done
}

async fn work(command: &Command, changelog: &Changelog, json: bool) -> Result<()> {
    match command {
        Command::Update => report(&changelog.update().await?, "ran", json),
        Command::UpdateSql => {
            let sets = changelog.dry_run().await?;
            if json {
                return show::as_json(&sets);
            }
            for set in sets {
                println!("-- {}", set.name);
                set.statements.iter().for_each(|sql| println!("{sql};"));
                println!();
            }
            Ok(())
        }
        Command::Status => {
            let sets = changelog.status().await?;
            if json {
                return show::as_json(&sets);
            }
            let rows: Vec<_> = sets
                .into_iter()
                .map(|set| {
                    let state = match (set.pending, set.changed, set.state) {
                        (_, true, _) => "CHANGED".to_owned(),
                        (true, _, None) => "pending".to_owned(),
                        (true, _, Some(state)) => format!("{state}, runs again"),
                        (false, _, state) => state.unwrap_or_default(),
                    };
                    [set.name, state, set.executed_on.unwrap_or_default(), set.checksum]
                })
                .collect();
            print!("{}", show::table(["Change set", "State", "Executed on", "Checksum"], &rows));
            Ok(())
        }
        Command::Validate => {
            changelog.validate().await?;
            println!("what ran is what the changelog says");
            Ok(())
        }
        Command::Rollback { count, tag } => {
            let to = match (count, tag) {
                (Some(count), _) => RollbackTo::Count(*count),
                (None, Some(tag)) => RollbackTo::Tag(tag.clone()),
                (None, None) => return Err(Error::new(Code::Argument, "how far is not said")),
            };
            report(&changelog.rollback(to).await?, "taken back", json)
        }
    }
}

fn report(report: &ChangelogReport, done: &str, json: bool) -> Result<()> {
    if json {
        return show::as_json(report);
    }
    for (names, how) in [(&report.marked_ran, "marked as run"), (&report.skipped, "passed over")] {
        for name in names {
            println!("{name}: {how}");
        }
    }
    let count = report.ran.len();
    let s = if count == 1 { "" } else { "s" };
    println!("{count} change set{s} {done}");
    Ok(())
}
