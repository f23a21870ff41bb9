//! The copy itself, from the first look to the last.

use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use sha2::{Digest, Sha256};

use super::cursor::{self, Cursor};
use super::pair::{self, Pair, Pairs, Wanted, Which};
use super::read::{self, Read, Size};
use super::side::Side;
use super::value::Raw;
use super::write::{self, Cells};
use super::{Copied, CopiedTable, Copy, CopyTold, orphans, sequence, verify};
use crate::checksum::hex;

impl Copy {
    /// Copies what is not copied yet, and compares both sides.
    ///
    /// A run that was cut off, be it by an error, by being dropped or by the end of its process, is gone
    /// on with by the next one: nothing is copied twice. A table without a key goes in one transaction,
    /// and through memory as a whole. Once all is copied, a run compares both sides again.
    ///
    /// Cancel safe: dropped, the batch under way is rolled back.
    ///
    /// Errors: COPY-001 (tables, columns or rows of the target that are not as they must be), COPY-002
    /// (both sides differ, as where the source was written to meanwhile, or rows refer to none),
    /// COPY-003 (a row does not fit, named by its key and column and never by what is stored), DB-036;
    /// those of connecting.
    pub async fn run(self) -> Result<Copied> {
        let mut source = Side::open(&self.from).await?;
        let mut target = Side::open(&self.to).await?;
        let wanted = Wanted { tables: &self.tables, history: &self.history };
        let pairs = pair::pair(&source, &target, wanted)?;
        cursor::create(&mut target).await?;
        let place = hex(&Sha256::digest(self.from.place()));
        let mut cursors = cursor::read(&mut target).await?;
        let mut ready = Vec::new();
        for pair in &pairs.all {
            let kept = cursors.remove(pair.name());
            ready.push(begin(&mut target, pair, kept, &place).await?);
        }
        let may = self.may_leave_references_alone(&mut target, &pairs).await?;
        for (pair, cursor) in pairs.all.iter().zip(ready) {
            let loose = may && pairs.is_loose(pair.name());
            if loose {
                target.run(references(target.engine, false)).await?;
            }
            self.table_to_the_end(&mut source, &mut target, pair, cursor).await?;
            if loose {
                target.run(references(target.engine, true)).await?;
            }
        }
        orphans::none(&mut target, &pairs).await?;
        let mut copied = Copied::default();
        for pair in &pairs.all {
            sequence::reset(&mut target, pair).await?;
            let sum = verify::same(&mut source, &mut target, pair, self.batch).await?;
            (self.tell)(CopyTold::Verified { name: pair.name(), rows: sum.rows });
            let name = pair.name().to_owned();
            copied.tables.push(CopiedTable { name, rows: sum.rows, checksum: sum.hex() });
        }
        Ok(copied)
    }

    /// Whether foreign keys may go unseen while rows come in to tables of which no order keeps them; asked
    /// before anything is copied. Errors: COPY-001 where they must and may not.
    async fn may_leave_references_alone(&self, target: &mut Side, pairs: &Pairs) -> Result<bool> {
        if pairs.circle.is_empty() && pairs.to_itself.is_empty() {
            return Ok(false);
        }
        match target.run(references(target.engine, false)).await {
            Ok(_) => {
                target.run(references(target.engine, true)).await?;
                Ok(true)
            }
            Err(error) if error.code() == Code::Denied && pairs.circle.is_empty() => {
                let note = "a table refers to itself: where a row comes before the one that it refers \
                            to, the target will refuse it";
                (self.tell)(CopyTold::Note(note));
                Ok(false)
            }
            Err(error) if error.code() == Code::Denied => {
                let what =
                    format!("{} refer to each other in a circle", pairs.circle.join(" and "));
                Err(Error::new(Code::CopySource, what)
                    .why("the target's account may not set session_replication_role")
                    .fix("copy with an account that may, or drop one of the foreign keys meanwhile")
                    .cause(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn table_to_the_end(
        &self,
        source: &mut Side,
        target: &mut Side,
        pair: &Pair,
        mut cursor: Cursor,
    ) -> Result<()> {
        let clock = Clock::system();
        let rows_total = source.count(&pair.source.name).await?;
        let pace = Pace { begun: clock.now(), rows_before: cursor.rows, rows_total };
        let name = pair.name();
        (self.tell)(CopyTold::Table { name, rows_total, rows_done: cursor.rows });
        let mut size = Size::new(self.batch);
        while cursor.done.is_none() {
            let after = cursor.key.as_deref();
            let batch = read::batch(source, pair, Which::Source, after, size.rows).await?;
            let is_last = batch.len() < size.rows;
            size.learn(&batch);
            let rows = batch.len() as u64;
            let (cells, raws) = converted(pair, &batch, cursor.rows)?;
            let last_key = batch.last().map(|read| read.key.clone()).filter(|key| !key.is_empty());
            let has_key = last_key.is_some();
            let before = cursor.rows;
            cursor.rows += rows;
            cursor.key = last_key.or(cursor.key);
            // Without a key all of it is one batch.
            if is_last || !has_key {
                cursor.done = Some(now(&clock));
            }
            let row_name = |n: usize| verify::named(pair, raws[n], before + n as u64 + 1);
            write::batch(target, pair, &cells, &cursor, row_name).await?;
            (self.tell)(pace.told(name, cursor.rows, clock.now()));
        }
        Ok(())
    }
}

/// What has foreign keys looked at, or not.
fn references(engine: Engine, looked_at: bool) -> &'static str {
    match (engine, looked_at) {
        (Engine::Postgres, false) => "SET session_replication_role = replica",
        (Engine::Postgres, true) => "SET session_replication_role = DEFAULT",
        (Engine::MySql, false) => "SET SESSION foreign_key_checks = 0",
        (Engine::MySql, true) => "SET SESSION foreign_key_checks = 1",
        (Engine::Sqlite, false) => "PRAGMA foreign_keys = OFF",
        (Engine::Sqlite, true) => "PRAGMA foreign_keys = ON",
    }
}

/// Where a table begins. Errors: COPY-001 where its rows are from elsewhere.
async fn begin(
    target: &mut Side,
    pair: &Pair,
    kept: Option<Cursor>,
    source: &str,
) -> Result<Cursor> {
    let clock = Clock::system();
    let new = Cursor { source: source.to_owned(), started: now(&clock), ..Cursor::default() };
    let is_empty = target.count(&pair.target.name).await? == 0;
    let refused = |what: String| {
        let fix = format!("empty the table, and remove its row in {}", cursor::TABLE);
        Err(Error::new(Code::CopySource, what).fix(fix))
    };
    match kept {
        // Also where somebody has emptied it, to have it copied anew.
        _ if is_empty => Ok(new),
        Some(kept) if kept.source == source => Ok(kept),
        Some(_) => refused(format!("{} was copied from another source before", pair.name())),
        None => refused(format!("{} has rows in the target already", pair.name())),
    }
}

/// The rows as the target takes them, and as they were. Errors: COPY-003.
fn converted<'r>(
    pair: &Pair,
    batch: &'r [Read],
    rows_before: u64,
) -> Result<(Vec<Cells>, Vec<&'r [Raw]>)> {
    let mut cells = Vec::with_capacity(batch.len());
    for (n, read) in batch.iter().enumerate() {
        let mut row = Cells::with_capacity(read.values.len());
        for (raw, joined) in read.values.iter().zip(&pair.columns) {
            let cell = joined.way.cell(raw.clone()).map_err(|_| {
                let row = verify::named(pair, &read.values, rows_before + n as u64 + 1);
                let what =
                    format!("{}.{} of {row} can't be copied", pair.name(), joined.source.name);
                let declared = &joined.target.declared;
                Error::new(Code::CopyRow, what).why(format!("its value does not fit {declared}"))
            })?;
            row.push(cell);
        }
        cells.push(row);
    }
    Ok((cells, batch.iter().map(|read| read.values.as_slice()).collect()))
}

fn now(clock: &Clock) -> String {
    let now = chrono::DateTime::<chrono::Utc>::from(clock.wall());
    now.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How fast it goes.
struct Pace {
    begun: Instant,
    rows_before: u64,
    rows_total: u64,
}

impl Pace {
    fn told<'a>(&self, name: &'a str, rows_done: u64, now: Instant) -> CopyTold<'a> {
        let seconds = now.saturating_duration_since(self.begun).as_secs_f64().max(0.001);
        let rows_per_s = rows_done.saturating_sub(self.rows_before) as f64 / seconds;
        let left = self.rows_total.saturating_sub(rows_done) as f64;
        let eta = (rows_per_s > 0.0)
            .then(|| Duration::try_from_secs_f64(left / rows_per_s).ok())
            .flatten();
        CopyTold::Batch { name, rows_done, rows_total: self.rows_total, rows_per_s, eta }
    }
}
