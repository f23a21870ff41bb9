//! Moving a logical shard, with a bar where somebody looks, and lines where nobody does.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use mainstay_core::{Code, Error, Result};
use mainstay_route::Databases;
use mainstay_route::shard::moves::{Mover, Outcome, Progress, State, Step};

use super::{json, logical, mover, store, tables};

/// What moves where, or what becomes of a move.
#[derive(Debug, Args)]
pub(super) struct Move {
    /// The logical shard: 0 to 4095, or a slot from 4096
    #[arg(value_parser = logical)]
    logical: u16,
    /// The shard that it goes to; one that is configured and not in the map yet is added to it, with nothing
    #[arg(long, value_name = "SHARD", required_unless_present_any = ["resume", "rollback", "finish"])]
    to: Option<String>,
    /// Goes on with a move that was cut off
    #[arg(long, conflicts_with_all = ["to", "rollback", "finish"])]
    resume: bool,
    /// Takes a move back that has not changed the map yet
    #[arg(long, conflicts_with_all = ["to", "finish"])]
    rollback: bool,
    /// Cleans up after a move that is done: the old rows go
    #[arg(long, conflicts_with = "to")]
    finish: bool,
    /// Seconds after the switch before which --finish deletes nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    grace: u64,
    /// Rows a second that are looked at, at most
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

/// Errors: those of [`Mover`].
pub(super) async fn run(call: &Move, databases: &Databases, as_json: bool) -> Result<()> {
    let mover = mover(databases)?
        .rate(call.rate)
        .grace(Duration::from_secs(call.grace))
        .on(progress(as_json));
    let outcome = match &call.to {
        Some(to) => {
            join(databases, call.logical, to).await?;
            start(&mover, call.logical, to).await?
        }
        None if call.rollback => mover.rollback(call.logical).await?,
        None if call.finish => mover.finish(call.logical).await?,
        None => mover.resume(call.logical).await?,
    };
    if as_json {
        return json(&outcome);
    }
    tell(&outcome);
    Ok(())
}

async fn start(mover: &Mover, logical: u16, to: &str) -> Result<Outcome> {
    let error = match mover.start(logical, to).await {
        Err(error) if error.code() != Code::MoveUnfinished => error,
        other => return other,
    };
    // What can be resumed says so; it may be, where the catalogue does not tell.
    let open = match mover.moves(false).await {
        Ok(moves) => moves.iter().any(|of| of.logical == logical),
        Err(_) => true,
    };
    Err(if open {
        error.note(format!(
            "mainstay shards move {logical} --resume goes on, --rollback takes it back"
        ))
    } else {
        error
    })
}

/// A shard that is configured, and not in the map: it has nothing there at first. It comes into the region that the logical
/// shard is in, since it could not take it otherwise.
async fn join(databases: &Databases, logical: u16, name: &str) -> Result<()> {
    let shards = databases.shards();
    shards.refresh(store(databases)?).await?;
    let map = shards.map();
    if map.shard(name).is_some() {
        return Ok(());
    }
    if !databases.names().iter().skip(1).any(|own| *own == name) {
        let names = databases.names().split_off(1).join(", ");
        let what = format!("no shard is called {name:?}; there are {names}");
        return Err(Error::new(Code::ShardMap, what).fix("name its database in [shards.databases]"));
    }
    // What the move would be refused for is found before the map is another.
    tables(databases)?;
    let owner = map.owner(logical).and_then(|owner| map.shard(owner)).ok_or_else(|| {
        Error::new(Code::MoveRefused, format!("there is no logical shard {logical}"))
    })?;
    let next = map.with_empty(name, owner.region.as_deref())?;
    next.assign(logical, name)?;
    databases.primary(name)?.ping().await?;
    let saved = store(databases)?.save(&next, map.epoch()).await?;
    shards.replace_map(saved)
}

fn progress(as_json: bool) -> impl Fn(&Progress) + Send + Sync + 'static {
    let shows_bar = !as_json && std::io::stderr().is_terminal();
    let bar =
        if shows_bar { ProgressBar::new(0).with_style(style()) } else { ProgressBar::hidden() };
    let last = Mutex::new(String::new());
    move |p| {
        if as_json {
            return;
        }
        if let (Some(table), Step::Copied | Step::Compared | Step::Deleted) = (&p.table, p.step) {
            bar.set_length(p.rows_estimate.max(p.rows_seen));
            bar.set_position(p.rows_seen);
            bar.set_message(format!("{}: {table}, {} changes behind", words(p.state), p.lag));
        }
        // Each once, however often it is tried.
        let line = match p.step {
            Step::Entered if p.state == State::Prepared => "looking at both sides".to_owned(),
            Step::Entered if p.state == State::CatchingUp => {
                format!("{} rows copied", p.rows_copied)
            }
            Step::Entered if p.state == State::Verified => "both sides are the same".to_owned(),
            Step::Prepared => "what it needs is on both sides".to_owned(),
            Step::Captured => {
                format!("{}: changes are logged", p.table.as_deref().unwrap_or_default())
            }
            Step::Fenced => "the old shard is shut".to_owned(),
            Step::Switched => "the map leads to the new shard".to_owned(),
            Step::Released => {
                format!("{}: its triggers are gone", p.table.as_deref().unwrap_or_default())
            }
            _ => return,
        };
        let Ok(mut last) = last.lock() else { return };
        if *last != line {
            bar.suspend(|| eprintln!("{line}"));
            *last = line;
        }
        if p.step == Step::Switched {
            bar.finish_and_clear();
        }
    }
}

fn words(state: State) -> &'static str {
    match state {
        State::Prepared | State::Copying => "copying",
        State::CatchingUp => "comparing",
        State::RollingBack => "taking back",
        State::Done => "cleaning up",
        _ => "switching",
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {human_pos}/{human_len} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn tell(of: &Outcome) {
    let Outcome { logical, from, to, rows, .. } = of;
    match of.state {
        State::Cleaned => println!("{logical} is on {to} alone: nothing of it is left on {from}"),
        State::RolledBack => println!("{logical} stays on {from}: nothing of it is left on {to}"),
        _ => {
            let pause = of.pause.as_secs_f64() * 1000.0;
            println!(
                "{logical} is on {to}: {rows} rows, writes waited for {pause:.0} ms at most, map of epoch {}",
                of.epoch
            );
            println!("the old rows stay on {from} until mainstay shards move {logical} --finish");
        }
    }
}
