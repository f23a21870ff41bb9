//! Runs one script and writes it down: all in one transaction where its statements can be, and
//! otherwise statement by statement, so that it goes on where it stopped, be that by an error or by
//! the end of the process.
//!
//! What to run, and in which order, is decided elsewhere.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};

use crate::callback::Event;
use crate::concurrent::ConcurrentIndex;
use crate::database::Database;
use crate::history::{Applied, History};
use crate::lock::MigrationLock;
use crate::options::Options;
use crate::placeholder::Placeholders;
use crate::progress::{self, Key, Progress};
use crate::retry;
use crate::script::{Prepared, prepare};
use crate::source::{Script, Scripts};
use crate::told::{Tell, Told};

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
        // What an earlier run has done of it stays, however its file has been put right since.
        let half = self.progress.get(&job.key).is_some_and(|p| !p.is_complete());
        if job.prepared.in_transaction && !half {
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
        if self.try_at_once(job).await? {
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
            let done = if back.is_ok() { Done::Nothing } else { Done::Unknown };
            if back.is_ok() {
                let step = failure.step.map(|_| job.around.statement_error);
                for event in step.into_iter().chain([job.around.error]) {
                    if let Err(error) = self.callback(event).await {
                        self.tell.note(&format!("{} failed: {error}", event.as_str()));
                    }
                }
            }
            return Err(failed(&job.prepared, failure, done, self.values));
        }
    }

    /// Sends all of it as one text, which most scripts need no more than. Whether it was done: where it
    /// failed it is rolled back, and sent statement by statement to find out which it is.
    ///
    /// Errors: LOCK-003, after which nothing more is to be sent.
    async fn try_at_once(&mut self, job: &Job<'_>) -> Result<bool> {
        let around = job.around;
        let called = [around.before, around.before_statement, around.after_statement, around.after];
        let plain = job.prepared.steps.iter().all(|step| step.statement.copy.is_none());
        let called = called.into_iter().any(|event| of_event(self.scripts, event).next().is_some());
        if !plain || called || self.database.facts.engine == mainstay_db::Engine::MySql {
            return Ok(false);
        }
        let texts = job.prepared.steps.iter().map(|step| step.statement.text.as_str());
        let begin = self.database.begin_sql();
        let (row, done, sql) = self.record_sql(job);
        // A statement may end in a comment to the end of its line.
        let all: Vec<&str> =
            std::iter::once(begin).chain(texts).chain([sql.as_str(), "COMMIT"]).collect();
        let all = all.join("\n;\n");
        match self.lock.during(self.database.run(&all)).await {
            Ok(_) => {
                self.recorded(job, row, done);
                Ok(true)
            }
            Err(error) if error.code() == Code::LockLost => Err(error),
            Err(_) => {
                // Where the server is gone, the next statement says so.
                let _ = self.database.rollback().await;
                Ok(false)
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
        let Self { database, lock, tell, options, .. } = self;
        let index = ConcurrentIndex::parse(&statement.text)
            .filter(|_| database.facts.engine == mainstay_db::Engine::Postgres);
        lock.during(async {
            match (&statement.copy, index) {
                (Some(data), _) => database.session.copy_in(&statement.text, data).await.map(drop),
                (None, Some(index)) => {
                    build(database, tell, options, &index, &statement.text).await
                }
                (None, None) => database.run(&statement.text).await.map(drop),
            }
        })
        .await
    }

    /// After a lock was not had: waits, and says whether to try again.
    pub(crate) async fn tries_again(&self, name: &str, why: &Error, attempt: &mut u32) -> bool {
        let Some(pause) = retry::pause(why, *attempt, self.options.lock_retries) else {
            return false;
        };
        *attempt += 1;
        self.tell.tell(Told::Again { name, attempt: *attempt, pause, why });
        Clock::system().sleep(pause).await;
        true
    }

    /// Runs the callbacks of `event` in the transaction that is open.
    pub(crate) async fn run_inside(&mut self, event: Event) -> Result<()> {
        let scripts = self.scripts;
        for script in of_event(scripts, event) {
            if !executes(script, self.values)? {
                continue;
            }
            let replaces = self.options.replace_placeholders;
            let prepared = prepare(script, self.values, replaces, &self.database.facts)?;
            for n in 0..prepared.steps.len() {
                self.send(&prepared, n).await.map_err(|error| {
                    failed(&prepared, Failure { error, step: Some(n) }, Done::Nothing, self.values)
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

/// Builds an index concurrently. Its waits hold nobody up, so that it may wait for as long as it takes;
/// what an earlier try left is dropped first.
async fn build(
    database: &mut Database,
    tell: &Tell,
    options: &Options,
    index: &ConcurrentIndex,
    sql: &str,
) -> Result<()> {
    database.run("SET lock_timeout = 0").await?;
    let built = async {
        if index.drop_invalid(database).await? {
            tell.note("an INVALID index of an earlier try was dropped and is built anew");
        }
        database.run(sql).await
    }
    .await;
    let limit = options.lock_timeout.as_millis();
    let reset = database.run(&format!("SET lock_timeout = {limit}")).await;
    built.and(reset).map(drop)
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
        if !executes(script, values)? {
            continue;
        }
        let prepared = prepare(script, values, options.replace_placeholders, &database.facts)?;
        if let Err(failure) = run_callback(database, &prepared).await {
            // What failed is told, not that its transaction could not be ended as well.
            let _ = database.rollback().await;
            let done = if prepared.in_transaction { Done::Nothing } else { Done::Unknown };
            return Err(failed(&prepared, failure, done, values));
        }
        if prepared.sets_session {
            database.renew().await?;
        }
    }
    Ok(())
}

fn executes(script: &Script, values: &Placeholders) -> Result<bool> {
    script
        .conf
        .executes(values)
        .map_err(|why| Error::new(Code::MigrationFile, format!("{}.conf: {why}", script.path)))
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
    /// Nobody knows: the server did not answer to the end.
    Unknown,
}

/// What the caller is told of a statement that failed.
pub(crate) fn failed(
    prepared: &Prepared,
    failure: Failure,
    done: Done,
    values: &Placeholders,
) -> Error {
    let Failure { error, step } = failure;
    // A callback's failure has its place already.
    if error.code() == Code::MigrationFailed {
        return error;
    }
    let place = step.map_or_else(|| prepared.path.clone(), |n| prepared.place(n));
    let what = values.hide(error.what());
    let mut told = Error::new(Code::MigrationFailed, format!("{place}: {what}"));
    if let Some(n) = step {
        told = told.note(values.hide(&excerpt(&prepared.steps[n].statement.text)));
    }
    if let Some(why) = error.reason() {
        told = told.note(values.hide(why));
    }
    let total = prepared.steps.len();
    let told = match done {
        Done::Nothing => told.note("nothing of it stays: it was rolled back"),
        Done::Unknown => told.note("what of it stays is unknown; the next run finds out"),
        Done::Statements(0) => told.note("none of its statements is done"),
        Done::Statements(n) => told.note(format!(
            "{n} of its {total} statements are done and stay, since not all can be in one transaction"
        )),
    };
    let how = match done {
        Done::Nothing | Done::Unknown => "correct the statement and run it again",
        Done::Statements(_) => {
            "correct this statement or those after it and run it again: it goes on with this one"
        }
    };
    let advice = error.advice();
    // The error itself may show a value.
    told.fix(format!("{how}\n{advice}")).cause(format!("{}: {what}", error.code()))
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
