//! A script whose statements can't all be in one transaction, run statement by statement. Each is
//! noted as done in one transaction with itself where that can be; of any other it is noted first
//! that it begins, so that a later run can find out whether it took effect.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use crate::doubt::{self, Outcome};
use crate::history::Applied;
use crate::nature::{Nature, is_lost, is_replayed, words};
use crate::progress::{self, DoneHash, Progress, hash_of};
use crate::run::{Done, Failure, Job, Record, Runner, failed};
use crate::told::Told;

/// How far a run has come.
struct Way {
    progress: Progress,
    hash: DoneHash,
    /// Whether the script itself has a transaction open.
    open: bool,
    /// The statement that may have been done already.
    unclear: Option<usize>,
}

impl Way {
    fn step_done(&mut self, text: &str) {
        self.hash.push(text);
        self.progress.done += 1;
        self.progress.done_sha256 = self.hash.hex();
        self.progress.doubt_sha256.clear();
        self.progress.before.clear();
    }
}

impl Runner<'_> {
    pub(crate) async fn stepwise(&mut self, job: &Job<'_>) -> Result<()> {
        let mut way = self.resume(job).await?;
        let statements = job.prepared.steps.len();
        let done = way.progress.done;
        self.tell.tell(Told::Begun { name: &job.script.path, statements, done });
        // What a failure before this run left in the history.
        if let Record::Row(new) = &job.record {
            let same = |row: &Applied| {
                !row.success
                    && row.version == new.version
                    && (new.version.is_some() || row.description == new.description)
            };
            self.history.remove(&mut self.database, same).await?;
        }
        match self.steps(job, &mut way).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.stopped(job, way, failure).await),
        }
    }

    async fn steps(&mut self, job: &Job<'_>, way: &mut Way) -> Result<(), Failure> {
        for step in &job.prepared.steps[..way.progress.done] {
            if is_replayed(&step.statement.text, step.nature, self.database.facts.engine) {
                self.database.run(&step.statement.text).await?;
            }
        }
        self.callback(job.around.before).await?;
        let statements = job.prepared.steps.len();
        for n in way.progress.done..statements {
            self.run_inside(job.around.before_statement).await?;
            self.step(job, way, n).await?;
            self.run_inside(job.around.after_statement).await?;
            self.tell.tell(Told::Statement { n: n + 1, statements });
        }
        if way.open {
            let error =
                Error::new(Code::TxControl, "the script begins a transaction and leaves it open");
            return Err(Failure { error, step: None });
        }
        self.callback(job.around.after).await?;
        self.database.begin().await?;
        self.write_down(job, "; COMMIT").await?;
        Ok(())
    }

    /// One statement, again where a lock was not had in time.
    async fn step(&mut self, job: &Job<'_>, way: &mut Way, n: usize) -> Result<(), Failure> {
        let mut attempt = 1;
        loop {
            let was_open = way.open;
            let Err(error) = self.try_step(job, way, n).await else { return Ok(()) };
            // A statement that failed in a transaction of ours leaves it open. Where the server is gone
            // there is nothing to roll back.
            if !was_open
                && self.database.rollback().await.is_ok()
                && self.tries_again(&job.prepared.place(n), &error, &mut attempt).await
            {
                continue;
            }
            return Err(Failure { error, step: Some(n) });
        }
    }

    async fn try_step(&mut self, job: &Job<'_>, way: &mut Way, n: usize) -> Result<()> {
        let text = &job.prepared.steps[n].statement.text;
        let alone = job.script.conf.in_transaction == Some(false)
            && may_commit(text, self.database.facts.engine);
        match job.prepared.steps[n].nature {
            Nature::Begin => {
                self.database.run(text).await?;
                way.open = true;
            }
            Nature::Skip => self.tell.note(&format!("{}: not sent", job.prepared.place(n))),
            Nature::Commit if way.open => {
                // Noted in the transaction that it ends.
                way.step_done(text);
                self.note(job, way).await?;
                self.database.run(text).await?;
                way.open = false;
                return Ok(());
            }
            Nature::Rollback => {
                self.database.run(text).await?;
                way.open = false;
                way.step_done(text);
                return self.note(job, way).await;
            }
            Nature::Commit | Nature::Setting => self.database.run(text).await.map(drop)?,
            Nature::Plain if way.open => self.send(&job.prepared, n).await?,
            Nature::Plain if !alone => return self.with_note(job, way, n).await,
            Nature::Alone | Nature::Commits | Nature::Plain => {
                return self.alone(job, way, n).await;
            }
        }
        way.step_done(text);
        Ok(())
    }

    /// In one transaction with the note that it is done.
    async fn with_note(&mut self, job: &Job<'_>, way: &mut Way, n: usize) -> Result<()> {
        self.database.begin().await?;
        self.send(&job.prepared, n).await?;
        let (progress, hash) = (way.progress.clone(), way.hash.clone());
        way.step_done(&job.prepared.steps[n].statement.text);
        let noted = progress::write_sql(&self.database.facts, &job.key, &way.progress);
        let committed = self.database.run(&format!("{noted}; COMMIT")).await;
        if committed.is_err() {
            (way.progress, way.hash) = (progress, hash);
        }
        committed.map(drop)
    }

    /// Outside any transaction, after a note that it begins. That it is done is noted with what comes
    /// next.
    async fn alone(&mut self, job: &Job<'_>, way: &mut Way, n: usize) -> Result<()> {
        let text = &job.prepared.steps[n].statement.text;
        if !way.open || self.database.facts.engine == Engine::MySql {
            way.progress.before = doubt::look(&mut self.database, text).await?;
            way.progress.doubt_sha256 = hash_of([text.as_str()]);
            // Where the script has a transaction open, MySQL commits this note with it.
            self.note(job, way).await?;
        }
        let sent = self.send(&job.prepared, n).await;
        if self.database.facts.engine == Engine::MySql {
            way.open = false;
        }
        match sent {
            Err(error)
                if way.unclear == Some(n)
                    && matches!(
                        error.code(),
                        Code::Exists | Code::Undefined | Code::NoDatabase
                    ) =>
            {
                self.tell.note(&format!(
                    "{}: taken as done by the run before, since {}",
                    job.prepared.place(n),
                    error.what()
                ));
            }
            sent => sent?,
        }
        way.step_done(text);
        Ok(())
    }

    async fn note(&mut self, job: &Job<'_>, way: &Way) -> Result<()> {
        let sql = progress::write_sql(&self.database.facts, &job.key, &way.progress);
        self.database.run(&sql).await.map(drop)
    }

    /// It failed: what is done is noted, and the history told as Flyway would.
    async fn stopped(&mut self, job: &Job<'_>, mut way: Way, failure: Failure) -> Error {
        if way.open {
            // All that its own transaction had done is undone, and is done again the next time.
            let _ = self.database.rollback().await;
            let kept = self.progress.get(&job.key).filter(|p| !p.is_complete());
            let kept = kept.map_or(0, |p| p.done);
            way = begun_at(job, last_begin(job, way.progress.done).max(kept));
        }
        way.progress.doubt_sha256.clear();
        way.progress.before.clear();
        let done = way.progress.done;
        // Where the server is gone, the note that the statement began is what stays.
        let noted = async {
            self.note(job, &way).await?;
            if let Record::Row(row) = &job.record {
                let row = Applied { success: false, ..row.clone() };
                self.history.insert(&mut self.database, row).await?;
            }
            self.callback(job.around.statement_error).await?;
            self.callback(job.around.error).await
        };
        if let Err(error) = noted.await {
            self.tell.note(&format!("the failure could not be written down: {error}"));
        }
        failed(&job.prepared, failure, Done::Statements(done), self.values)
    }

    /// Where to go on.
    async fn resume(&mut self, job: &Job<'_>) -> Result<Way> {
        let kept = self.progress.get(&job.key).filter(|kept| !kept.is_complete()).cloned();
        let Some(kept) = kept else { return Ok(begun_at(job, 0)) };
        let changed = |what: &str| {
            Error::new(Code::MigrationHalf, format!("{}: {what}", job.script.path))
                .why(format!("an earlier run did {} of its {} statements", kept.done, kept.total))
        };
        if kept.done > job.prepared.steps.len()
            || job.prepared.hash_of(kept.done) != kept.done_sha256
        {
            return Err(changed("the statements that are done already were changed since"));
        }
        let mut way = begun_at(job, kept.done);
        let engine = self.database.facts.engine;
        let lost = |step: &&crate::script::Step| is_lost(&step.statement.text, engine);
        if job.prepared.steps[..kept.done].iter().any(|step| lost(&step)) {
            return Err(changed("what the done statements left on their session is gone with it"));
        }
        if kept.doubt_sha256.is_empty() {
            return Ok(way);
        }
        let step = job.prepared.steps.get(kept.done);
        let step = step.filter(|s| hash_of([s.statement.text.as_str()]) == kept.doubt_sha256);
        let Some(step) = step else {
            return Err(changed("the statement that an earlier run had begun was changed since"));
        };
        let text = &step.statement.text;
        match doubt::resolve(&mut self.database, text, &kept.before).await? {
            Outcome::Done => way.step_done(text),
            Outcome::NotDone => {}
            Outcome::Unclear => way.unclear = Some(kept.done),
            Outcome::Unknown => {
                let what =
                    "whether the statement that an earlier run had begun was done can't be told";
                return Err(changed(what).note(job.prepared.place(kept.done)));
            }
        }
        Ok(way)
    }
}

/// Whether it may end a transaction that it runs in, as a procedure may.
fn may_commit(sql: &str, engine: Engine) -> bool {
    let first = words(sql, engine).into_iter().next().unwrap_or_default();
    matches!(first.as_str(), "CALL" | "DO" | "EXECUTE")
}

/// The first `n` statements are done.
fn begun_at(job: &Job<'_>, n: usize) -> Way {
    let mut hash = DoneHash::default();
    job.prepared.steps[..n].iter().for_each(|step| hash.push(&step.statement.text));
    let progress = Progress {
        sha256: job.sha256.clone(),
        total: job.prepared.steps.len(),
        done: n,
        done_sha256: hash.hex(),
        ..Progress::default()
    };
    Way { progress, hash, open: false, unclear: None }
}

/// The statement that began the transaction which is open after `done` statements.
fn last_begin(job: &Job<'_>, done: usize) -> usize {
    let begins = |n: &usize| job.prepared.steps[*n].nature == Nature::Begin;
    (0..done).rev().find(begins).unwrap_or(done)
}
