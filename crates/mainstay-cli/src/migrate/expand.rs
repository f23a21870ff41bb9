//! `mainstay migrate expand`: a change of a table in phases, while the application runs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use mainstay_core::Result;
use mainstay_db::Db;
use mainstay_migrate::Options;
use mainstay_migrate::online::{Change, Online, OnlineOptions, Phase, Status, Told};

use super::show::{as_json, table};

/// What can be done with a change.
#[derive(Debug, Subcommand)]
pub(crate) enum Expand {
    /// Prints the steps of a change, and changes nothing
    Plan {
        /// The change's declaration, in TOML
        file: PathBuf,
    },
    /// Adds what is new beside what is old, and keeps the two in step
    Start {
        /// The change's declaration, in TOML
        file: PathBuf,
    },
    /// Fills what is new in old rows; goes on where it stopped
    Backfill {
        /// The change's name
        name: String,
        /// How long a batch should take [default: 50ms]
        #[arg(long, value_parser = duration, value_name = "TIME")]
        batch_target: Option<Duration>,
        /// The part of the time that is spent on batches, up to 1 [default: 0.5]
        #[arg(long)]
        duty: Option<f64>,
        /// Waits while a replica is further behind than this (PostgreSQL)
        #[arg(long, value_parser = duration, value_name = "TIME")]
        lag_max: Option<Duration>,
    },
    /// Takes away what is old; can't be taken back
    Contract {
        /// The change's name
        name: String,
        /// Says that no process runs any more that knows the old schema only
        #[arg(long)]
        old_code_is_gone: bool,
    },
    /// Shows each change with where it stands
    Status,
    /// Takes back what a change has added, and what is in it
    Abort {
        /// The change's name
        name: String,
    },
}

/// `50ms`, `5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time such as 50ms, 5s or 2m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// Runs what was asked for. Errors: MIG-017 to MIG-019, LOCK-002, LOCK-003, APP-003, CFG-003, and those
/// of a statement.
pub(crate) async fn run(expand: Expand, db: &Db, options: &Options, json: bool) -> Result<()> {
    let mut own = OnlineOptions {
        lock_timeout: options.lock_timeout,
        lock_retries: options.lock_retries,
        ..OnlineOptions::default()
    };
    if let Expand::Backfill { batch_target, duty, lag_max, .. } = &expand {
        own.batch_target = batch_target.unwrap_or(own.batch_target);
        own.duty = duty.unwrap_or(own.duty);
        own.lag_max = *lag_max;
    }
    let bar = bar(json);
    let online = Online::new(db).options(own).on(progress(bar.clone(), json));
    let done = work(expand, &online, json).await;
    bar.finish_and_clear();
    done
}

async fn work(expand: Expand, online: &Online, json: bool) -> Result<()> {
    match expand {
        Expand::Plan { file } => {
            let plan = online.plan(&read(&file)?).await?;
            if json {
                return as_json(&plan);
            }
            print!("{plan}");
            Ok(())
        }
        Expand::Start { file } => {
            let change = read(&file)?;
            online.start(&change).await?;
            tell(online, change.name(), json).await
        }
        Expand::Backfill { name, .. } => {
            online.backfill(&name).await?;
            tell(online, &name, json).await
        }
        Expand::Contract { name, old_code_is_gone } => {
            online.contract(&name, old_code_is_gone).await?;
            tell(online, &name, json).await
        }
        Expand::Abort { name } => {
            online.abort(&name).await?;
            if json {
                return as_json(&serde_json::json!({ "name": name, "phase": null }));
            }
            println!("{name} is taken back");
            Ok(())
        }
        Expand::Status => status(&online.status().await?, json),
    }
}

/// Errors: APP-003, MIG-017.
fn read(file: &PathBuf) -> Result<Change> {
    Change::parse(&file.display().to_string(), &super::read(file)?)
}

/// Where the change stands now, and what comes next.
async fn tell(online: &Online, name: &str, json: bool) -> Result<()> {
    let all = online.status().await?;
    let Some(status) = all.iter().find(|status| status.name == name) else { return Ok(()) };
    if json {
        return as_json(status);
    }
    match status.phase {
        Phase::Backfill => println!(
            "{name}: what is new is there\n  next: mainstay migrate expand backfill {name}"
        ),
        Phase::Contract => println!(
            "{name}: every row is filled\n  next: bring the new code everywhere, then \
             mainstay migrate expand contract {name} --old-code-is-gone"
        ),
        Phase::Done => println!("{name}: done"),
        phase => println!("{name}: in its {phase} phase"),
    }
    Ok(())
}

fn status(all: &[Status], json: bool) -> Result<()> {
    if json {
        return as_json(&all);
    }
    if all.is_empty() {
        println!("no change was started");
        return Ok(());
    }
    let rows: Vec<_> = all
        .iter()
        .map(|status| {
            let rows = match status.phase {
                Phase::Backfill => format!("{} of ~{}", status.rows_done, status.rows_total),
                _ => String::new(),
            };
            [
                status.name.clone(),
                status.table.clone(),
                status.kind.clone(),
                status.phase.to_string(),
                rows,
                status.updated_at.clone(),
            ]
        })
        .collect();
    print!("{}", table(["Change", "Table", "Kind", "Phase", "Rows", "Updated At"], &rows));
    Ok(())
}

/// Hidden where nobody looks.
fn bar(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/~{len} rows, {msg}");
    let bar = ProgressBar::new(0);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Tells on standard error what happens meanwhile; nothing where JSON is asked for.
fn progress(bar: ProgressBar, json: bool) -> impl Fn(Told<'_>) + Send + Sync + 'static {
    let say = move |bar: &ProgressBar, line: String| {
        if !json {
            bar.suspend(|| eprintln!("{line}"));
        }
    };
    move |told| match told {
        Told::Step { title, n, steps } => say(&bar, format!("{n}/{steps} {title}")),
        Told::Progress(p) => {
            bar.set_length(p.rows_total.max(p.rows_done));
            bar.set_position(p.rows_done);
            let left = p.eta.map_or(String::new(), |eta| format!(", {} s left", eta.as_secs()));
            bar.set_message(format!("{:.0}/s{left}", p.rows_per_s));
        }
        Told::Again { title, attempt, pause, why } => {
            say(&bar, format!("{title}: {why}\n  attempt {attempt} in {pause:.1?}"));
        }
        Told::Note(text) => say(&bar, format!("note: {text}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "ms", "5h", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
