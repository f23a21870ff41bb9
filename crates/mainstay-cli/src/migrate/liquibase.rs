//! `mainstay migrate liquibase`: Liquibase's changelogs, by Liquibase's words.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use mainstay_migrate::{ChangeSetSql, ChangeSetStatus, Changelog, ChangelogReport, RollbackTo};

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
    /// Gives the change set that ran last a tag, to which a rollback can go
    Tag {
        /// The tag
        name: String,
    },
    /// Writes down that all change sets ran, and runs none
    ChangelogSync,
    /// Takes away the mark of a Liquibase that was killed
    ReleaseLocks,
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
        Command::UpdateSql => sql(&changelog.dry_run().await?, json),
        Command::Status => status(changelog.status().await?, json),
        Command::Validate => {
            changelog.validate().await?;
            told(json, "valid", true, "what ran is what the changelog says")
        }
        Command::Tag { name } => {
            changelog.tag(name).await?;
            told(
                json,
                "tag",
                name.as_str(),
                &format!("the change set that ran last has the tag {name}"),
            )
        }
        Command::ChangelogSync => {
            report(&changelog.changelog_sync().await?, "written down as run", json)
        }
        Command::ReleaseLocks => {
            let released = changelog.release_locks().await?;
            let what = if released { "the mark is taken away" } else { "there was no mark" };
            told(json, "released", released, what)
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

/// Says `what`, or in JSON that `key` is `value`.
fn told(json: bool, key: &str, value: impl Into<serde_json::Value>, what: &str) -> Result<()> {
    if json {
        return show::as_json(&serde_json::Map::from_iter([(key.to_owned(), value.into())]));
    }
    println!("{what}");
    Ok(())
}

fn sql(sets: &[ChangeSetSql], json: bool) -> Result<()> {
    if json {
        return show::as_json(&sets);
    }
    for set in sets {
        println!("-- {}", set.name);
        // A statement may end in a comment to the end of its line.
        set.statements.iter().for_each(|sql| println!("{sql}\n;"));
        if let Some(why) = &set.refused {
            println!("-- can't be done here: {}", why.replace('\n', "\n-- "));
        }
        println!();
    }
    Ok(())
}

fn status(sets: Vec<ChangeSetStatus>, json: bool) -> Result<()> {
    if json {
        return show::as_json(&sets);
    }
    let row = |set: ChangeSetStatus| {
        let state = match (set.pending, set.changed, set.state) {
            (_, true, _) => "CHANGED".to_owned(),
            (true, _, None) => "pending".to_owned(),
            (true, _, Some(state)) => format!("{state}, runs again"),
            (false, _, state) => state.unwrap_or_default(),
        };
        [set.name, state, set.executed_on.unwrap_or_default(), set.checksum]
    };
    let rows: Vec<_> = sets.into_iter().map(row).collect();
    print!("{}", show::table(["Change set", "State", "Executed on", "Checksum"], &rows));
    Ok(())
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
