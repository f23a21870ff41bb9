//! What `mainstay jobs` prints: tables for people, JSON for programs.

use chrono::{DateTime, Utc};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_jobs::admin::{Acted, Audit, JobDetail, JobInfo, Stats};
use serde::Serialize;

/// Where counting stops.
const COUNT_MAX: u64 = 100_000;

/// One value as JSON on stdout.
fn json<T: Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Code::JobPayload, "it can't be written as JSON").cause(e))?;
    println!("{text}");
    Ok(())
}

/// Columns as wide as what is in them; numbers to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
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

fn now() -> DateTime<Utc> {
    Clock::system().wall().into()
}

pub(super) fn list(jobs: &[JobInfo], as_json: bool) -> Result<()> {
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
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(60).collect()
}

pub(super) fn show(mut job: JobDetail, payload: bool, as_json: bool) -> Result<()> {
    if !payload {
        job.payload.clear();
        job.result = None;
    }
    if as_json {
        return json(&job);
    }
    let (now, info) = (now(), &job.info);
    println!("job {}: {} in `{}`, {}", info.id, info.name, info.queue, info.state);
    println!("  enqueued  {} ({})", info.created_at, age(info.created_at, now));
    if let Some(at) = info.run_at {
        println!("  runs      {at} ({})", age(at, now));
    }
    if let Some(at) = info.finished_at {
        println!("  ended     {at} ({})", age(at, now));
    }
    println!(
        "  priority  {}, version {}, {} failed attempts, {} crashes",
        info.priority, job.version, info.attempt, job.crashes
    );
    if let Some(worker) = &job.worker {
        println!("  worker    {worker}");
    }
    if job.options.as_object().is_some_and(|options| !options.is_empty()) {
        println!("  options   {}", job.options);
    }
    if let Some(progress) = &job.progress {
        println!(
            "  progress  {:.0} % {} ({})",
            progress.done * 100.0,
            progress.note,
            age(progress.at, now)
        );
    }
    for step in &job.steps {
        println!("  step      {} ({})", step.name, age(step.at, now));
    }
    for error in &job.errors {
        println!("  attempt {} failed: {} {}", error.attempt, error.code, error.message);
    }
    if payload {
        println!("  payload   {}", job.payload);
        println!("  result    {}", job.result.as_deref().unwrap_or("none"));
    }
    Ok(())
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
    println!("{count} {what}");
    Ok(())
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
            counted(queue.parked),
            counted(queue.running),
            counted(queue.handed),
            counted(queue.dead),
            queue.oldest_ready_at.map(|at| age(at, stats.at)).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = stats.queues.iter().map(queue).collect();
    let head = ["queue", "", "ready", "scheduled", "parked", "running", "handed", "dead", "oldest"];
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
