//! A move that is worked on: its two sides, its lease, and how rows get from one to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use super::dialect::is_wait_over;
use super::journal::{Lease, Progressed, State};
use super::mover::Mover;
use super::progress::{Progress, Step};
use super::side::Side;
use super::table::{Line, Pk};
use super::which::Which;

/// Rows that are brought over in one transaction of the target.
pub(super) const BATCH: usize = 500;
/// Entries of the log that are followed at a time, at least; more once that is not all of them, since many are of the
/// same rows then. Whole rows, all in memory at once: their number is bounded, and not their size.
const FOLLOWED: usize = 500;
const FOLLOWED_MAX: usize = 8000;
/// So few are not worth another round.
const FEW: usize = 32;
/// So often what is in another's way is tried again.
const TRIES: u32 = 60;
/// Rows that hinder each other are tried again with all that came after them.
const UNTANGLED: u32 = 10;
/// Rounds of following, each of some hundred entries: who writes more than is followed for so long does so for ever.
const ROUNDS: u32 = 20_000;

/// Rows of one table that are brought over: what was there of them goes first.
pub(super) struct Portion {
    pub(super) table: usize,
    pub(super) pks: Vec<Pk>,
    pub(super) lines: Vec<Line>,
}

pub(super) struct Going<'m> {
    pub(super) mover: &'m Mover,
    pub(super) lease: Lease,
    pub(super) which: Which,
    pub(super) source: Side,
    pub(super) target: Side,
    /// It was begun here: nothing was made for it before.
    pub(super) fresh: bool,
    /// Rows that were looked at, of the table at hand.
    pub(super) seen: u64,
    pub(super) lag: u64,
    /// Rows that were written at each look: compared once writers are locked out.
    pub(super) restless: Vec<(usize, Pk)>,
}

impl Going<'_> {
    pub(super) fn tell(&self, step: Step, table: Option<usize>) {
        let of = table.and_then(|at| self.source.tables.get(at));
        self.mover.tell(&Progress {
            id: self.lease.of.id.clone(),
            logical: self.lease.of.logical,
            state: self.lease.of.state,
            step,
            table: of.map(|t| t.name.clone()),
            rows_seen: if of.is_some() { self.seen } else { 0 },
            rows_estimate: of.map_or(0, |t| t.rows_estimate),
            rows_copied: self.lease.of.rows,
            lag: self.lag,
        });
    }

    /// Before another try at what was in somebody's way.
    pub(super) async fn wait(&mut self, attempt: u32) -> Result<()> {
        let longest = Duration::from_millis(20) * 2u32.saturating_pow(attempt.min(5));
        let wait = self.mover.rng.jittered(longest.min(Duration::from_millis(500)), 0.5);
        self.mover.clock.sleep(wait).await;
        self.lease.beat().await
    }

    /// So long as more were looked at than the rate allows.
    pub(super) async fn slow(&self, rows: usize, began: std::time::Instant) {
        let least = Duration::from_secs_f64(rows as f64 / f64::from(self.mover.rate));
        self.mover.clock.sleep_until(began + least).await;
    }

    /// Sets this owner on both sides; where `prepare`, with the tables of ours made there first. The catalogue is asked
    /// afterwards: an owner that it named since sets itself after that, and what this one does then fails.
    ///
    /// Errors: ROUTE-052 where the move is another's.
    pub(super) async fn take_sides(&mut self, prepare: bool) -> Result<()> {
        // Before as well, so that one that slept leaves nothing behind.
        self.lease.save().await?;
        let (owner, logical) = (self.lease.owner.clone(), self.which.logical);
        for side in [&mut self.source, &mut self.target] {
            if prepare {
                side.prepare(&owner, logical).await?;
            } else {
                side.take(&owner).await?;
            }
        }
        self.lease.save().await
    }

    /// The triggers of all tables. Errors: ROUTE-050 where writers never let it in.
    pub(super) async fn capture(&mut self) -> Result<()> {
        let owner = self.lease.owner.clone();
        for table in 0..self.source.tables.len() {
            let mut attempt = 0;
            loop {
                match self.source.capture(table, &self.which, &owner).await {
                    Err(error) if is_wait_over(&error) && attempt < TRIES => {
                        self.wait(attempt).await?;
                    }
                    Err(error) if is_wait_over(&error) => return Err(busy(error)),
                    other => break other?,
                }
                attempt += 1;
            }
            self.tell(Step::Captured, Some(table));
        }
        Ok(())
    }

    /// Takes the triggers away. Errors: as [`capture`](Self::capture).
    pub(super) async fn release(&mut self) -> Result<()> {
        for table in 0..self.source.tables.len() {
            let mut attempt = 0;
            loop {
                match self.source.release(table).await {
                    Err(error) if is_wait_over(&error) && attempt < TRIES => {
                        self.wait(attempt).await?;
                    }
                    Err(error) if is_wait_over(&error) => return Err(busy(error)),
                    other => break other?,
                }
                attempt += 1;
            }
            self.tell(Step::Released, Some(table));
        }
        Ok(())
    }

    /// Brings rows over in one transaction of the target's: all of it or nothing, and nothing once another has the
    /// move. Errors: ROUTE-052, those of the database.
    pub(super) async fn put(&mut self, portions: &[Portion]) -> Result<()> {
        let (target, owner) = (&mut self.target, &self.lease.owner);
        target.begin().await?;
        let done = async {
            target.hold(owner).await?;
            for portion in portions.iter().rev() {
                target.delete(portion.table, &portion.pks).await?;
            }
            for portion in portions {
                target.insert(portion.table, &portion.lines).await?;
            }
            target.commit().await
        }
        .await;
        if done.is_err() {
            target.undo().await;
        }
        done
    }

    /// Brings over what the oldest entries of the log are about, as it is now, and strikes them out. In a transaction of
    /// the source's that the caller began. Gives how many there were.
    pub(super) async fn follow_within(&mut self, limit: usize) -> Result<usize> {
        let entries = self.source.logged(limit).await?;
        let mut changed: BTreeMap<usize, BTreeSet<Pk>> = BTreeMap::new();
        for (_, table, pk) in &entries {
            if *table < self.source.tables.len() {
                changed.entry(*table).or_default().insert(pk.clone());
            }
        }
        let mut portions = Vec::new();
        for (table, pks) in changed {
            let pks: Vec<Pk> = pks.into_iter().collect();
            let lines = self.source.lines(table, &pks, &self.which).await?;
            portions.push(Portion { table, pks, lines });
        }
        if !portions.is_empty() {
            self.put(&portions).await?;
        }
        // Exactly those that were read: one that is committed later may have a smaller number.
        let ids: Vec<i64> = entries.iter().map(|(id, ..)| *id).collect();
        for some in ids.chunks(1000) {
            self.source.unlog(some).await?;
        }
        Ok(entries.len())
    }

    /// As [`follow_within`](Self::follow_within), in a transaction of its own. Where rows are in each other's way
    /// (two that exchanged a unique value, say), with more of the log at a time.
    async fn follow(&mut self, mut limit: usize) -> Result<usize> {
        for attempt in 0.. {
            self.source.begin().await?;
            match self.follow_within(limit).await {
                Ok(count) => {
                    self.source.commit().await?;
                    return Ok(count);
                }
                Err(error) => {
                    self.source.undo().await;
                    if !again(&error) || attempt >= UNTANGLED {
                        return Err(self.in_the_way(error));
                    }
                    self.wait(attempt).await?;
                    limit = (limit * 2).min(100_000);
                }
            }
        }
        Ok(0)
    }

    /// Follows until no more is left than is written at the same time. Errors: ROUTE-050 where that never comes.
    pub(super) async fn drain(&mut self) -> Result<()> {
        let (mut last, mut limit) = (usize::MAX, FOLLOWED);
        for round in 0..ROUNDS {
            let count = self.follow(limit).await?;
            if count == limit {
                limit = (limit * 2).min(FOLLOWED_MAX);
            }
            if round % 10 == 9 || count < limit {
                self.lag = self.source.lag().await?;
                self.lease.beat().await?;
                self.tell(Step::Followed, None);
            }
            // Each round is of what was written during the one before: it shrinks to what there always is.
            if count <= FEW || (count < limit && count >= last - last / 4) {
                return Ok(());
            }
            last = count;
        }
        let what = "rows are written faster than they are brought over";
        Err(Error::new(Code::MoveRefused, what).fix("move it at a quieter time, with --resume"))
    }

    /// All rows of all tables, each table from where it is.
    pub(super) async fn copy(&mut self) -> Result<()> {
        for table in 0..self.source.tables.len() {
            self.seen = 0;
            if !self.lease.of.tables[table].copied && self.lease.of.tables[table].end.is_none() {
                // What comes after it is logged: else who adds rows could be run after for ever.
                let end = self.source.last(table).await?;
                self.lease.of.tables[table].copied = end.is_none();
                self.lease.of.tables[table].end = end;
            }
            while !self.lease.of.tables[table].copied {
                let began = self.mover.clock.now();
                let seen = self.chunk(table).await?;
                self.tell(Step::Copied, Some(table));
                self.slow(seen, began).await;
                self.lag = self.source.lag().await?;
                // So that the log stays short.
                if self.lag > 20 * FOLLOWED as u64 {
                    self.drain().await?;
                }
            }
        }
        Ok(())
    }

    /// The next rows of a table; gives how many were looked at.
    async fn chunk(&mut self, table: usize) -> Result<usize> {
        let Progressed { cursor, end, .. } = &self.lease.of.tables[table];
        let seen = self.source.scan(table, cursor.as_ref(), end.as_ref(), self.mover.chunk).await?;
        let (all, last) = (seen.len(), seen.last().map(|row| row.pk.clone()));
        let integer = self.source.tables[table].has_integer_key();
        let own: Vec<Pk> = seen
            .into_iter()
            .filter(|row| self.which.has(&row.key, integer))
            .map(|row| row.pk)
            .collect();
        let mut copied = 0;
        for some in own.chunks(BATCH) {
            copied += self.bring(table, some).await?;
        }
        self.seen += all as u64;
        self.lease.of.rows += copied as u64;
        let progress = &mut self.lease.of.tables[table];
        match last {
            Some(last) if all == self.mover.chunk => progress.cursor = Some(last),
            _ => progress.copied = true,
        }
        self.lease.save().await?;
        Ok(all)
    }

    /// Rows of one table as they are now. What was written since they were first copied may be in their way: then that is
    /// brought over first.
    async fn bring(&mut self, table: usize, pks: &[Pk]) -> Result<usize> {
        for attempt in 0.. {
            self.source.begin().await?;
            let lines = self.source.lines(table, pks, &self.which).await;
            let lines = self.source.after(lines).await?;
            let count = lines.len();
            match self.put(&[Portion { table, pks: pks.to_vec(), lines }]).await {
                Ok(()) => return Ok(count),
                Err(error) if again(&error) && attempt < UNTANGLED => {
                    self.wait(attempt).await?;
                    self.follow(FOLLOWED).await?;
                }
                Err(error) => return Err(self.in_the_way(error)),
            }
        }
        Ok(0)
    }

    fn in_the_way(&self, error: Error) -> Error {
        match error.code() {
            Code::Unique | Code::ForeignKey => {
                let what = format!("a row has no room on {}", self.target.name);
                Error::new(Code::MoveRefused, what)
                    .why("a row of another key there has the same value of a unique column, such as a number that each shard gives out by itself")
                    .fix("use ids that are unique over all shards, as shards.id(&key) makes them; roll this move back")
                    .cause(error)
            }
            _ => error,
        }
    }

    pub(super) async fn enter(&mut self, state: State) -> Result<()> {
        self.lease.enter(state).await?;
        self.tell(Step::Entered, None);
        Ok(())
    }
}

/// What may be otherwise in a moment.
fn again(error: &Error) -> bool {
    is_wait_over(error)
        || matches!(error.code(), Code::Unique | Code::ForeignKey | Code::Serialization)
}

fn busy(error: Error) -> Error {
    Error::new(Code::MoveRefused, "a table's triggers could not be changed between its writers")
        .why("each try waits for a moment alone, so that nobody has to wait for it")
        .fix("end the transactions that stay open on it, and resume")
        .cause(error)
}
