//! `mainstay jobs dash`: queues, groups and workers on one page, dead letters on another, drawn anew each
//! second. What is drawn is a function of what was read; without a terminal it is printed once.

use std::io::IsTerminal;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_jobs::admin::{Admin, Filter, GroupStats, JobInfo, State, Stats};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table, TableState};
use ratatui::{DefaultTerminal, Frame};

use super::print::{self, GROUPS_HEAD, age, counted, group_cells, groups_text, stats_text};

const EVERY: Duration = Duration::from_secs(1);
/// How long a key is waited for at a time.
const KEY: Duration = Duration::from_millis(100);
const DEAD_MAX: u32 = 200;
/// Rows that PageUp and PageDown go.
const LEAP: usize = 10;
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Queues,
    Dead,
}

/// What is drawn.
#[derive(Debug)]
struct View {
    stats: Stats,
    groups: Vec<GroupStats>,
    /// The latest.
    dead: Vec<JobInfo>,
    /// The look before, to tell how the backlog changes.
    before: Option<Stats>,
    page: Page,
    /// The row that is selected among the queues.
    queue: usize,
    /// And among the dead letters.
    letter: usize,
    /// What was done last.
    told: String,
}

impl View {
    fn new(stats: Stats, groups: Vec<GroupStats>, dead: Vec<JobInfo>) -> Self {
        let (before, page, told) = (None, Page::Queues, String::new());
        Self { stats, groups, dead, before, page, queue: 0, letter: 0, told }
    }

    /// Takes what was read anew, and keeps what was chosen.
    fn renew(&mut self, next: View) {
        self.before = Some(std::mem::replace(&mut self.stats, next.stats));
        (self.groups, self.dead) = (next.groups, next.dead);
        self.queue = self.queue.min(self.stats.queues.len().saturating_sub(1));
        self.letter = self.letter.min(self.dead.len().saturating_sub(1));
    }

    /// Selects another row of this page.
    fn go(&mut self, to: impl Fn(usize) -> usize) {
        let (at, count) = match self.page {
            Page::Queues => (&mut self.queue, self.stats.queues.len()),
            Page::Dead => (&mut self.letter, self.dead.len()),
        };
        *at = to(*at).min(count.saturating_sub(1));
    }
}

/// What a key asks for.
enum Asked {
    Nothing,
    Quit,
    Pause,
    Retry,
}

pub(super) async fn run(admin: &Admin, once: bool, as_json: bool) -> Result<()> {
    let mut view = look(admin).await?;
    if as_json {
        let (stats, groups, dead) = (&view.stats, &view.groups, &view.dead);
        let all = serde_json::json!({ "stats": stats, "groups": groups, "dead": dead });
        return print::json(&all);
    }
    if once || !std::io::stdout().is_terminal() {
        print!("{}\n{}", stats_text(&view.stats), groups_text(&view.groups, view.stats.at));
        return Ok(());
    }
    let mut terminal = ratatui::init();
    let outcome = live(admin, &mut terminal, &mut view).await;
    ratatui::restore();
    outcome
}

async fn look(admin: &Admin) -> Result<View> {
    let filter = Filter { state: Some(State::Dead), limit: DEAD_MAX, ..Filter::default() };
    Ok(View::new(admin.stats().await?, admin.groups().await?, admin.list(&filter).await?))
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
        view.renew(look(admin).await?);
    }
}

fn asked(event: &Event, view: &mut View) -> Asked {
    let Event::Key(key) = event else { return Asked::Nothing };
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Asked::Quit,
        KeyCode::Char('q') | KeyCode::Esc => return Asked::Quit,
        KeyCode::Char('p') if view.page == Page::Queues => return Asked::Pause,
        KeyCode::Char('r') => return Asked::Retry,
        KeyCode::Tab => {
            view.page = if view.page == Page::Queues { Page::Dead } else { Page::Queues };
        }
        KeyCode::Up => view.go(|at| at.saturating_sub(1)),
        KeyCode::Down => view.go(|at| at + 1),
        KeyCode::PageUp => view.go(|at| at.saturating_sub(LEAP)),
        KeyCode::PageDown => view.go(|at| at + LEAP),
        _ => {}
    }
    Asked::Nothing
}

async fn pause(admin: &Admin, view: &mut View) -> Result<()> {
    let Some(queue) = view.stats.queues.get_mut(view.queue) else { return Ok(()) };
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
    match view.page {
        Page::Queues => {
            let Some(queue) = view.stats.queues.get(view.queue) else { return Ok(()) };
            let count = admin.retry_dead(Some(&queue.name), None, 1_000).await?;
            view.told = format!("{count} dead jobs of `{}` are ready again", queue.name);
        }
        Page::Dead => {
            let Some(job) = view.dead.get(view.letter) else { return Ok(()) };
            for one in admin.retry(&[job.id]).await? {
                view.told = format!("job {}: {}", one.id, one.what);
            }
        }
    }
    Ok(())
}

fn draw(frame: &mut Frame<'_>, view: &View) {
    let stats = &view.stats;
    let line = Constraint::Length(1);
    let [head, body, foot] = Layout::vertical([line, Constraint::Min(0), line]).areas(frame.area());
    let title = format!(
        "mainstay jobs  {}  outbox {}  position {}",
        stats.at.format("%Y-%m-%d %H:%M:%S"),
        counted(stats.outbox),
        stats.head
    );
    frame.render_widget(Line::styled(title, Style::new().add_modifier(Modifier::BOLD)), head);
    let keys = match view.page {
        Page::Queues => {
            draw_queues(frame, body, view);
            "q quit  tab dead letters  arrows select  p pause or resume  r retry its dead"
        }
        Page::Dead => {
            let mut selected = TableState::new().with_selected(view.letter);
            frame.render_stateful_widget(dead_table(view), body, &mut selected);
            "q quit  tab queues  arrows select  r retry it"
        }
    };
    let line =
        if view.told.is_empty() { keys.to_owned() } else { format!("{keys}   {}", view.told) };
    frame.render_widget(Line::raw(line), foot);
}

fn draw_queues(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let lines = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3).min(10);
    // Nobody has groups who has no events.
    let groups = if view.groups.is_empty() { 0 } else { lines(view.groups.len()) };
    let [queues, groups, workers] = Layout::vertical([
        Constraint::Min(5),
        Constraint::Length(groups),
        Constraint::Length(lines(view.stats.workers.len())),
    ])
    .areas(area);
    let mut selected = TableState::new().with_selected(view.queue);
    frame.render_stateful_widget(queue_table(view), queues, &mut selected);
    frame.render_widget(group_table(view), groups);
    frame.render_widget(worker_table(&view.stats), workers);
}

fn queue_table(view: &View) -> Table<'_> {
    let row = |queue: &mainstay_jobs::admin::QueueStats| {
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
            counted(queue.retrying),
            counted(queue.parked),
            counted(queue.running),
            counted(queue.handed),
            counted(queue.dead),
            queue.oldest_ready_at.map(|at| age(at, view.stats.at)).unwrap_or_default(),
        ];
        Row::new(cells.map(Cell::from))
    };
    let head = [
        "queue", "", "ready", "change", "later", "retrying", "parked", "running", "broker", "dead",
        "oldest",
    ];
    let widths = [24, 7, 8, 8, 8, 8, 8, 8, 8, 8, 10].map(Constraint::Length);
    let rows: Vec<Row<'_>> = view.stats.queues.iter().map(row).collect();
    let table = Table::new(rows, widths).header(Row::new(head));
    table.row_highlight_style(SELECTED).block(Block::bordered().title("queues"))
}

fn group_table(view: &View) -> Table<'_> {
    let row = |group: &GroupStats| Row::new(group_cells(group, view.stats.at));
    let widths = [24, 8, 8, 10, 8, 60].map(Constraint::Length);
    let rows: Vec<Row<'_>> = view.groups.iter().map(row).collect();
    Table::new(rows, widths).header(Row::new(GROUPS_HEAD)).block(Block::bordered().title("groups"))
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
    let all: u64 = view.stats.queues.iter().map(|queue| queue.dead).sum();
    let title = format!("dead letters: {}, the latest first", counted(all));
    let table = Table::new(rows, widths).header(head);
    table.row_highlight_style(SELECTED).block(Block::bordered().title(title))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use mainstay_jobs::JobId;
    use mainstay_jobs::admin::QueueStats;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    fn view() -> View {
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
        let group = GroupStats {
            name: "billing".to_owned(),
            events: vec!["order.created".to_owned()],
            lag: 12,
            oldest_at: Some(at(-58)),
            ..GroupStats::default()
        };
        let letter = |id| JobInfo {
            id: JobId(id),
            name: "welcome".to_owned(),
            queue: "mail".to_owned(),
            state: State::Dead,
            priority: 0,
            attempt: 1,
            created_at: at(0),
            run_at: None,
            finished_at: Some(at(1)),
            last_error: None,
        };
        let mut view = View::new(stats(0, 10), Vec::new(), Vec::new());
        view.renew(View::new(stats(2, 40), vec![group], vec![letter(17), letter(16)]));
        view
    }

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    fn press(view: &mut View, code: KeyCode) {
        asked(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)), view);
    }

    #[test]
    fn a_view_is_drawn_with_what_changed() {
        let screen = screen(&view(), 130, 24);
        for part in ["position 7", "mail", "40", "+15/s", "billing", "12", "60s ago", "tab dead"] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
    }

    #[test]
    fn dead_letters_have_a_page_of_their_own() {
        let mut view = view();
        press(&mut view, KeyCode::Tab);
        for code in [KeyCode::Down, KeyCode::PageDown] {
            press(&mut view, code);
            assert_eq!((view.letter, view.queue), (1, 0));
        }
        let screen = screen(&view, 130, 24);
        for part in ["dead letters: 2", "17", "welcome", "r retry it"] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
        view.renew(View::new(view.stats.clone(), Vec::new(), Vec::new()));
        assert_eq!((view.page, view.letter), (Page::Dead, 0));
    }

    #[test]
    fn a_terminal_may_be_tiny() {
        let (mut view, empty) = (view(), View::new(view().stats, Vec::new(), Vec::new()));
        for (width, height) in [(1, 1), (2, 3), (10, 2), (3, 40), (200, 4), (30, 8)] {
            for page in [Page::Queues, Page::Dead] {
                view.page = page;
                screen(&view, width, height);
                screen(&empty, width, height);
            }
        }
    }
}
