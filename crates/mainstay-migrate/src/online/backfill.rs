//! Fills old rows: batch by batch in the order of the key, each in one transaction with the note how far
//! it came, so that after a kill at most one is done again. It watches how long a batch takes, and
//! leaves part of the time to others.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AdvisoryLock, Db, Engine};

use super::ground::{Ground, text};
use super::keys;
use super::make::Site;
use super::options::OnlineOptions;
use super::plan::Fill;
use super::run::{now, tries_again, wrong_rows};
use super::state::Saved;
use super::told::{Progress, Tell, Told};
use crate::database::Database;

const SIZE_START: u64 = 500;
const SIZE_MIN: u64 = 50;
const SIZE_MAX: u64 = 20_000;
/// Batches between two looks whether the change's lock is held still.
const LOOK_EVERY: u64 = 16;
/// Between two looks at a replica that is behind.
const LAG_POLL: Duration = Duration::from_secs(1);
/// Rows that are named.
const SHOWN_MAX: usize = 5;

/// A backfill on its way.
pub(crate) struct Filler<'a> {
    pub(crate) db: &'a Db,
    /// None between two batches where others could not write meanwhile.
    pub(crate) database: Option<Database>,
    pub(crate) lock: AdvisoryLock,
    pub(crate) saved: Saved,
    pub(crate) fill: &'a Fill,
    pub(crate) options: &'a OnlineOptions,
    pub(crate) tell: &'a Tell,
}

impl Filler<'_> {
    /// Goes on until no row needs filling. Errors: MIG-019 where some can't be filled, LOCK-003, those
    /// of a statement.
    pub(crate) async fn run(&mut self) -> Result<()> {
        self.batches().await?;
        // Rows that changed their key, or SQLite's after a VACUUM, may have been passed by.
        let fill = self.fill;
        if self.any(&fill.needs).await? {
            self.saved.cursor.clear();
            self.batches().await?;
        }
        let keys = self.wrong().await?;
        if keys.is_empty() {
            return Ok(());
        }
        self.saved.cursor.clear();
        let database = self.database().await?;
        let facts = database.facts.clone();
        let note = self.saved.update_sql(&facts)?;
        self.database().await?.run(&note).await?;
        Err(wrong_rows(&fill.what, &keys))
    }

    async fn database(&mut self) -> Result<&mut Database> {
        if self.database.is_none() {
            self.database = Some(open(self.db, self.options).await?);
        }
        self.database.as_mut().ok_or_else(|| Error::new(Code::Protocol, "no session"))
    }

    async fn batches(&mut self) -> Result<()> {
        let clock = Clock::system();
        let (begun, rows_before) = (clock.now(), self.saved.rows_done);
        let mut size = SIZE_START;
        for n in 1_u64.. {
            if n % LOOK_EVERY == 1 {
                self.lock.check().await?;
            }
            self.wait_for_replicas(&clock).await?;
            let start = clock.now();
            if !self.batch_with_retries(&mut size).await? {
                return Ok(());
            }
            let took = clock.now().saturating_duration_since(start);
            let rows = self.saved.rows_done.saturating_sub(rows_before);
            self.tell_progress(rows, clock.now().saturating_duration_since(begun));
            size = next_size(size, took, self.options.batch_target);
            self.pause(&clock, took).await;
        }
        Ok(())
    }

    fn tell_progress(&self, rows: u64, took: Duration) {
        let (rows_done, rows_total) = (self.saved.rows_done, self.saved.ground.rows);
        let rows_per_s = rows as f64 / took.as_secs_f64().max(0.001);
        let left = rows_total.saturating_sub(rows_done) as f64 / rows_per_s;
        let eta = Duration::try_from_secs_f64(left).ok();
        self.tell.tell(Told::Progress(Progress { rows_done, rows_total, rows_per_s, eta }));
    }

    async fn pause(&mut self, clock: &Clock, took: Duration) {
        let pause = took.mul_f64((1.0 - self.options.duty) / self.options.duty);
        if pause.is_zero() {
            return;
        }
        if self.db.engine() == Engine::Sqlite {
            // This process has one connection that writes.
            self.database = None;
        }
        clock.sleep(pause).await;
    }

    /// Whether there was a batch. One that met others' locks is tried again, with fewer rows.
    async fn batch_with_retries(&mut self, size: &mut u64) -> Result<bool> {
        let mut attempt = 1;
        loop {
            let error = match self.batch(*size).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let back = match &mut self.database {
                Some(database) => database.rollback().await,
                None => Ok(()),
            };
            let title = "a batch of the backfill";
            let (options, tell) = (self.options, self.tell);
            if back.is_err() || !tries_again(options, tell, title, &error, &mut attempt).await {
                return Err(error);
            }
            *size = (*size / 2).max(SIZE_MIN);
        }
    }

    async fn batch(&mut self, size: u64) -> Result<bool> {
        let (fill, mut saved) = (self.fill, self.saved.clone());
        let database = self.database().await?;
        let facts = database.facts.clone();
        let site = site(&facts, &saved.ground, &saved.name);
        database.begin().await?;
        let Some(batch) = keys::next(database, site, &saved.cursor, size).await? else {
            database.rollback().await?;
            return Ok(false);
        };
        let range = keys::between(site, &saved.cursor, &batch.last);
        database.run(&site.fill_sql(fill, &range)).await?;
        saved.cursor = batch.last;
        saved.rows_done += batch.rows;
        saved.updated_at = now();
        let note = saved.update_sql(&facts)?;
        database.run(&format!("{note}; COMMIT")).await?;
        self.saved = saved;
        Ok(true)
    }

    async fn any(&mut self, condition: &str) -> Result<bool> {
        let (name, ground) = (self.saved.name.clone(), self.saved.ground.clone());
        let database = self.database().await?;
        let facts = database.facts.clone();
        let table = site(&facts, &ground, &name).table();
        let sql = format!("SELECT 1 FROM {table} WHERE {condition} LIMIT 1");
        Ok(!database.rows(&sql).await?.is_empty())
    }

    /// The keys of rows that can't stay as they are.
    async fn wrong(&mut self) -> Result<Vec<String>> {
        let (name, ground) = (self.saved.name.clone(), self.saved.ground.clone());
        let fill = self.fill;
        let database = self.database().await?;
        let facts = database.facts.clone();
        let site = site(&facts, &ground, &name);
        let sql = format!(
            "SELECT {} FROM {} a WHERE {} LIMIT {SHOWN_MAX}",
            site.key_shown("a"),
            site.table(),
            fill.wrong
        );
        database.rows(&sql).await?.iter().map(|row| text(row, 0)).collect()
    }

    async fn wait_for_replicas(&mut self, clock: &Clock) -> Result<()> {
        let Some(limit) = self.options.lag_max else { return Ok(()) };
        if self.db.engine() != Engine::Postgres {
            return Ok(());
        }
        let mut told = false;
        loop {
            let sql = "SELECT extract(epoch FROM max(replay_lag))::text FROM pg_stat_replication";
            let lag = self.database().await?.text(sql).await?;
            let lag = lag.and_then(|lag| lag.parse().ok()).unwrap_or(0.0_f64);
            if lag <= limit.as_secs_f64() {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                self.tell.note(&format!("a replica is {lag:.1} s behind: the backfill waits"));
            }
            clock.sleep(LAG_POLL).await;
        }
    }
}

/// A session for a backfill.
pub(crate) async fn open(db: &Db, options: &OnlineOptions) -> Result<Database> {
    let mut database = super::open(db, options).await?;
    if db.engine() == Engine::MySql {
        // Otherwise a batch would lock the gaps between its rows against new ones. A log of statements
        // needs that.
        let sql = "SELECT CASE WHEN @@log_bin = 1 AND @@binlog_format = 'STATEMENT' THEN 'x' END";
        if database.text(sql).await?.is_none() {
            database.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        }
    }
    Ok(database)
}

fn site<'a>(facts: &'a crate::database::Facts, ground: &'a Ground, change: &'a str) -> Site<'a> {
    Site { facts, ground, change }
}

/// The next batch's size, so that it takes about `target`. It at most doubles or halves.
fn next_size(size: u64, took: Duration, target: Duration) -> u64 {
    let ratio = target.as_secs_f64() / took.as_secs_f64().max(0.000_1);
    let next = size as f64 * ratio.clamp(0.5, 2.0);
    (next as u64).clamp(SIZE_MIN, SIZE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_and_shrinks_within_bounds() {
        let ms = Duration::from_millis;
        assert_eq!(next_size(500, ms(10), ms(50)), 1000);
        assert_eq!(next_size(500, ms(500), ms(50)), 250);
        assert_eq!(next_size(500, ms(40), ms(50)), 625);
        assert_eq!(next_size(60, ms(900), ms(50)), SIZE_MIN);
        assert_eq!(next_size(19_000, ms(1), ms(50)), SIZE_MAX);
    }
}
