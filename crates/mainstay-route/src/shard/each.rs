//! The same work on each shard, with a report: migrations above all.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::handle::Shards;

/// Shards worked on at the same time, unless said otherwise.
const FAN_OUT: usize = 4;

/// Work on each shard; made by [`Shards::each`].
#[must_use = "nothing is done until run or report is awaited"]
pub struct Each<F> {
    shards: Vec<(Arc<str>, Db)>,
    /// Given, and not named by the map.
    unmapped: Vec<(Arc<str>, Db)>,
    work: F,
    fan_out: usize,
    stops: bool,
}

/// What became of the work on each shard, in the order of their names.
#[derive(Debug)]
pub struct Report<T> {
    /// Done, with what it gave.
    pub done: Vec<(String, T)>,
    /// Failed. What it has done until then may be there.
    pub failed: Vec<(String, Error)>,
    /// Not begun, since another had failed.
    pub skipped: Vec<String>,
}

impl Shards {
    /// Begins work on each shard, on several at a time. Run again after a failure it is run on all again: it
    /// must find by itself what is done, as migrations do.
    ///
    /// ```
    /// # use mainstay_db::Db;
    /// # use mainstay_route::shard::{Map, Shards};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = Db::connect("sqlite::memory:").await?;
    /// # let shards = Shards::builder(Map::even(["a"])?).shard("a", db).build()?;
    /// let report = shards
    ///     .each(|_, db| async move { db.script("CREATE TABLE IF NOT EXISTS users (id BIGINT)").await })
    ///     .fan_out(8)
    ///     .report()
    ///     .await;
    /// assert_eq!(report.to_string(), "done: a\n");
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    pub fn each<T, F, W>(&self, work: F) -> Each<F>
    where
        F: Fn(String, Db) -> W,
        W: Future<Output = Result<T>>,
    {
        let shards = self.all();
        let named = |name: &Arc<str>| shards.iter().any(|(own, _)| own == name);
        let unmapped = self.given().into_iter().filter(|(name, _)| !named(name)).collect();
        Each { shards, unmapped, work, fan_out: FAN_OUT, stops: false }
    }
}

impl<F> Each<F> {
    /// How many shards are worked on at the same time; default 4, at least 1.
    pub fn fan_out(mut self, shards: usize) -> Self {
        self.fan_out = shards.max(1);
        self
    }

    /// Begins no further shard once one has failed; default is to go on.
    pub fn stop_on_error(mut self) -> Self {
        self.stops = true;
        self
    }

    /// Works also on those that were given and that the map does not name yet, or no more: their tables must be there
    /// before anything is moved to them.
    pub fn also_unmapped(mut self) -> Self {
        self.shards.append(&mut self.unmapped);
        self.shards.sort_by(|(a, _), (b, _)| a.cmp(b));
        self
    }

    /// Does the work and tells what became of it.
    ///
    /// Cancel safe as the work is: dropped, what is under way is dropped and nothing more begins.
    pub async fn report<T, W>(self) -> Report<T>
    where
        F: Fn(String, Db) -> W,
        W: Future<Output = Result<T>>,
    {
        let Self { shards, work, fan_out, stops, .. } = self;
        let names: Vec<String> = shards.iter().map(|(name, _)| name.to_string()).collect();
        let mut outcomes: Vec<Option<Result<T>>> = names.iter().map(|_| None).collect();
        {
            let begin = |(at, (name, db)): (usize, (Arc<str>, Db))| {
                let done = work(name.to_string(), db);
                async move { (at, done.await) }
            };
            let mut left = shards.into_iter().enumerate();
            let mut running: futures_util::stream::FuturesUnordered<_> =
                left.by_ref().take(fan_out).map(begin).collect();
            let mut failed = false;
            while let Some((at, outcome)) = running.next().await {
                failed |= outcome.is_err();
                outcomes[at] = Some(outcome);
                if let Some(next) = left.next().filter(|_| !(stops && failed)) {
                    running.push(begin(next));
                }
            }
        }
        let mut report = Report { done: Vec::new(), failed: Vec::new(), skipped: Vec::new() };
        for (name, outcome) in names.into_iter().zip(outcomes) {
            match outcome {
                Some(Ok(out)) => report.done.push((name, out)),
                Some(Err(error)) => report.failed.push((name, error)),
                None => report.skipped.push(name),
            }
        }
        report
    }

    /// As [`report`](Self::report), with a failure as the error. Errors: ROUTE-027, telling of each shard.
    pub async fn run<T, W>(self) -> Result<Vec<(String, T)>>
    where
        F: Fn(String, Db) -> W,
        W: Future<Output = Result<T>>,
    {
        self.report().await.into_result()
    }
}

impl<T> Report<T> {
    /// What was done, where it was done on all. Errors: ROUTE-027, telling of each shard.
    pub fn into_result(self) -> Result<Vec<(String, T)>> {
        if self.failed.is_empty() && self.skipped.is_empty() {
            return Ok(self.done);
        }
        let all = self.done.len() + self.failed.len() + self.skipped.len();
        let what = format!("it failed on {} of {all} shards", self.failed.len());
        let error = Error::new(Code::ShardMigration, what).why(self.to_string());
        Err(match self.failed.into_iter().next() {
            Some((_, cause)) => error.cause(cause),
            None => error,
        })
    }
}

/// A line for what is done, one for each failure, and one for what was not begun.
impl<T> fmt::Display for Report<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.done.is_empty() {
            let names: Vec<_> = self.done.iter().map(|(name, _)| name.as_str()).collect();
            writeln!(f, "done: {}", names.join(", "))?;
        }
        for (name, error) in &self.failed {
            writeln!(f, "failed: {name}: {error}")?;
        }
        if !self.skipped.is_empty() {
            writeln!(f, "not begun: {}", self.skipped.join(", "))?;
        }
        Ok(())
    }
}

impl<F> fmt::Debug for Each<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Each").field("fan_out", &self.fan_out).finish_non_exhaustive()
    }
}
