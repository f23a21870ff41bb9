//! Runs steps, each again where a lock was not had in time, and writes down how far it came: in one
//! transaction with the step where that can be, else after it, where the step itself finds out that it
//! was done.

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AdvisoryLock, Engine};

use super::ground::text;
use super::options::OnlineOptions;
use super::plan::{How, Look, Say, Work};
use super::rebuild;
use super::state::Saved;
use super::told::{Tell, Told};
use crate::concurrent::{ConcurrentIndex, Standing};
use crate::database::Database;

/// What a run has in hand.
pub(crate) struct Runner<'a> {
    pub(crate) database: Database,
    pub(crate) lock: AdvisoryLock,
    pub(crate) saved: Saved,
    pub(crate) options: &'a OnlineOptions,
    pub(crate) tell: &'a Tell,
}

impl Runner<'_> {
    /// Runs the steps of a phase that are not done. Errors: MIG-017, MIG-019, LOCK-003, those of a
    /// statement.
    pub(crate) async fn steps(&mut self, works: &[Work]) -> Result<()> {
        while let Some(work) = works.get(self.saved.step) {
            self.lock.check().await?;
            let (n, steps) = (self.saved.step + 1, works.len());
            self.tell.tell(Told::Step { title: &work.title, n, steps });
            let mut attempt = 1;
            while let Err(error) = self.step(work).await {
                // Where the server is gone there is nothing to roll back.
                let back = self.database.rollback().await;
                let again = back.is_ok()
                    && tries_again(self.options, self.tell, &work.title, &error, &mut attempt)
                        .await;
                if !again {
                    return Err(told(error, &work.title));
                }
            }
        }
        Ok(())
    }

    async fn step(&mut self, work: &Work) -> Result<()> {
        let mut done = self.saved.clone();
        done.step += 1;
        done.updated_at = now();
        let note = done.update_sql(&self.database.facts)?;
        match &work.how {
            How::Run(all) if self.database.facts.engine != Engine::MySql => {
                self.database.begin().await?;
                for say in all {
                    self.say(say).await?;
                }
                self.database.run(&format!("{note}; COMMIT")).await?;
                self.saved = done;
                return Ok(());
            }
            How::Rebuild(rebuild) => {
                rebuild::run(&mut self.database, rebuild, &note).await?;
                self.saved = done;
                return Ok(());
            }
            How::Run(all) => {
                for say in all {
                    self.say(say).await?;
                }
            }
            How::First(ways) => self.first(ways).await?,
            How::Locked { table, each } => self.locked(table, each).await?,
            How::Index(sql) => self.index(sql).await?,
            How::Look(look) => self.look(look).await?,
        }
        self.database.run(&note).await?;
        self.saved = done;
        Ok(())
    }

    async fn say(&mut self, say: &Say) -> Result<()> {
        if let Some(unless) = &say.unless
            && !self.database.rows(unless).await?.is_empty()
        {
            return Ok(());
        }
        self.database.run(&say.sql).await.map(drop)
    }

    /// The first of MySQL's ways that the server knows; none of them copies the table.
    async fn first(&mut self, ways: &[Say]) -> Result<()> {
        let mut refusal = None;
        for say in ways {
            match self.say(say).await {
                Err(error) if is_no_way(&error) => refusal = Some(error),
                done => return done,
            }
        }
        let Some(error) = refusal else { return Ok(()) };
        let what = "the server can do this step only by copying the table, with writers shut out";
        Err(Error::new(Code::ExpandPlan, what).why(error.what().to_owned()).cause(error))
    }

    /// With the table locked against others. The lock ends with the session at the latest.
    async fn locked(&mut self, table: &str, each: &[Vec<Say>]) -> Result<()> {
        self.database.run(&format!("LOCK TABLES {table} WRITE")).await?;
        let mut done = Ok(());
        for ways in each {
            done = self.first(ways).await;
            if done.is_err() {
                break;
            }
        }
        let unlocked = self.database.run("UNLOCK TABLES").await;
        done.and(unlocked.map(drop))
    }

    /// Builds an index beside running transactions. Its waits hold nobody up, so that it may wait for
    /// as long as it takes; an INVALID one that an earlier try left is dropped first.
    async fn index(&mut self, sql: &str) -> Result<()> {
        let index = ConcurrentIndex::parse(sql)
            .ok_or_else(|| Error::new(Code::ExpandPlan, "the index has no name"))?;
        if index.standing(&mut self.database).await? == Standing::Valid {
            return Ok(());
        }
        self.database.run("SET lock_timeout = 0").await?;
        if index.drop_invalid(&mut self.database).await? {
            self.tell.note("an INVALID index of an earlier try was dropped and is built anew");
        }
        let built = self.database.run(sql).await;
        let limit = self.options.lock_timeout.as_millis();
        self.database.run(&format!("SET lock_timeout = {limit}")).await?;
        if built.as_ref().is_err_and(|error| error.code() == Code::Unique) {
            // It would cost every write, and serve nobody.
            index.drop_invalid(&mut self.database).await?;
        }
        built.map(drop)
    }

    async fn look(&mut self, look: &Look) -> Result<()> {
        let found = self.database.rows(&look.sql).await?;
        if found.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = found.iter().map(|row| text(row, 0)).collect::<Result<_>>()?;
        if let Some((say, step)) = &look.undo {
            // Written down first: after a kill between the two, the step that is gone back to finds
            // its work done, and the rows are looked at again.
            self.saved.step = *step;
            let note = self.saved.update_sql(&self.database.facts)?;
            self.database.run(&note).await?;
            self.say(say).await?;
        }
        Err(wrong_rows(&look.what, &keys))
    }
}

/// Errors: MIG-019, with the keys of the rows.
pub(crate) fn wrong_rows(what: &str, keys: &[String]) -> Error {
    Error::new(Code::ExpandData, what.to_owned())
        .why(format!("among them the rows with {}", keys.join("; ")))
}

/// MySQL can't do it by the algorithm named, or has done it too often to do it at once again.
fn is_no_way(error: &Error) -> bool {
    let what = error.what();
    let named = what.contains("ALGORITHM=") || what.contains("LOCK=");
    (named && what.contains("not supported")) || what.contains("row versions")
}

/// Of a step that failed: what the rows are to blame for is told as that.
fn told(error: Error, title: &str) -> Error {
    let of_data = [Code::Unique, Code::ForeignKey, Code::NotNull, Code::Check, Code::Data];
    if of_data.contains(&error.code()) {
        let what = format!("{title}: {}", error.what());
        let why = error.reason().unwrap_or("a row does not allow it").to_owned();
        return Error::new(Code::ExpandData, what).why(why).cause(error);
    }
    error.note(format!("in the step: {title}"))
}

/// After a lock was not had: waits, and says whether to try again.
pub(crate) async fn tries_again(
    options: &OnlineOptions,
    tell: &Tell,
    title: &str,
    why: &Error,
    attempt: &mut u32,
) -> bool {
    let Some(pause) = crate::retry::pause(why, *attempt, options.lock_retries) else {
        return false;
    };
    *attempt += 1;
    tell.tell(Told::Again { title, attempt: *attempt, pause, why });
    mainstay_core::clock::Clock::system().sleep(pause).await;
    true
}

/// The time, as it is written down.
pub(crate) fn now() -> String {
    let now = chrono::DateTime::<chrono::Utc>::from(Clock::system().wall());
    now.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
