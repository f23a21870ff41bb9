//! What `mainstay jobs` prints: tables for people, JSON for programs.

use chrono::{DateTime, Utc};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_jobs::admin::{Acted, Audit, GroupStats, JobDetail, JobInfo, Stats};
use serde::Serialize;
use serde_json::Value;

/// Where counting stops.
const COUNT_MAX: u64 = 100_000;

/// One value as JSON on stdout.
pub(super) fn json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Code::JobPayload, "it can't be written as JSON").cause(e))?;
    println!("{text}");
    Ok(())
}

/// Columns as wide as what is in them; numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([head[at].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cell = |(at, text): (usize, &&str)| {
            let right = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(' ');
            let pad = " ".repeat(widths[at].saturating_sub(text.chars().count()));
            if right { format!("{pad}{text}") } else { format!("{text}{pad}") }
        };
        let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut out = line(head.to_vec()) + "\n";
    for row in rows {
        out += &(line(row.iter().map(String::as_str).collect()) + "\n");
    }
    out
}

/// How long ago, or in how long.
pub(super) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    let span = match seconds.unsigned_abs() {
        s if s < 120 => format!("{s}s"),
        s if s < 7_200 => format!("{}m", s / 60),
        s if s < 172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    };
    if seconds < 0 { format!("in {span}") } else { format!("{span} ago") }
}

/// A count that may have stopped.
pub(super) fn counted(count: u64) -> String {
    if count >= COUNT_MAX { format!("{COUNT_MAX}+") } else { count.to_string() }
}

pub(super) fn now() -> DateTime<Utc> {
    Clock::system().wall().into()
}

pub(super) fn list(jobs: &[JobInfo], limit: u32, as_json: bool) -> Result<()> {
    if as_json {
        return json(&jobs);
    }
    let now = now();
    let row = |job: &JobInfo| {
        let when = match (job.run_at, job.finished_at) {
            (_, Some(at)) => format!("ended {}", age(at, now)),
            (Some(at), None) => format!("runs {}", age(at, now)),
            (None, None) => String::new(),
        };
        let error = job.last_error.as_ref();
        let error = error.map(|e| format!("{} {}", e.code, first_line(&e.message)));
        vec![
            job.id.to_string(),
            job.state.to_string(),
            job.queue.clone(),
            job.name.clone(),
            job.attempt.to_string(),
            age(job.created_at, now),
            when,
            error.unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    let head = ["id", "state", "queue", "name", "failed", "enqueued", "when", "last error"];
    print!("{}", table(&head, &rows));
    if let Some(last) = jobs.last().filter(|_| jobs.len() >= limit as usize) {
        eprintln!("there may be more: --after {}", last.id);
    }
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(60).collect()
}

pub(super) fn show(mut job: JobDetail, payload: bool, as_json: bool) -> Result<()> {
    if as_json {
        if !payload {
            job.payload.clear();
            job.result = None;
        }
        return json(&job);
    }
    let now = now();
    let headers = job.options.as_object_mut().and_then(|options| options.remove("headers"));
    let info = &job.info;
    println!("job {}: {} in `{}`, {}", info.id, info.name, info.queue, info.state);
    println!(
        "  priority  {}, version {}, {} failed attempts, {} crashes",
        info.priority, job.version, info.attempt, job.crashes
    );
    if let Some(worker) = &job.worker {
        println!("  worker    {worker}");
    }
    if let Some(Value::Object(headers)) = headers {
        for (name, value) in &headers {
            println!("  header    {name}: {}", value.as_str().unwrap_or_default());
        }
    }
    if job.options.as_object().is_some_and(|options| !options.is_empty()) {
        println!("  options   {}", job.options);
    }
    if payload {
        println!("  payload   {}", job.payload);
        println!("  result    {}", job.result.as_deref().unwrap_or("none"));
    } else {
        println!("  payload   {} bytes: --payload shows them", job.payload.len());
    }
    println!("  timeline");
    for (at, what) in timeline(&job) {
        let what = what.replace('\n', "\n      ");
        println!("    {} ({}) {what}", at.format("%Y-%m-%d %H:%M:%S%.3f"), age(at, now));
    }
    Ok(())
}

/// What became of it, in the order of time: of attempts, by their workers' clocks.
fn timeline(job: &JobDetail) -> Vec<(DateTime<Utc>, String)> {
    let info = &job.info;
    let mut out = vec![(info.created_at, "enqueued".to_owned())];
    out.extend(job.steps.iter().map(|step| (step.at, format!("step {}", step.name))));
    out.extend(job.errors.iter().map(|error| {
        let at = DateTime::from_timestamp_micros(error.at_us).unwrap_or_default();
        (at, format!("attempt {} failed: {} {}", error.attempt, error.code, error.message))
    }));
    out.extend(job.progress.iter().map(|progress| {
        (progress.at, format!("{:.0} % done {}", progress.done * 100.0, progress.note))
    }));
    out.extend(info.run_at.map(|at| (at, "runs".to_owned())));
    out.extend(info.finished_at.map(|at| (at, info.state.to_string())));
    out.sort_by_key(|(at, _)| *at);
    out
}

pub(super) fn acted(all: &[Acted], as_json: bool) -> Result<()> {
    if as_json {
        return json(&all);
    }
    for one in all {
        println!("job {}: {}", one.id, one.what);
    }
    Ok(())
}

pub(super) fn count(count: u64, what: &str, as_json: bool) -> Result<()> {
    if as_json {
        return json(&serde_json::json!({ "count": count }));
    }
    println!("{} {what}", counted(count));
    Ok(())
}

/// Says that it was done.
pub(super) fn told(what: &str, as_json: bool) -> Result<()> {
    if as_json {
        return json(&serde_json::json!({ "done": what }));
    }
    eprintln!("{what}");
    Ok(())
}

pub(super) fn groups(groups: &[GroupStats], as_json: bool) -> Result<()> {
    if as_json {
        return json(&groups);
    }
    print!("{}", groups_text(groups, now()));
    Ok(())
}

pub(super) const GROUPS_HEAD: [&str; 6] = ["group", "", "lag", "oldest", "dead", "events"];

pub(super) fn group_cells(group: &GroupStats, now: DateTime<Utc>) -> [String; 6] {
    let state = match (group.paused, group.replaying) {
        (true, _) => "paused",
        (false, true) => "replays",
        (false, false) => "",
    };
    [
        group.name.clone(),
        state.to_owned(),
        counted(group.lag),
        group.oldest_at.map(|at| age(at, now)).unwrap_or_default(),
        counted(group.dead),
        group.events.join(" "),
    ]
}

pub(super) fn groups_text(groups: &[GroupStats], now: DateTime<Utc>) -> String {
    let rows: Vec<_> = groups.iter().map(|group| group_cells(group, now).to_vec()).collect();
    table(&GROUPS_HEAD, &rows)
}

pub(super) fn stats(stats: &Stats, as_json: bool) -> Result<()> {
    if as_json {
        return json(stats);
    }
    print!("{}", stats_text(stats));
    Ok(())
}

/// Queues, then workers.
pub(super) fn stats_text(stats: &Stats) -> String {
    let queue = |queue: &mainstay_jobs::admin::QueueStats| {
        vec![
            queue.name.clone(),
            if queue.paused { "paused" } else { "" }.to_owned(),
            counted(queue.ready),
            counted(queue.scheduled),
            counted(queue.retrying),
            counted(queue.parked),
            counted(queue.running),
            counted(queue.handed),
            counted(queue.dead),
            queue.oldest_ready_at.map(|at| age(at, stats.at)).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = stats.queues.iter().map(queue).collect();
    let head = [
        "queue",
        "",
        "ready",
        "scheduled",
        "retrying",
        "parked",
        "running",
        "handed",
        "dead",
        "oldest",
    ];
    let mut out = table(&head, &rows);
    let worker = |worker: &mainstay_jobs::admin::WorkerStats| {
        vec![
            worker.id.to_string(),
            worker.name.clone(),
            worker.running.to_string(),
            age(worker.started_at, stats.at),
            if worker.draining { "draining" } else { "" }.to_owned(),
            worker.queues.join(" "),
        ]
    };
    let rows: Vec<_> = stats.workers.iter().map(worker).collect();
    out += "\n";
    out += &table(&["worker", "name", "has", "since", "", "queues"], &rows);
    out += &format!("\nevents: {} in the outbox, position {}\n", counted(stats.outbox), stats.head);
    out
}

pub(super) fn audit(all: &[Audit], as_json: bool) -> Result<()> {
    if as_json {
        return json(&all);
    }
    let now = now();
    let row = |one: &Audit| {
        vec![age(one.at, now), one.actor.clone(), one.action.clone(), one.target.clone()]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    print!("{}", table(&["when", "who", "did", "what"], &rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 - seconds, 0).unwrap();
        assert_eq!(age(at(5), now), "5s ago");
        assert_eq!(age(at(600), now), "10m ago");
        assert_eq!(age(at(-90), now), "in 90s");
        assert_eq!(age(at(400_000), now), "4d ago");
        assert_eq!((counted(7), counted(100_000)), ("7".to_owned(), "100000+".to_owned()));
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["mail".to_owned(), "12".to_owned()], vec!["a".to_owned(), "3".to_owned()]];
        assert_eq!(table(&["queue", "ready"], &rows), "queue  ready\nmail      12\na          3\n");
    }
}
