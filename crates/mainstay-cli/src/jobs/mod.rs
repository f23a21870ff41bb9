//! `mainstay jobs`: background jobs from the command line. What is done is written down with who did it.

mod dash;
mod print;

use std::time::Duration;

use clap::{Args, Subcommand};
use mainstay_core::{Code, Error, Result, config};
use mainstay_db::Db;
use mainstay_jobs::JobId;
use mainstay_jobs::admin::{Acted, Admin, Filter, State};
use mainstay_jobs::event::{From, replay};

use crate::target::Target;

/// Dead jobs made ready by one `retry --dead`.
const RETRY_MAX: u32 = 100_000;

/// Which database, and what of its jobs.
#[derive(Debug, Args)]
pub struct Jobs {
    /// The database; also DATABASE_URL or mainstay.toml
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Prints JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the tables of jobs and events, unless they are there
    Install,
    /// Lists jobs, the newest first
    List {
        /// ready, scheduled, parked, running, handed, completed, cancelled or dead
        #[arg(long)]
        state: Option<State>,
        #[arg(long)]
        queue: Option<String>,
        /// The job's name
        #[arg(long)]
        name: Option<String>,
        /// Only those older than this one: where the last page ended
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Shows all that is known of a job
    Show {
        id: i64,
        /// Also its payload and result, which may be private
        #[arg(long)]
        payload: bool,
    },
    /// Makes dead, cancelled or scheduled jobs ready now
    Retry {
        #[arg(required_unless_present = "dead")]
        ids: Vec<i64>,
        /// All that failed for good
        #[arg(long, conflicts_with = "ids")]
        dead: bool,
        #[arg(long, requires = "dead")]
        queue: Option<String>,
        #[arg(long, requires = "dead")]
        name: Option<String>,
    },
    /// Ends jobs that wait or run
    Cancel {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Removes jobs that have ended
    Delete {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Begins nothing more of a queue
    Pause { queue: String },
    /// Begins jobs of a queue again
    Resume { queue: String },
    /// Pauses a queue and waits until nothing of it runs, or has a worker end in order
    Drain {
        #[arg(long, required_unless_present = "worker")]
        queue: Option<String>,
        /// How long to wait for a queue, in seconds
        #[arg(long, default_value_t = 60)]
        timeout: u64,
        /// The worker's number, as `stats` shows it
        #[arg(long, conflicts_with = "queue")]
        worker: Option<i64>,
    },
    /// Shows queues and workers
    Stats,
    /// Shows what was done, and by whom
    Audit {
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Gives a group of subscribers again what was
    Replay {
        group: String,
        /// start, a position, or a time such as 2026-01-31T12:00:00Z
        #[arg(long, value_parser = from)]
        from: From,
    },
    /// A live view of queues, workers and dead letters
    Dash {
        /// Prints it once, as text
        #[arg(long)]
        once: bool,
    },
}

fn from(text: &str) -> Result<From, String> {
    if text == "start" {
        return Ok(From::Start);
    }
    if let Ok(position) = text.parse() {
        return Ok(From::Position(position));
    }
    let time = text.parse().map(From::Time);
    time.map_err(|_| "write `start`, a position, or a time such as 2026-01-31T12:00:00Z".to_owned())
}

/// Runs what was asked for. Errors: those of the command, CFG-001 to CFG-004, APP-003.
pub async fn run(call: Jobs) -> Result<()> {
    let Jobs { url, json, command } = call;
    let loaded = Target::find(url)?;
    if loaded.is_own() {
        let what = "no database is configured";
        return Err(Error::new(Code::ConfigUrl, what)
            .fix("pass --url, or set DATABASE_URL or database.url in mainstay.toml"));
    }
    let db = loaded.connect().connect().await?;
    let outcome = Box::pin(command_on(&db, command, json)).await;
    let _ = db.close(Duration::from_secs(5)).await;
    outcome
}

async fn command_on(db: &Db, command: Command, json: bool) -> Result<()> {
    let admin = Admin::new(db, actor());
    match command {
        Command::Install => {
            mainstay_jobs::install(db).await?;
            eprintln!("the tables of jobs and events are there");
            Ok(())
        }
        Command::List { state, queue, name, before, limit } => {
            let filter = Filter { state, queue, name, before: before.map(JobId), limit };
            print::list(&admin.list(&filter).await?, json)
        }
        Command::Show { id, payload } => print::show(admin.show(JobId(id)).await?, payload, json),
        Command::Retry { ids, dead: false, .. } => acted(&admin.retry(&numbers(&ids)).await?, json),
        Command::Retry { queue, name, .. } => {
            let count = admin.retry_dead(queue.as_deref(), name.as_deref(), RETRY_MAX).await?;
            print::count(count, "jobs are ready again", json)
        }
        Command::Cancel { ids } => acted(&admin.cancel(&numbers(&ids)).await?, json),
        Command::Delete { ids } => acted(&admin.delete(&numbers(&ids)).await?, json),
        Command::Pause { queue } => {
            told(admin.pause(&queue).await, &format!("`{queue}` is paused"))
        }
        Command::Resume { queue } => {
            told(admin.resume(&queue).await, &format!("`{queue}` goes on"))
        }
        Command::Drain { worker: Some(id), .. } => {
            told(admin.drain_worker(id).await, &format!("worker {id} was told to end in order"))
        }
        Command::Drain { queue, timeout, .. } => {
            let queue = queue.unwrap_or_default();
            let drained = admin.drain(&queue, Duration::from_secs(timeout)).await;
            told(drained, &format!("nothing of `{queue}` runs; it stays paused"))
        }
        Command::Stats => print::stats(&admin.stats().await?, json),
        Command::Audit { limit } => print::audit(&admin.audit(limit).await?, json),
        Command::Replay { group, from } => {
            let replayed = replay(db, &group, from).await?;
            print::count(replayed.events, &format!("events come to `{group}` again"), json)
        }
        Command::Dash { once } => dash::run(&admin, once).await,
    }
}

fn numbers(ids: &[i64]) -> Vec<JobId> {
    ids.iter().copied().map(JobId).collect()
}

fn told(outcome: Result<()>, what: &str) -> Result<()> {
    outcome?;
    eprintln!("{what}");
    Ok(())
}

/// Errors: JOB-012 where one of them could not be acted on.
fn acted(all: &[Acted], json: bool) -> Result<()> {
    print::acted(all, json)?;
    let refused = all.iter().filter(|one| !one.done).count();
    if refused == 0 {
        return Ok(());
    }
    let what = format!("{refused} of {} could not be acted on", all.len());
    Err(Error::new(Code::JobState, what))
}

/// Who is written down.
fn actor() -> String {
    let user = config::variable("USER").or_else(|| config::variable("LOGNAME"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), host.trim())
}
