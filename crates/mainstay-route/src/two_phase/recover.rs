//! What a crash left behind: prepared parts are told what was decided, and those that nobody decided on are decided
//! against.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::PreparedId;

use super::TwoPhase;
use super::log::Decision;

/// What recovery did, in parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Committed, as was decided.
    pub committed: usize,
    /// Rolled back.
    pub rolled_back: usize,
    /// Left alone: they may still be under way.
    pub young: usize,
}

impl TwoPhase {
    /// Settles what was left prepared in any of the databases, by whichever process. Any number of processes may do so at
    /// the same time.
    ///
    /// A part of MariaDB, which does not say since when it is prepared, is looked at twice, with the time of
    /// [`abandoned_after`](Self::abandoned_after) in between.
    ///
    /// Cancel safe: what was done stays done.
    ///
    /// Errors: those of a database that does not answer, once the others were looked through.
    pub async fn recover(&self) -> Result<Recovered> {
        let clock = Clock::system();
        let mut out = Recovered::default();
        let mut seen: BTreeSet<u128> = BTreeSet::new();
        let mut failed = None;
        // Before the parts are listed: one that is decided later has parts that are listed.
        let decided = self.0.log.commits().await?;
        let first = self.parts(&mut failed).await;
        let silent = first.iter().any(|(_, _, age)| age.is_none());
        let undecided =
            |found: &HashMap<u128, Option<Decision>>| found.values().any(Option::is_none);
        let known = self.decisions(&first).await?;
        let since: Option<Instant> = (silent && undecided(&known)).then(|| clock.now());
        if since.is_some() {
            clock.sleep(self.0.abandoned_after).await;
        }
        for (at, id, age) in first {
            seen.insert(id.whole);
            let waited = since.map(|at| clock.now().saturating_duration_since(at));
            let age = age.or(waited).unwrap_or(Duration::ZERO);
            match self.settle(at, id, age).await {
                Ok(Some(Decision::Commit)) => out.committed += 1,
                Ok(Some(Decision::Abort)) => out.rolled_back += 1,
                Ok(None) => out.young += 1,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        // With all databases looked through, those of which no part was there are settled everywhere.
        for whole in decided.into_iter().filter(|whole| !seen.contains(whole)) {
            self.0.log.forget(whole).await?;
        }
        self.0.log.forget_aborts().await?;
        Ok(out)
    }

    async fn parts(
        &self,
        failed: &mut Option<mainstay_core::Error>,
    ) -> Vec<(usize, PreparedId, Option<Duration>)> {
        let mut all = Vec::new();
        for (at, (_, db)) in self.0.databases.iter().enumerate() {
            match db.prepared().await {
                Ok(parts) => all.extend(parts.into_iter().map(|(id, age)| (at, id, age))),
                Err(error) => *failed = Some(error),
            }
        }
        // XA's names are the server's, not a database's: of several databases there, one settles it.
        let mut once = BTreeSet::new();
        let ours = u128::from(self.number());
        all.retain(|(_, id, _)| id.whole >> 64 == ours && once.insert(*id));
        all
    }

    async fn decisions(
        &self,
        parts: &[(usize, PreparedId, Option<Duration>)],
    ) -> Result<HashMap<u128, Option<Decision>>> {
        let mut out = HashMap::new();
        for (_, id, _) in parts {
            if let Entry::Vacant(entry) = out.entry(id.whole) {
                entry.insert(self.0.log.of(id.whole).await?);
            }
        }
        Ok(out)
    }

    async fn settle(&self, at: usize, id: PreparedId, age: Duration) -> Result<Option<Decision>> {
        let decision = match self.0.log.of(id.whole).await? {
            Some(decision) => decision,
            None if age < self.0.abandoned_after => return Ok(None),
            None => self.0.log.decide(id.whole, Decision::Abort).await?,
        };
        let (_, db) = &self.0.databases[at];
        db.settle_prepared(id, decision == Decision::Commit).await?;
        Ok(Some(decision))
    }
}
