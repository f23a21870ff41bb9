//! `mainstay jobs dash`: queues, workers and dead letters, drawn anew each second. What is drawn is a
//! function of what was read; without a terminal it is printed once.

use std::io::IsTerminal;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_jobs::admin::{Admin, Filter, JobInfo, State, Stats};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table};
use ratatui::{DefaultTerminal, Frame};

use super::print::{age, counted, stats_text};

const EVERY: Duration = Duration::from_secs(1);
/// How long a key is waited for at a time.
const KEY: Duration = Duration::from_millis(100);
const DEAD_MAX: u32 = 20;

/// What is drawn.
#[derive(Debug)]
struct View {
    stats: Stats,
    dead: Vec<JobInfo>,
    /// The look before, to tell how the backlog changes.
    before: Option<Stats>,
    selected: usize,
    /// What was done last.
    told: String,
}

/// What a key asks for.
enum Asked {
    Nothing,
    Quit,
    Pause,
    Retry,
}

pub(super) async fn run(admin: &Admin, once: bool) -> Result<()> {
    let mut view = look(admin, None).await?;
    if once || !std::io::stdout().is_terminal() {
        print!("{}", stats_text(&view.stats));
        return Ok(());
    }
    let mut terminal = ratatui::init();
    let outcome = live(admin, &mut terminal, &mut view).await;
    ratatui::restore();
    outcome
}

async fn look(admin: &Admin, last: Option<View>) -> Result<View> {
    let filter = Filter { state: Some(State::Dead), limit: DEAD_MAX, ..Filter::default() };
    let (stats, dead) = (admin.stats().await?, admin.list(&filter).await?);
    Ok(match last {
        None => View { stats, dead, before: None, selected: 0, told: String::new() },
        Some(last) => View { stats, dead, before: Some(last.stats), ..last },
    })
}

async fn live(admin: &Admin, terminal: &mut DefaultTerminal, view: &mut View) -> Result<()> {
    let wrong = |e: std::io::Error| Error::new(Code::Argument, "the terminal failed").cause(e);
    let clock = mainstay_core::clock::Clock::system();
    loop {
        terminal.draw(|frame| draw(frame, view)).map_err(wrong)?;
        let next = clock.now() + EVERY;
        while clock.now() < next {
            let key = tokio::task::spawn_blocking(|| {
                if event::poll(KEY)? { event::read().map(Some) } else { Ok(None) }
            });
            let key = key.await.map_err(|e| Error::new(Code::Argument, "no keys").cause(e))?;
            let Some(event) = key.map_err(wrong)? else { continue };
            match asked(&event, view) {
                Asked::Nothing => {}
                Asked::Quit => return Ok(()),
                Asked::Pause => pause(admin, view).await?,
                Asked::Retry => retry(admin, view).await?,
            }
            terminal.draw(|frame| draw(frame, view)).map_err(wrong)?;
        }
        let empty = Stats { queues: Vec::new(), workers: Vec::new(), ..view.stats.clone() };
        let blank =
            View { stats: empty, dead: Vec::new(), before: None, selected: 0, told: String::new() };
        let last = std::mem::replace(view, blank);
        *view = look(admin, Some(last)).await?;
    }
}

fn asked(event: &Event, view: &mut View) -> Asked {
    let Event::Key(key) = event else { return Asked::Nothing };
    let last = view.stats.queues.len().saturating_sub(1);
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Asked::Quit,
        KeyCode::Char('q') | KeyCode::Esc => return Asked::Quit,
        KeyCode::Char('p') => return Asked::Pause,
        KeyCode::Char('r') => return Asked::Retry,
        KeyCode::Up => view.selected = view.selected.saturating_sub(1),
        KeyCode::Down => view.selected = (view.selected + 1).min(last),
        _ => {}
    }
    Asked::Nothing
}

async fn pause(admin: &Admin, view: &mut View) -> Result<()> {
    let Some(queue) = view.stats.queues.get_mut(view.selected) else { return Ok(()) };
    if queue.paused {
        admin.resume(&queue.name).await?;
    } else {
        admin.pause(&queue.name).await?;
    }
    queue.paused = !queue.paused;
    view.told = format!("`{}` {}", queue.name, if queue.paused { "is paused" } else { "goes on" });
    Ok(())
}

async fn retry(admin: &Admin, view: &mut View) -> Result<()> {
    let Some(queue) = view.stats.queues.get(view.selected) else { return Ok(()) };
    let count = admin.retry_dead(Some(&queue.name), None, 1_000).await?;
    view.told = format!("{count} dead jobs of `{}` are ready again", queue.name);
    Ok(())
}

fn draw(frame: &mut Frame<'_>, view: &View) {
    let stats = &view.stats;
    let workers = u16::try_from(stats.workers.len()).unwrap_or(u16::MAX).saturating_add(3).min(10);
    let [head, queues, below, dead, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(5),
        Constraint::Length(workers),
        Constraint::Length(8),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let title = format!(
        "mainstay jobs  {}  outbox {}  position {}",
        stats.at.format("%Y-%m-%d %H:%M:%S"),
        counted(stats.outbox),
        stats.head
    );
    frame.render_widget(Line::styled(title, Style::new().add_modifier(Modifier::BOLD)), head);
    frame.render_widget(queue_table(view), queues);
    frame.render_widget(worker_table(stats), below);
    frame.render_widget(dead_table(view), dead);
    let keys = "q quit  arrows select  p pause or resume  r retry its dead";
    let line =
        if view.told.is_empty() { keys.to_owned() } else { format!("{keys}   {}", view.told) };
    frame.render_widget(Line::raw(line), foot);
}

fn queue_table(view: &View) -> Table<'_> {
    let row = |(at, queue): (usize, &mainstay_jobs::admin::QueueStats)| {
        let before = view.before.as_ref().and_then(|before| {
            let found = before.queues.iter().find(|other| other.name == queue.name)?;
            let seconds = (view.stats.at - before.at).as_seconds_f64();
            (seconds > 0.0).then(|| (queue.ready as f64 - found.ready as f64) / seconds)
        });
        let cells = [
            queue.name.clone(),
            if queue.paused { "paused".to_owned() } else { String::new() },
            counted(queue.ready),
            before.map(|change| format!("{change:+.0}/s")).unwrap_or_default(),
            counted(queue.scheduled),
            counted(queue.parked),
            counted(queue.running),
            counted(queue.handed),
            counted(queue.dead),
            queue.oldest_ready_at.map(|at| age(at, view.stats.at)).unwrap_or_default(),
        ];
        let style = if at == view.selected {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        Row::new(cells.map(Cell::from)).style(style)
    };
    let head =
        ["queue", "", "ready", "change", "later", "parked", "running", "broker", "dead", "oldest"];
    let widths = [24, 7, 8, 8, 8, 8, 8, 8, 8, 10].map(Constraint::Length);
    let rows: Vec<Row<'_>> = view.stats.queues.iter().enumerate().map(row).collect();
    Table::new(rows, widths).header(Row::new(head)).block(Block::bordered().title("queues"))
}

fn worker_table(stats: &Stats) -> Table<'_> {
    let row = |worker: &mainstay_jobs::admin::WorkerStats| {
        Row::new([
            worker.id.to_string(),
            worker.name.clone(),
            worker.running.to_string(),
            age(worker.started_at, stats.at),
            if worker.draining { "draining".to_owned() } else { String::new() },
            worker.queues.join(" "),
        ])
    };
    let widths = [8, 28, 8, 10, 9, 40].map(Constraint::Length);
    let rows: Vec<Row<'_>> = stats.workers.iter().map(row).collect();
    let head = Row::new(["worker", "name", "has", "since", "", "queues"]);
    Table::new(rows, widths).header(head).block(Block::bordered().title("workers"))
}

fn dead_table(view: &View) -> Table<'_> {
    let row = |job: &JobInfo| {
        let error = job.last_error.as_ref();
        let ended = job.finished_at.map(|at| age(at, view.stats.at));
        Row::new([
            job.id.to_string(),
            job.queue.clone(),
            job.name.clone(),
            ended.unwrap_or_default(),
            error.map(|e| format!("{} {}", e.code, e.message)).unwrap_or_default(),
        ])
    };
    let widths = [10, 20, 20, 10, 80].map(Constraint::Length);
    let rows: Vec<Row<'_>> = view.dead.iter().map(row).collect();
    let head = Row::new(["id", "queue", "name", "ended", "last error"]);
    Table::new(rows, widths).header(head).block(Block::bordered().title("dead letters"))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use mainstay_jobs::admin::QueueStats;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn a_view_is_drawn_with_what_changed() {
        let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
        let stats = |seconds, ready| Stats {
            at: at(seconds),
            queues: vec![QueueStats {
                name: "mail".to_owned(),
                ready,
                dead: 2,
                ..QueueStats::default()
            }],
            workers: Vec::new(),
            outbox: 0,
            head: 7,
        };
        let (now, before) = (stats(2, 40), Some(stats(0, 10)));
        let view = View { stats: now, dead: Vec::new(), before, selected: 0, told: String::new() };
        let mut terminal = Terminal::new(TestBackend::new(110, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let screen = terminal.backend().to_string();
        for part in ["position 7", "mail", "40", "+15/s", "dead letters"] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
    }
}
