//! Whether both sides have the same rows, by digests of each.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_core::{Code, Error, Result};

use super::going::{BATCH, Going};
use super::progress::Step;
use super::side::Side;
use super::table::Pk;

/// More that differ are not looked at again one by one.
const DIFFERING: usize = 10_000;
/// Rows that are written between all looks are left to the moment in which writers are locked out.
const ROUNDS: u32 = 10;
const RESTLESS: usize = 100;
/// Keys that an error names.
const NAMED: usize = 5;

impl Going<'_> {
    /// Compares all rows, in both directions; those that differ since they were just written are looked at again.
    ///
    /// Errors: ROUTE-051, naming the table and some primary keys.
    pub(super) async fn verify(&mut self) -> Result<()> {
        let mut differing = Vec::new();
        for table in 0..self.source.tables.len() {
            for is_source in [true, false] {
                self.seen = 0;
                self.pass(table, is_source, &mut differing).await?;
            }
        }
        for _ in 0..ROUNDS {
            if differing.is_empty() {
                break;
            }
            self.drain().await?;
            let still = self.differing(&differing).await?;
            // A change between the two looks is in the log by now: nobody else takes it out.
            let logged = self.source.logged(10 * DIFFERING).await?;
            let fresh: BTreeSet<(usize, Pk)> =
                logged.into_iter().map(|(_, table, pk)| (table, pk)).collect();
            let lasting: Vec<_> =
                still.iter().filter(|one| !fresh.contains(*one)).cloned().collect();
            if !lasting.is_empty() {
                return Err(self.differ(&lasting));
            }
            differing = still;
        }
        if differing.len() > RESTLESS {
            return Err(self.differ(&differing));
        }
        self.restless = differing;
        Ok(())
    }

    /// One side's rows, each looked for on the other.
    async fn pass(
        &mut self,
        table: usize,
        is_source: bool,
        out: &mut Vec<(usize, Pk)>,
    ) -> Result<()> {
        let integer = self.source.tables[table].has_integer_key();
        let side = if is_source { &mut self.source } else { &mut self.target };
        // What comes after it is being followed.
        let Some(end) = side.last(table).await? else { return Ok(()) };
        let mut cursor: Option<Pk> = None;
        loop {
            let began = self.mover.clock.now();
            // So that next to nothing differs for having just been written.
            self.drain().await?;
            let side = if is_source { &mut self.source } else { &mut self.target };
            let seen = side.scan(table, cursor.as_ref(), Some(&end), self.mover.chunk).await?;
            let (all, last) = (seen.len(), seen.last().map(|row| row.pk.clone()));
            let own: Vec<(usize, Pk)> = (seen.into_iter())
                .filter(|row| self.which.has(&row.key, integer))
                .map(|row| (table, row.pk))
                .collect();
            for some in own.chunks(BATCH) {
                out.extend(self.differing(some).await?);
                if out.len() > DIFFERING {
                    return Err(self.differ(out));
                }
            }
            self.seen += all as u64;
            self.lease.beat().await?;
            self.tell(Step::Compared, Some(table));
            self.slow(all, began).await;
            if all < self.mover.chunk {
                return Ok(());
            }
            cursor = last;
        }
    }

    /// Those of these rows that are not the same on both sides. The source is read first.
    async fn differing(&mut self, rows: &[(usize, Pk)]) -> Result<Vec<(usize, Pk)>> {
        self.source.begin().await?;
        let done = self.differing_within(rows).await;
        self.source.after(done).await
    }

    /// As [`differing`](Self::differing), in a transaction of the source's that the caller began.
    pub(super) async fn differing_within(
        &mut self,
        rows: &[(usize, Pk)],
    ) -> Result<Vec<(usize, Pk)>> {
        let mut by_table: BTreeMap<usize, BTreeSet<Pk>> = BTreeMap::new();
        for (table, pk) in rows {
            by_table.entry(*table).or_default().insert(pk.clone());
        }
        let mut out = Vec::new();
        for (table, pks) in by_table {
            let pks: Vec<Pk> = pks.into_iter().collect();
            for some in pks.chunks(BATCH) {
                let here = digests(&mut self.source, table, some, &self.which).await?;
                self.target.begin().await?;
                let there = digests(&mut self.target, table, some, &self.which).await;
                let there = self.target.after(there).await?;
                let differ = some.iter().filter(|pk| here.get(*pk) != there.get(*pk));
                out.extend(differ.map(|pk| (table, pk.clone())));
            }
        }
        Ok(out)
    }

    pub(super) fn differ(&self, rows: &[(usize, Pk)]) -> Error {
        let table = rows.first().and_then(|(table, _)| self.source.tables.get(*table));
        let name = table.map_or("", |t| t.name.as_str());
        let keys: Vec<String> = rows.iter().take(NAMED).map(|(_, pk)| pk.join(" ")).collect();
        let what =
            format!("{} rows differ on {} and {}", rows.len(), self.source.name, self.target.name);
        Error::new(Code::MoveVerify, what)
            .why(format!("in {name:?} first, with the primary keys {}", keys.join(", ")))
    }
}

async fn digests(
    side: &mut Side,
    table: usize,
    pks: &[Pk],
    which: &super::which::Which,
) -> Result<BTreeMap<Pk, String>> {
    Ok(side.digests(table, pks, which).await?.into_iter().collect())
}
