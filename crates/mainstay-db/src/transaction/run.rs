//! One attempt at a transaction: from BEGIN to its end, in whatever way, and what is called then.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::observe::{self, FindingKind, Outcome, next_id};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place, Result, Retry};
use mainstay_pool::Lease;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::current::{self, Frame};
use super::hooks::{Hook, When};
use super::open::{Open, Whole};
use super::{Plan, Until};
use crate::connection::Activity;
use crate::db::Db;
use crate::deadline::scope_deadline;
use crate::driver::Driver;
use crate::error::from_driver;
use crate::lock::Named;

/// One attempt. Dropped before [`end`](Run::end) is through, it rolls back.
pub(crate) struct Run {
    db: Db,
    open: Arc<Open>,
    plan: Plan,
    attempt: u32,
    until: Option<Until>,
    told: bool,
}

impl Run {
    pub(crate) async fn begin(
        db: &Db,
        plan: Plan,
        place: Place,
        attempt: u32,
        until: Option<Until>,
    ) -> Result<Self> {
        let shared = &db.shared;
        let reads = plan.access.read_only;
        // One that was asked for on a transaction's handle has that one open, on whatever task.
        let own = || {
            let open = db.transaction.clone();
            open.map(|open| Frame { open, suspended: false })
        };
        let outer = current::frame().or_else(own);
        let held = match &db.transaction {
            Some(_) => current::held(outer.as_ref(), shared, reads),
            None => current::beside(db, reads, place),
        };
        let mut lease = shared.pool(reads).acquire_beside(held, place).await?;
        let begun = shared.clock.now();
        let limit = db.server_limit(until.map(|u| u.at));
        let begins = lease.begin(plan.access, limit);
        db.in_time(db.deadline(), begins).await.map_err(|e| e.at(place))?;
        let whole = Whole {
            id: next_id(),
            shared: Arc::clone(shared),
            place,
            access: plan.access,
            begun,
            connection: lease.id(),
            outer,
            schema: AtomicBool::new(false),
            statements: AtomicU32::new(0),
            locks: Named::default(),
        };
        let open = Arc::new(Open::new(whole, lease));
        let db = Db { shared: Arc::clone(shared), transaction: None };
        Ok(Self { db, open, plan, attempt, until, told: false })
    }

    pub(crate) fn handle(&self) -> Db {
        let transaction = Some(Arc::clone(&self.open));
        Db { shared: Arc::clone(&self.db.shared), transaction }
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame { open: Arc::clone(&self.open), suspended: false }
    }

    /// Settles it as `outcome` says. The second is the wait before the next attempt, where there is
    /// to be one.
    pub(crate) async fn end<T>(self, outcome: Result<T>) -> (Result<T>, Option<Duration>) {
        let commits = |outcome: &Result<T>| outcome.as_ref().err().is_none_or(|e| !e.rolls_back());
        let outcome = match outcome {
            outcome if commits(&outcome) => match self.call_before_commit().await {
                Ok(()) => outcome,
                Err(error) => Err(error),
            },
            outcome => outcome,
        };
        match outcome {
            Err(error) if error.rolls_back() => {
                let again = self.retry_after(&error);
                self.give_up(&error, again).await;
                (Err(error), again)
            }
            outcome => match self.finish().await {
                (Ok(()), _) => (outcome, None),
                (Err(error), again) => {
                    let error = match outcome {
                        Err(own) => error.cause(own),
                        Ok(_) => error,
                    };
                    (Err(error), again)
                }
            },
        }
    }

    /// Commits, in a task of its own where something is to be called afterwards: that is not to
    /// depend on whether the caller stays.
    async fn finish(mut self) -> (Result<()>, Option<Duration>) {
        if !self.open.hooks.has(When::AfterCommit) {
            return self.commit().await;
        }
        let job = async move {
            let ended = self.commit().await;
            if ended.0.is_ok()
                && let Some(hooks) = call_hooks(&self.open, When::AfterCommit)
            {
                let _ = hooks.await;
            }
            ended
        };
        let job = match Scope::current() {
            Some(scope) => tokio::spawn(scope.run(job)),
            None => tokio::spawn(job),
        };
        job.await.unwrap_or_else(|_| {
            let what = "the runtime ended while COMMIT was on its way";
            (Err(Error::new(Code::TxAmbiguous, what)), None)
        })
    }

    /// One hook may ask for another; the bound on their number ends that.
    async fn call_before_commit(&self) -> Result<()> {
        loop {
            let hooks = self.open.hooks.take(When::BeforeCommit);
            if hooks.is_empty() {
                return Ok(());
            }
            for Hook { place, work, .. } in hooks {
                self.frame().run(work(self.handle())).await.map_err(|e| e.at(place))?;
            }
        }
    }

    async fn commit(&mut self) -> (Result<()>, Option<Duration>) {
        let limit = self.db.shared.options.acquire_timeout;
        let lease = self.open.last_turn(&self.db.shared.clock, limit).await;
        let committed = match lease {
            Some(lease) => self.commit_on(lease).await,
            None => Err(Error::new(Code::TxBusy, "a statement of the transaction has not ended")
                .why("a task that the closure spawned still uses it")),
        };
        let committed = committed.map_err(|e| e.at(self.open.whole.place));
        // Where a statement still has the connection, its end gives it back.
        self.open.abandon();
        let mut again = None;
        match &committed {
            Ok(()) => self.tell(true, Outcome::Done, None),
            Err(error) => {
                again = self.retry_after(error);
                self.tell(false, Outcome::Failed(error), again);
                if error.code() != Code::TxAmbiguous
                    && let Some(hooks) = call_hooks(&self.open, When::AfterRollback)
                {
                    let _ = hooks.await;
                }
            }
        }
        (committed, again)
    }

    async fn commit_on(&self, mut lease: Lease<Driver>) -> Result<()> {
        if let Err(error) = self.check_commit(&mut lease).await {
            self.rollback(lease).await;
            return Err(error);
        }
        let committed = self.db.commit_in_time(&mut lease, self.until.map(|u| u.at)).await?;
        let Err(error) = committed else {
            self.unlock(&mut lease).await;
            return Ok(());
        };
        let broken = lease.state.broken;
        let error = from_driver(error, Some("COMMIT"));
        if broken {
            return Err(Error::new(Code::TxAmbiguous, "the answer to COMMIT was lost").cause(error));
        }
        // Most servers have rolled back themselves; one more ROLLBACK makes sure of all.
        self.rollback(lease).await;
        Err(error)
    }

    /// Whether COMMIT may be sent: what failed in it, or past its time, must not be kept by half.
    async fn check_commit(&self, lease: &mut Lease<Driver>) -> Result<()> {
        let refused = |why: String| {
            let what = "the transaction was rolled back, not committed";
            Err(Error::new(Code::TxRollbackOnly, what).why(why))
        };
        if let Some(place) = self.open.rollback_only.get() {
            return refused(format!(
                "the part that joined it at {place} failed, and its error was swallowed"
            ));
        }
        let lost = lease.state.lost_transaction;
        if !lost {
            self.db.make_ready(lease).await?;
        }
        let limit = self.db.shared.options.validation_timeout;
        if self.db.shared.clock.timeout(limit, lease.is_aborted()).await.unwrap_or(true) {
            return refused("a statement in it failed so that the whole was given up, and its error was swallowed".to_owned());
        }
        let now = self.db.shared.clock.now();
        if let Some(until) = self.until.filter(|until| until.at <= now) {
            return Err(until.passed());
        }
        match scope_deadline().filter(|deadline| deadline.at <= now) {
            Some(deadline) => Err(self.db.passed(deadline, "the transaction")),
            None => Ok(()),
        }
    }

    async fn give_up(mut self, error: &Error, again: Option<Duration>) {
        let limit = self.db.shared.options.acquire_timeout;
        if let Some(lease) = self.open.last_turn(&self.db.shared.clock, limit).await {
            self.rollback(lease).await;
        }
        self.open.abandon();
        self.tell(false, Outcome::Failed(error), again);
        if let Some(hooks) = call_hooks(&self.open, When::AfterRollback) {
            let _ = hooks.await;
        }
    }

    /// Rolls back at once where the connection is free for it and answers; else the pool sees to it.
    /// Either way within the pool's bound for that.
    async fn rollback(&self, mut lease: Lease<Driver>) {
        if !lease.state.broken && lease.state.activity == Activity::Idle {
            let shared = &self.db.shared;
            // If it fails, the connection comes back as one with an open transaction.
            let rolled = shared.clock.timeout(shared.options.recover_timeout, lease.rollback());
            if matches!(rolled.await, Some(Ok(()))) {
                self.unlock(&mut lease).await;
            }
        }
    }

    /// Lets go of the locks by name that its session has; if that fails, the pool does.
    async fn unlock(&self, lease: &mut Lease<Driver>) {
        if lease.state.locks {
            let shared = &self.db.shared;
            let _ = shared.clock.timeout(shared.options.recover_timeout, lease.unlock()).await;
        }
    }

    fn retry_after(&self, error: &Error) -> Option<Duration> {
        let shared = &self.db.shared;
        if error.retryability() != Retry::Transaction {
            return None;
        }
        let wait = self.plan.retry.after(self.attempt, &shared.rng)?;
        let deadline = [self.until.map(|u| u.at), scope_deadline().map(|d| d.at)];
        let deadline = deadline.into_iter().flatten().min();
        let in_time = deadline.is_none_or(|at| shared.clock.now() + wait < at);
        in_time.then_some(wait)
    }

    fn tell(&mut self, committed: bool, outcome: Outcome<'_>, retry_after: Option<Duration>) {
        self.told = true;
        self.open.whole.locks.clear();
        let (shared, whole) = (&self.db.shared, &self.open.whole);
        if whole.schema.load(SeqCst) {
            shared.schema_epoch.fetch_add(1, SeqCst);
        }
        if shared.observer.is_active() {
            shared.observer.transaction(&observe::Transaction {
                pool: &shared.name,
                id: whole.id,
                place: whole.place,
                scope: Scope::current().as_ref(),
                connection: whole.connection,
                attempt: self.attempt,
                retry_after,
                statements: whole.statements.load(SeqCst),
                duration: shared.clock.now().saturating_duration_since(whole.begun),
                committed,
                outcome,
            });
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.told {
            self.open.abandon();
            self.tell(false, Outcome::Cancelled, None);
            call_hooks(&self.open, When::AfterRollback);
        }
    }
}

/// Calls the hooks for `when`, one after the other, in a task of its own.
pub(crate) fn call_hooks(open: &Open, when: When) -> Option<JoinHandle<()>> {
    let hooks = open.hooks.take(when);
    if hooks.is_empty() {
        return None;
    }
    // A transaction may be dropped where no runtime is; then nothing can be called any more.
    let runtime = Handle::try_current().ok()?;
    let whole = Arc::clone(&open.whole);
    let calls = async move {
        for hook in hooks {
            call(&whole, hook).await;
        }
    };
    Some(match Scope::current() {
        Some(scope) => runtime.spawn(scope.run(calls)),
        None => runtime.spawn(calls),
    })
}

/// The transaction is over: what fails here can only be told.
async fn call(whole: &Whole, hook: Hook) {
    let Hook { place, work, .. } = hook;
    let db = Db { shared: Arc::clone(&whole.shared), transaction: None };
    let called = AssertUnwindSafe(async { work(db).await }).catch_unwind().await;
    let error = match called {
        Ok(Ok(())) => return,
        Ok(Err(error)) => {
            Error::new(Code::TxHook, "a hook failed after its transaction").cause(error)
        }
        Err(_) => Error::new(Code::TxHook, "a hook panicked after its transaction"),
    };
    let error = error.why(format!("the transaction was begun at {}", whole.place)).at(place);
    current::report(whole, FindingKind::HookFailed, &error, place);
}
