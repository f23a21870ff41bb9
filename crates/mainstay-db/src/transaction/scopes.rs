//! The ways in which a closure runs: in a transaction of its own, joined to one, in a savepoint, or
//! without.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use mainstay_core::{Code, Error, Place, Result, Retry};

use super::current;
use super::isolation::Access;
use super::nested::Nested;
use super::open::Open;
use super::propagation::Propagation as P;
use super::run::Run;
use super::tx::{Plan, Until};
use crate::db::Db;

/// A closure with what was asked of its transaction.
pub(super) struct Part<'d> {
    db: &'d Db,
    plan: Plan,
    until: Option<Until>,
    place: Place,
}

impl<'d> Part<'d> {
    /// Errors: DB-016 (isolation).
    pub(super) fn new(db: &'d Db, plan: Plan, place: Place) -> Result<Self> {
        plan.access.check(db.engine()).map_err(|e| e.at(place))?;
        let until = plan.timeout.map(|limit| Until { at: db.shared.clock.now() + limit, limit });
        Ok(Self { db, plan, until, place })
    }

    pub(super) async fn run<T, F, Fut>(self, work: F) -> Result<T>
    where
        F: Fn(Db) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        // Boxed are the ways that are not taken most often, so that the future stays small.
        match (self.plan.propagation, &self.db.transaction) {
            (P::Required | P::Nested | P::RequiresNew, None) => self.whole(work).await,
            (P::RequiresNew, Some(outer)) => {
                outer.check_open(self.place)?;
                self.whole(work).await
            }
            (P::Required | P::Supports | P::Mandatory, Some(outer)) => {
                Box::pin(self.join(outer, work)).await
            }
            (P::Nested, Some(outer)) => Box::pin(self.nest(outer, work)).await,
            (P::Supports | P::NotSupported | P::Never, None) | (P::NotSupported, Some(_)) => {
                Box::pin(self.without(work)).await
            }
            (P::Mandatory, None) => Err(self.refused("there is no transaction")),
            (P::Never, Some(open)) => {
                let begun = open.whole.place;
                Err(self.refused(&format!("the transaction begun at {begun} is open")))
            }
        }
    }

    /// A transaction of its own, as often as it takes.
    async fn whole<T, F, Fut>(&self, work: F) -> Result<T>
    where
        F: Fn(Db) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        let mut conflict = None;
        loop {
            let run = match (self.begin(attempt).await, conflict.take()) {
                (Ok(run), _) => run,
                (Err(error), None) => return Err(error),
                (Err(error), Some(before)) => {
                    return Err(error.note(format!("this was attempt {attempt}")).cause(before));
                }
            };
            let is_inside = run.is_inside();
            // Boxed, so that the future of a transaction inside another does not hold it several
            // times.
            let inside = run.frame().run(Box::pin(work(run.handle())));
            let outcome = self.within(inside).await;
            match run.end(outcome).await {
                (outcome, Some(wait)) => {
                    conflict = outcome.err();
                    self.db.shared.clock.sleep(wait).await;
                }
                (Err(error), None) if attempt > 1 => {
                    let error = error.note(format!("this was attempt {attempt}"));
                    // A conflict of this one is none of the transaction around it, which would
                    // multiply the attempts.
                    let is_over = is_inside && error.retryability() == Retry::Transaction;
                    return Err(if is_over { error.retry(Retry::Later) } else { error });
                }
                (outcome, None) => return outcome,
            }
            attempt += 1;
        }
    }

    async fn begin(&self, attempt: u32) -> Result<Run> {
        let begins = Run::begin(self.db, self.plan, self.place, attempt, self.until);
        // By reference, since each future that it is given to would hold it once more.
        self.within(std::pin::pin!(begins)).await
    }

    async fn join<T, F, Fut>(&self, outer: &Open, work: F) -> Result<T>
    where
        F: Fn(Db) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.plan.access.check_within(outer.whole.access).map_err(|e| e.at(self.place))?;
        outer.check_open(self.place)?;
        let mut joined = Joined::new(outer, self.place);
        let outcome = self.within(Box::pin(work(self.db.clone()))).await;
        joined.failed = outcome.as_ref().err().is_some_and(Error::rolls_back);
        outcome
    }

    async fn nest<T, F, Fut>(&self, outer: &Arc<Open>, work: F) -> Result<T>
    where
        F: Fn(Db) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.plan.access.check_within(outer.whole.access).map_err(|e| e.at(self.place))?;
        let nested = self.within(Nested::begin(self.db, outer, self.place)).await?;
        let inside = nested.frame().run(Box::pin(work(nested.handle())));
        let outcome = self.within(inside).await;
        nested.end(outcome).await
    }

    /// On the pool's handle, outside the transaction that may be open. There is nothing then that
    /// could be isolated or read only.
    async fn without<T, F, Fut>(&self, work: F) -> Result<T>
    where
        F: Fn(Db) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        if self.plan.access != Access::default() {
            let what = format!(
                "isolation and access are a transaction's, and {} has none here",
                self.plan.propagation.as_str()
            );
            return Err(Error::new(Code::TxMismatch, what).at(self.place));
        }
        let pool = Db { transaction: None, ..self.db.clone() };
        let work = Box::pin(work(pool));
        match current::frame(self.db) {
            Some(frame) => self.within(frame.past(&self.db.shared).run(work)).await,
            None => self.within(work).await,
        }
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.db.within(self.until, self.place, work).await
    }

    fn refused(&self, why: &str) -> Error {
        let what = format!("{} does not allow this: {why}", self.plan.propagation.as_str());
        Error::new(Code::TxPropagation, what).at(self.place)
    }
}

impl Db {
    /// Runs `work` until then; what is left of it is dropped.
    pub(super) async fn within<T>(
        &self,
        until: Option<Until>,
        place: Place,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match until {
            None => work.await,
            Some(until) => {
                let done = self.shared.clock.timeout_at(until.at, work).await;
                done.unwrap_or_else(|| Err(until.passed(place)))
            }
        }
    }
}

/// A part that joined an outer transaction: unless it succeeds, the whole may not.
struct Joined<'a> {
    outer: &'a Open,
    place: Place,
    failed: bool,
}

impl<'a> Joined<'a> {
    fn new(outer: &'a Open, place: Place) -> Self {
        outer.joined.fetch_add(1, SeqCst);
        Self { outer, place, failed: true }
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if self.failed {
            let _ = self.outer.rollback_only.set(self.place);
        }
        self.outer.joined.fetch_sub(1, SeqCst);
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    /// A request has one of these in it for each level of its transactions.
    #[tokio::test]
    async fn a_transactions_future_is_small() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let size = std::mem::size_of_val(&db.transaction(|_| async { Ok(()) }));
        assert!(size < 4096, "{size} bytes");
    }
}
