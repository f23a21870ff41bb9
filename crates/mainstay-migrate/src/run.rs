//! Runs one script and writes it down: all in one transaction where its statements can be, and
//! otherwise statement by statement, so that it goes on where it stopped, be that by an error or by
//! the end of the process.
//!
//! What to run, and in which order, is decided elsewhere.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};

use crate::callback::Event;
use crate::concurrent::ConcurrentIndex;
use crate::database::Database;
use crate::history::{Applied, History};
use crate::lock::MigrationLock;
use crate::options::Options;
use crate::placeholder::Placeholders;
use crate::progress::{self, Key, Progress};
use crate::script::{Prepared, prepare};
use crate::source::{Script, Scripts};
use crate::told::{Tell, Told};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a run has in hand.
pub(crate) struct Runner<'a> {
    pub(crate) database: Database,
    pub(crate) lock: MigrationLock,
    pub(crate) history: History,
    pub(crate) progress: HashMap<Key, Progress>,
    pub(crate) scripts: &'a Scripts,
    pub(crate) values: &'a Placeholders,
    pub(crate) options: &'a Options,
    pub(crate) tell: &'a Tell,
}

/// The events around a script.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) before: Event,
    pub(crate) before_statement: Event,
    pub(crate) after_statement: Event,
    pub(crate) statement_error: Event,
    pub(crate) after: Event,
    pub(crate) error: Event,
}

pub(crate) const MIGRATE: Around = Around {
    before: Event::BeforeEachMigrate,
    before_statement: Event::BeforeEachMigrateStatement,
    after_statement: Event::AfterEachMigrateStatement,
    statement_error: Event::AfterEachMigrateStatementError,
    after: Event::AfterEachMigrate,
    error: Event::AfterEachMigrateError,
};

pub(crate) const UNDO: Around = Around {
    before: Event::BeforeEachUndo,
    before_statement: Event::BeforeEachUndoStatement,
    after_statement: Event::AfterEachUndoStatement,
    statement_error: Event::AfterEachUndoStatementError,
    after: Event::AfterEachUndo,
    error: Event::AfterEachUndoError,
};

/// A script on its way.
pub(crate) struct Job<'s> {
    pub(crate) script: &'s Script,
    pub(crate) prepared: Prepared,
    pub(crate) key: Key,
    pub(crate) sha256: String,
    pub(crate) around: &'static Around,
    pub(crate) record: Record,
    pub(crate) begun: Instant,
}

/// What the history will say.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// A row of Flyway's.
    Row(Applied),
    /// Whatever this statement writes.
    Sql(String),
}

/// What went wrong, and in which statement, if in one.
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) step: Option<usize>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, step: None }
    }
}

impl Runner<'_> {
    /// Runs `script` and adds `row` to the history. Returns how long it took.
    ///
    /// Errors: MIG-005 (a statement failed), MIG-006 (it can't be gone on with), MIG-008, MIG-013,
    /// LOCK-003.
    pub(crate) async fn apply(
        &mut self,
        script: &Script,
        row: Applied,
        around: &'static Around,
    ) -> Result<Duration> {
        let replaces = self.options.replace_placeholders;
        let prepared = prepare(script, self.values, replaces, &self.database.facts)?;
        let key = Key::of(&script.kind, &script.description)
            .ok_or_else(|| Error::new(Code::MigrationFile, "a callback is no migration"))?;
        let sha256 = crate::checksum::strong(&script.text);
        let (record, begun) = (Record::Row(row), Clock::system().now());
        self.run(Job { script, prepared, key, sha256, around, record, begun }).await
    }

    /// Runs what is ready. Returns how long it took.
    pub(crate) async fn run(&mut self, job: Job<'_>) -> Result<Duration> {
        self.lock.check().await?;
        let sets_session = job.prepared.sets_session;
        if job.prepared.in_transaction {
            self.whole(&job).await?;
        } else {
            self.stepwise(&job).await?;
        }
        let took = took(&job);
        self.tell.tell(Told::Done { name: &job.script.path, took });
        if sets_session {
            self.database.renew().await?;
        }
        Ok(took)
    }

    /// All in one transaction, with what the history says of it.
    async fn whole(&mut self, job: &Job<'_>) -> Result<()> {
        let statements = job.prepared.steps.len();
        self.tell.tell(Told::Begun { name: &job.script.path, statements, done: 0 });
        if self.try_at_once(job).await {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            let Err(failure) = self.try_whole(job).await else { return Ok(()) };
            // Where the server is gone there is nothing to roll back.
            let back = self.database.rollback().await;
            if back.is_ok()
                && self.tries_again(&job.script.path, &failure.error, &mut attempt).await
            {
                continue;
            }
            if back.is_ok() {
                self.callback(job.around.error).await?;
            }
            return Err(failed(&job.prepared, failure, Done::Nothing));
        }
    }

    /// Sends all of it as one text, which most scripts need no more than. Whether it was done: where it
    /// failed it is rolled back, and sent statement by statement to find out which it is.
    async fn try_at_once(&mut self, job: &Job<'_>) -> bool {
        let around = job.around;
        let called = [around.before, around.before_statement, around.after_statement, around.after];
        let plain = job.prepared.steps.iter().all(|step| step.statement.copy.is_none());
        let called = called.into_iter().any(|event| of_event(self.scripts, event).next().is_some());
        if !plain || called || self.database.facts.engine == mainstay_db::Engine::MySql {
            return false;
        }
        let texts = job.prepared.steps.iter().map(|step| step.statement.text.as_str());
        let begin = self.database.begin_sql();
        let (row, done, sql) = self.record_sql(job);
        // A statement may end in a comment to the end of its line.
        let all: Vec<&str> =
            std::iter::once(begin).chain(texts).chain([sql.as_str(), "COMMIT"]).collect();
        match self.database.run(&all.join("\n;\n")).await {
            Ok(_) => {
                self.recorded(job, row, done);
                true
            }
            Err(_) => {
                // Where the server is gone, the next statement says so.
                let _ = self.database.rollback().await;
                false
            }
        }
    }

    async fn try_whole(&mut self, job: &Job<'_>) -> Result<(), Failure> {
        self.database.begin().await?;
        self.run_inside(job.around.before).await?;
        let statements = job.prepared.steps.len();
        for n in 0..statements {
            self.run_inside(job.around.before_statement).await?;
            self.send(&job.prepared, n).await.map_err(|error| Failure { error, step: Some(n) })?;
            self.run_inside(job.around.after_statement).await?;
            self.tell.tell(Told::Statement { n: n + 1, statements });
        }
        self.run_inside(job.around.after).await?;
        self.write_down(job, "; COMMIT").await?;
        Ok(())
    }

    /// Adds the row to the history and notes the script as complete; `after` ends the transaction.
    pub(crate) async fn write_down(&mut self, job: &Job<'_>, after: &str) -> Result<()> {
        let (row, done, sql) = self.record_sql(job);
        self.database.run(&format!("{sql}{after}")).await?;
        self.recorded(job, row, done);
        Ok(())
    }

    /// What is written down of a script that is done, and the statements that do so.
    fn record_sql(&self, job: &Job<'_>) -> (Option<Applied>, Progress, String) {
        let total = job.prepared.steps.len();
        let done =
            Progress { sha256: job.sha256.clone(), total, done: total, ..Progress::default() };
        let facts = &self.database.facts;
        let (row, insert) = match &job.record {
            Record::Row(row) => {
                let mut row = row.clone();
                row.execution_ms = i32::try_from(took(job).as_millis()).unwrap_or(i32::MAX);
                let (row, insert) = self.history.insert_sql(facts, row);
                (Some(row), insert)
            }
            Record::Sql(sql) => (None, sql.clone()),
        };
        let noted = progress::write_sql(facts, &job.key, &done);
        (row, done, format!("{insert}; {noted}"))
    }

    fn recorded(&mut self, job: &Job<'_>, row: Option<Applied>, done: Progress) {
        self.history.rows.extend(row);
        self.progress.insert(job.key.clone(), done);
    }

    /// Sends the statement `n` as it is.
    pub(crate) async fn send(&mut self, prepared: &Prepared, n: usize) -> Result<()> {
        let statement = &prepared.steps[n].statement;
        match &statement.copy {
            Some(data) => self.database.session.copy_in(&statement.text, data).await.map(drop),
            None => match ConcurrentIndex::parse(&statement.text) {
                Some(index) if self.database.facts.engine == mainstay_db::Engine::Postgres => {
                    self.build(&index, &statement.text).await
                }
                _ => self.database.run(&statement.text).await.map(drop),
            },
        }
    }

    /// Builds an index concurrently. Its waits hold nobody up, so that it may wait for as long as it
    /// takes; what an earlier try left is dropped first.
    async fn build(&mut self, index: &ConcurrentIndex, sql: &str) -> Result<()> {
        self.database.run("SET lock_timeout = 0").await?;
        if index.drop_invalid(&mut self.database).await? {
            self.tell.note("an INVALID index of an earlier try was dropped and is built anew");
        }
        let built = self.database.run(sql).await;
        let limit = self.options.lock_timeout.as_millis();
        self.database.run(&format!("SET lock_timeout = {limit}")).await?;
        built.map(drop)
    }

    /// After a lock was not had: waits, and says whether to try again.
    pub(crate) async fn tries_again(&self, name: &str, why: &Error, attempt: &mut u32) -> bool {
        let transient =
            matches!(why.code(), Code::LockTimeout | Code::Deadlock | Code::Serialization);
        if !transient || *attempt > self.options.lock_retries {
            return false;
        }
        let doubled = PAUSE_MIN * 2_u32.saturating_pow((*attempt - 1).min(10));
        let pause = Rng::system().jittered(doubled.min(PAUSE_MAX), 0.5);
        *attempt += 1;
        self.tell.tell(Told::Again { name, attempt: *attempt, pause, why });
        Clock::system().sleep(pause).await;
        true
    }

    /// Runs the callbacks of `event` in the transaction that is open.
    pub(crate) async fn run_inside(&mut self, event: Event) -> Result<()> {
        let scripts = self.scripts;
        for script in of_event(scripts, event) {
            let replaces = self.options.replace_placeholders;
            let prepared = prepare(script, self.values, replaces, &self.database.facts)?;
            for n in 0..prepared.steps.len() {
                self.send(&prepared, n).await.map_err(|error| {
                    failed(&prepared, Failure { error, step: Some(n) }, Done::Nothing)
                })?;
            }
        }
        Ok(())
    }

    /// Runs the callbacks of `event`, each in a transaction of its own where it can be.
    pub(crate) async fn callback(&mut self, event: Event) -> Result<()> {
        run_callbacks(&mut self.database, self.scripts, self.values, self.options, event).await
    }
}

fn took(job: &Job<'_>) -> Duration {
    Clock::system().now().saturating_duration_since(job.begun)
}

fn of_event(scripts: &Scripts, event: Event) -> impl Iterator<Item = &Script> {
    scripts.callbacks.iter().filter(move |script| script.kind == crate::name::Kind::Callback(event))
}

/// As [`Runner::callback`], where there is no run.
pub(crate) async fn run_callbacks(
    database: &mut Database,
    scripts: &Scripts,
    values: &Placeholders,
    options: &Options,
    event: Event,
) -> Result<()> {
    for script in of_event(scripts, event) {
        let runs = script.conf.executes(values).map_err(|why| {
            Error::new(Code::MigrationFile, format!("{}.conf: {why}", script.path))
        })?;
        if !runs {
            continue;
        }
        let prepared = prepare(script, values, options.replace_placeholders, &database.facts)?;
        if let Err(failure) = run_callback(database, &prepared).await {
            if prepared.in_transaction {
                // What failed is told, not that its transaction could not be ended as well.
                let _ = database.rollback().await;
            }
            return Err(failed(&prepared, failure, Done::Nothing));
        }
        if prepared.sets_session {
            database.renew().await?;
        }
    }
    Ok(())
}

async fn run_callback(database: &mut Database, prepared: &Prepared) -> Result<(), Failure> {
    if prepared.in_transaction {
        database.begin().await?;
    }
    for (n, step) in prepared.steps.iter().enumerate() {
        let statement = &step.statement;
        let sent = match &statement.copy {
            Some(data) => database.session.copy_in(&statement.text, data).await,
            None => database.run(&statement.text).await,
        };
        sent.map_err(|error| Failure { error, step: Some(n) })?;
    }
    if prepared.in_transaction {
        database.run("COMMIT").await?;
    }
    Ok(())
}

/// What is left of a script that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Done {
    /// It was rolled back, whole.
    Nothing,
    /// So many statements are done and stay.
    Statements(usize),
}

/// What the caller is told of a statement that failed.
pub(crate) fn failed(prepared: &Prepared, failure: Failure, done: Done) -> Error {
    let Failure { error, step } = failure;
    // A callback's failure has its place already.
    if error.code() == Code::MigrationFailed {
        return error;
    }
    let place = step.map_or_else(|| prepared.path.clone(), |n| prepared.place(n));
    let mut told = Error::new(Code::MigrationFailed, format!("{place}: {}", error.what()));
    if let Some(n) = step {
        told = told.note(excerpt(&prepared.steps[n].statement.text));
    }
    if let Some(why) = error.reason() {
        told = told.note(why);
    }
    let total = prepared.steps.len();
    let told = match done {
        Done::Nothing => told.note("nothing of it stays: it was rolled back"),
        Done::Statements(0) => told.note("none of its statements is done"),
        Done::Statements(n) => told.note(format!(
            "{n} of its {total} statements are done and stay, since not all can be in one transaction"
        )),
    };
    let how = match done {
        Done::Nothing => "correct the statement and run it again",
        Done::Statements(_) => {
            "correct this statement or those after it and run it again: it goes on with this one"
        }
    };
    let advice = error.advice();
    told.fix(format!("{how}\n{advice}")).cause(error)
}

/// The first lines of a statement.
fn excerpt(text: &str) -> String {
    const LINES_MAX: usize = 6;
    const CHARS_MAX: usize = 160;
    let mut out: Vec<String> =
        text.lines().take(LINES_MAX).map(|l| l.chars().take(CHARS_MAX).collect()).collect();
    if text.lines().count() > LINES_MAX {
        out.push("...".to_owned());
    }
    out.join("\n")
}
