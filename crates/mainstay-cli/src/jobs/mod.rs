//! `mainstay jobs`: background jobs from the command line. What is done is written down with who did it.

mod dash;
pub(crate) mod print;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Subcommand};
use mainstay_core::{Code, Error, Result, config};
use mainstay_db::Db;
use mainstay_jobs::JobId;
use mainstay_jobs::admin::{Act, Acted, Admin, Filter, State};
use mainstay_jobs::event::From;

use crate::target::Target;

/// Jobs that one command acts on, where it acts on many.
const MANY_MAX: u32 = 100_000;

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
        /// Its unique, ordering, limit or batch key
        #[arg(long)]
        key: Option<String>,
        /// Ended since then, or enqueued if it has not: 2026-01-31T12:00:00Z, or 90s, 15m, 2h, 3d ago
        #[arg(long, value_name = "TIME", value_parser = when)]
        since: Option<DateTime<Utc>>,
        /// Ended before then, or enqueued if it has not
        #[arg(long, value_name = "TIME", value_parser = when)]
        until: Option<DateTime<Utc>>,
        /// Only what comes after this one: where the last page ended
        #[arg(long, value_name = "ID", alias = "before")]
        after: Option<i64>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
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
        /// All that failed for good
        #[arg(long, groups = ["which", "many"], requires = "scope")]
        dead: bool,
        /// All of this state
        #[arg(long, groups = ["which", "many"], requires = "scope", value_parser = state(&AGAIN))]
        state: Option<State>,
        #[command(flatten)]
        which: Which,
    },
    /// Ends jobs that wait or run
    Cancel {
        /// All of this state
        #[arg(long, groups = ["which", "many"], requires = "scope", value_parser = state(&LIVE))]
        state: Option<State>,
        #[command(flatten)]
        which: Which,
    },
    /// Removes jobs that have ended
    Delete {
        /// All that failed for good
        #[arg(long, groups = ["which", "many"], requires = "scope")]
        dead: bool,
        /// All of this state
        #[arg(long, groups = ["which", "many"], requires = "scope", value_parser = state(&ENDED))]
        state: Option<State>,
        #[command(flatten)]
        which: Which,
    },
    /// Begins nothing more of a queue; that of a group is called group:NAME
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
    /// Shows the groups of subscribers, and how far behind each is
    Groups,
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
    /// A live view of queues, groups, workers and dead letters
    Dash {
        /// Prints it once, as text; so does --json, as JSON
        #[arg(long)]
        once: bool,
    },
}

const AGAIN: [State; 3] = [State::Dead, State::Cancelled, State::Scheduled];
const LIVE: [State; 5] =
    [State::Ready, State::Scheduled, State::Parked, State::Running, State::Handed];
const ENDED: [State; 3] = [State::Dead, State::Cancelled, State::Completed];

// What is acted on: jobs by number, or many, and then of a queue, of a name, or all. No comment for the
// help: it would take the place of the command's own.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true)))]
#[command(group(ArgGroup::new("scope").multiple(true)))]
struct Which {
    #[arg(group = "which")]
    ids: Vec<i64>,
    #[arg(long, group = "scope", requires = "many")]
    queue: Option<String>,
    /// The job's name
    #[arg(long, group = "scope", requires = "many")]
    name: Option<String>,
    /// Of whatever queue and name
    #[arg(long, group = "scope", requires = "many", conflicts_with_all = ["queue", "name"])]
    all: bool,
    /// Only counts them
    #[arg(long, requires = "many")]
    dry_run: bool,
}

impl Which {
    async fn act(self, admin: &Admin, act: Act, state: Option<State>, json: bool) -> Result<()> {
        let Self { ids, queue, name, all, dry_run } = self;
        if state.is_none() {
            let ids: Vec<JobId> = ids.into_iter().map(JobId).collect();
            return acted(&admin.act(act, &ids).await?, json);
        }
        debug_assert!(all || queue.is_some() || name.is_some(), "clap sees to it");
        let filter = Filter { state, queue, name, ..Filter::default() };
        let (done, would) = match act {
            Act::Retry => ("jobs are ready again", "jobs would be ready again"),
            Act::Cancel => ("jobs are cancelled, or soon", "jobs would be cancelled"),
            Act::Delete => ("jobs were deleted", "jobs would be deleted"),
        };
        if dry_run {
            return print::count(admin.count(&filter).await?, would, json);
        }
        print::count(admin.act_on_all(act, &filter, MANY_MAX).await?, done, json)
    }
}

/// Reads one of these states.
fn state(of: &'static [State]) -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(of.iter().map(|state| state.as_str()))
        .try_map(|text| text.parse::<State>())
}

/// A time, or how long ago.
fn when(text: &str) -> Result<DateTime<Utc>, String> {
    let wrong = || "write a time such as 2026-01-31T12:00:00Z, or 90s, 15m, 2h, 3d".to_owned();
    if let Ok(time) = text.parse::<DateTime<Utc>>() {
        return Ok(time);
    }
    let at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(at).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse::<u32>().map_err(|_| wrong())?.into();
    print::now().checked_sub_signed(TimeDelta::seconds(number * unit)).ok_or_else(wrong)
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
            told(Ok(()), "the tables of jobs and events are there", json)
        }
        Command::List { state, queue, name, key, since, until, after, limit } => {
            let before = after.map(JobId);
            let filter = Filter { state, queue, name, key, since, until, before, limit };
            print::list(&admin.list(&filter).await?, limit, json)
        }
        Command::Show { id, payload } => print::show(admin.show(JobId(id)).await?, payload, json),
        Command::Retry { dead, state, which } => {
            let state = if dead { Some(State::Dead) } else { state };
            which.act(&admin, Act::Retry, state, json).await
        }
        Command::Cancel { state, which } => which.act(&admin, Act::Cancel, state, json).await,
        Command::Delete { dead, state, which } => {
            let state = if dead { Some(State::Dead) } else { state };
            which.act(&admin, Act::Delete, state, json).await
        }
        Command::Pause { queue } => {
            told(admin.pause(&queue).await, &format!("`{queue}` is paused"), json)
        }
        Command::Resume { queue } => {
            told(admin.resume(&queue).await, &format!("`{queue}` goes on"), json)
        }
        Command::Drain { worker: Some(id), .. } => {
            let what = format!("worker {id} was told to end in order");
            told(admin.drain_worker(id).await, &what, json)
        }
        Command::Drain { queue, timeout, .. } => {
            let queue = queue.unwrap_or_default();
            let drained = admin.drain(&queue, Duration::from_secs(timeout)).await;
            told(drained, &format!("nothing of `{queue}` runs; it stays paused"), json)
        }
        Command::Stats => print::stats(&admin.stats().await?, json),
        Command::Groups => print::groups(&admin.groups().await?, json),
        Command::Audit { limit } => print::audit(&admin.audit(limit).await?, json),
        Command::Replay { group, from } => {
            let replayed = admin.replay(&group, from).await?;
            print::count(replayed.events, &format!("events come to `{group}` again"), json)
        }
        Command::Dash { once } => dash::run(&admin, once, json).await,
    }
}

/// Says that it was done.
fn told(outcome: Result<()>, what: &str, json: bool) -> Result<()> {
    outcome?;
    print::told(what, json)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_or_how_long_ago() {
        assert_eq!(when("2026-01-31T12:00:00Z").unwrap().timestamp(), 1_769_860_800);
        let ago = (print::now() - when("2h").unwrap()).num_seconds();
        assert!((7_199..=7_201).contains(&ago), "{ago}");
        for wrong in ["", "2", "h", "-1h", "2w", "2ä", "4294967295d", "yesterday"] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }
}
