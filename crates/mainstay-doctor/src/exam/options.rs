//! How much an examination may take, and from when on something counts.

use std::time::Duration;

use super::check::Check;

/// The bounds of an [examination](super::Examination) and its thresholds.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database serves users: a statement may take 1 s and not 5, the whole 10 s and not 30, what reads users' data is
    /// left out, and bloat is estimated for the 50 largest tables and not for 500. Default false.
    pub prod: bool,
    /// These alone; default all.
    pub only: Vec<Check>,
    /// All but these; default none.
    pub skip: Vec<Check>,
    /// Counters that were begun later than this ago say nothing of what is never used. Default 3 days.
    pub observed_min: Duration,
    /// A transaction that is open for longer is told of. Default 60 s.
    pub transaction_max: Duration,
    /// One that waits for a lock for longer is told of. Default 1 s.
    pub lock_wait_max: Duration,
    /// A replica that is behind by more is told of. Default 30 s.
    pub replica_lag_max: Duration,
    /// Smaller indexes, tables and free room are not worth a word. Default 10 MiB; 1 MiB for unused indexes.
    pub bytes_min: u64,
    /// Smaller tables are not worth a word about scans and missing indexes. Default 10,000.
    pub rows_min: u64,
    /// With fewer reads the share that the cache answered says nothing. In blocks; default 100,000.
    pub cache_reads_min: u64,
    /// Findings of one check; of more, these are shown and the rest counted. Default 50.
    pub findings_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prod: false,
            only: Vec::new(),
            skip: Vec::new(),
            observed_min: Duration::from_hours(3 * 24),
            transaction_max: Duration::from_secs(60),
            lock_wait_max: Duration::from_secs(1),
            replica_lag_max: Duration::from_secs(30),
            bytes_min: 10 << 20,
            rows_min: 10_000,
            cache_reads_min: 100_000,
            findings_max: 50,
        }
    }
}

impl Options {
    /// How long one statement may take.
    pub fn statement_timeout(&self) -> Duration {
        if self.prod { Duration::from_secs(1) } else { Duration::from_secs(5) }
    }

    /// How long all of it may take.
    pub fn budget(&self) -> Duration {
        if self.prod { Duration::from_secs(10) } else { Duration::from_secs(30) }
    }

    /// Tables and indexes whose bloat is estimated, the largest first.
    pub(super) fn estimates_max(&self) -> usize {
        if self.prod { 50 } else { 500 }
    }

    /// Sequences whose value is asked for.
    pub(super) fn sequences_max(&self) -> usize {
        if self.prod { 1_000 } else { 10_000 }
    }

    pub(super) fn wants(&self, check: Check) -> bool {
        (self.only.is_empty() || self.only.contains(&check)) && !self.skip.contains(&check)
    }
}
