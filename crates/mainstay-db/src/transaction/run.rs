//! One attempt at a transaction: from BEGIN to its end, in whatever way, and what is called then.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::observe::{self, FindingKind, Outcome, next_id};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place, Result, Retry};
use mainstay_pool::Lease;
use tokio::task::JoinHandle;

use super::current::{self, Frame};
use super::hooks::{Hook, When};
use super::open::{Open, Whole, still_used};
use super::tx::{Plan, Until};
use crate::connection::{Activity, Commit};
use crate::db::Db;
use crate::deadline::scope_deadline;
use crate::driver::Driver;
use crate::error::from_driver;
use crate::lock::Named;
use crate::route::{Doubt, Work};

/// How long a hook may take when its transaction is over.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

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
        let route = db.route.clone();
        let work = if plan.access.read_only { Work::ReadOnly } else { Work::Write };
        let there = match &route {
            None => None,
            // A transaction beside an open one is routed anew.
            Some(_) => Db { transaction: None, ..db.clone() }.chosen(work, place).await?,
        };
        let db = there.as_ref().unwrap_or(db);
        let shared = &db.shared;
        let outer = current::frame(db);
        if db.transaction.is_none() {
            current::look_past(db, place);
        }
        let mut lease = db.acquire(plan.access.read_only, place).await?;
        let begun = shared.clock.now();
        let limit = db.server_limit(until.map(|u| u.at));
        let begins = lease.begin(plan.access, limit);
        db.in_time(db.deadline(), begins).await.map_err(|e| e.at(place))?;
        let whole = Whole {
            id: next_id(),
            shared: Arc::clone(shared),
            route: route.clone(),
            place,
            access: plan.access,
            begun,
            connection: lease.id(),
            outer,
            schema: AtomicBool::new(false),
            statements: AtomicU32::new(0),
            hooks_given: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            locks: Named::default(),
        };
        let open = Arc::new(Open::new(whole, lease));
        let db = Db { shared: Arc::clone(shared), transaction: None, route };
        Ok(Self { db, open, plan, attempt, until, told: false })
    }

    pub(super) fn open(&self) -> Arc<Open> {
        Arc::clone(&self.open)
    }

    pub(crate) fn handle(&self) -> Db {
        let transaction = Some(Arc::clone(&self.open));
        Db { transaction, ..self.db.clone() }
    }

    /// Whether the task has another transaction open around it.
    pub(crate) fn is_inside(&self) -> bool {
        self.open.whole.outer.is_some()
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame::of(&self.open)
    }

    /// Settles it as `outcome` says. The second is the wait before the next attempt, where there is
    /// to be one.
    pub(crate) async fn end<T>(self, outcome: Result<T>) -> (Result<T>, Option<Duration>) {
        let commits = |outcome: &Result<T>| outcome.as_ref().err().is_none_or(|e| !e.rolls_back());
        let outcome = match outcome {
            outcome if commits(&outcome) => match self.before_commit().await {
                Ok(()) => outcome,
                Err(error) => Err(error),
            },
            outcome => outcome,
        };
        match outcome {
            Err(error) if error.rolls_back() => {
                let again = self.retry_after(&error);
                Box::pin(self.give_up(&error, again)).await;
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

    /// Commits, in a task of its own where something is to be called afterwards: what is called is
    /// not to depend on whether the caller stays to hear how COMMIT went.
    async fn finish(mut self) -> (Result<()>, Option<Duration>) {
        self.open.hooks.close();
        if !self.open.hooks.has_after() {
            return self.commit().await;
        }
        let job = Box::pin(async move { self.commit().await });
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
    async fn before_commit(&self) -> Result<()> {
        let calls = Box::pin(self.call_before_commit());
        self.db.within(self.until, self.open.whole.place, calls).await
    }

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
            None => Err(still_used()),
        };
        let committed = committed.map_err(|e| e.at(self.open.whole.place));
        // Where a statement still has the connection, its end gives it back.
        self.open.abandon();
        let again = committed.as_ref().err().and_then(|error| self.retry_after(error));
        match &committed {
            // Whether it will be committed is not decided here.
            Ok(()) if self.plan.access.prepared.is_some() => self.tell(true, Outcome::Done, None),
            Ok(()) => {
                self.tell(true, Outcome::Done, None);
                Box::pin(self.call_after(When::AfterCommit)).await;
            }
            Err(error) => {
                self.tell(false, Outcome::Failed(error), again);
                if error.code() != Code::TxAmbiguous {
                    Box::pin(self.call_after(When::AfterRollback)).await;
                }
            }
        }
        (committed, again)
    }

    /// Calls the hooks, and waits for them unless the task has another transaction open: they may
    /// want what that keeps.
    async fn call_after(&self, when: When) {
        let hooks = call_hooks(&self.open, when);
        self.open.hooks.clear();
        if let Some(hooks) = hooks.filter(|_| self.open.whole.outer.is_none()) {
            let _ = hooks.await;
        }
    }

    async fn commit_on(&self, mut lease: Lease<Driver>) -> Result<()> {
        if let Err(error) = Box::pin(self.check_commit(&mut lease)).await {
            self.rollback(lease).await;
            return Err(error);
        }
        let route = self.db.route.as_ref().filter(|_| !self.plan.access.read_only);
        let how = match (self.plan.access.prepared, route) {
            (Some(id), _) => Commit::Prepare(id),
            (None, Some(route)) if route.wants_positions() => Commit::Position,
            _ => Commit::Plain,
        };
        let until = self.until.map(|u| u.at);
        let mut doubt = Doubt::new(route.map(|route| &**route), Work::Write);
        let committed = match self.db.commit_in_time(&mut lease, until, how).await {
            Ok(committed) => committed,
            Err(error) => return Err(self.unanswered(error)),
        };
        let error = match committed {
            Err(error) => error,
            Ok(position) => {
                if let (Some(route), None) = (route, self.plan.access.prepared) {
                    route.done(Work::Write, position.as_deref());
                }
                doubt.settled();
                self.unlock(&mut lease).await;
                // If it fails, the pool does it.
                let _ = lease.synchronize().await;
                return Ok(());
            }
        };
        let broken = lease.state.broken;
        let error = from_driver(error, Some("COMMIT"));
        if broken {
            return Err(Error::new(Code::TxAmbiguous, "the answer to COMMIT was lost").cause(error));
        }
        doubt.failed(&error);
        // Most servers have rolled back themselves; one more ROLLBACK makes sure of all.
        self.rollback(lease).await;
        Err(error)
    }

    /// What there is to say of a COMMIT that took too long.
    fn unanswered(&self, error: Error) -> Error {
        match self.plan.access.durability.filter(|durability| durability.waits_for_standby()) {
            Some(durability) => error
                .why(format!("{durability} waits for a standby: most likely none has answered, and it is committed on the primary alone"))
                .fix("don't run it again: look whether it is there, and at the standbys in pg_stat_replication"),
            None => error,
        }
    }

    /// Whether COMMIT may be sent: what failed in it, or past its time, must not be kept by half.
    async fn check_commit(&self, lease: &mut Lease<Driver>) -> Result<()> {
        let what = "the transaction was rolled back, not committed";
        self.open.check_parts(what)?;
        let lost = lease.state.lost_transaction;
        if !lost {
            self.db.make_ready(lease).await?;
        }
        let limit = self.db.shared.options.validation_timeout;
        if self.db.shared.clock.timeout(limit, lease.is_aborted()).await.unwrap_or(true) {
            return Err(Error::new(Code::TxRollbackOnly, what).why(
                "a statement in it failed so that the whole was given up, and its error was swallowed",
            ));
        }
        let now = self.db.shared.clock.now();
        if let Some(until) = self.until.filter(|until| until.at <= now) {
            return Err(until.passed(self.open.whole.place));
        }
        match scope_deadline().filter(|deadline| deadline.at <= now) {
            Some(deadline) => Err(self.db.passed(deadline, "the transaction")),
            None => Ok(()),
        }
    }

    async fn give_up(mut self, error: &Error, again: Option<Duration>) {
        let limit = self.db.shared.options.acquire_timeout;
        self.open.hooks.close();
        if let Some(lease) = self.open.last_turn(&self.db.shared.clock, limit).await {
            self.rollback(lease).await;
        }
        self.open.abandon();
        self.tell(false, Outcome::Failed(error), again);
        self.call_after(When::AfterRollback).await;
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
        // The key has left this database: it is run again on another, by who has the map.
        if error.retryability() != Retry::Transaction || error.code() == Code::ShardStale {
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
            self.open.hooks.clear();
        }
    }
}

/// Calls the hooks for `when`, one after the other, in a task of its own.
pub(crate) fn call_hooks(open: &Open, when: When) -> Option<JoinHandle<()>> {
    let hooks = open.hooks.take(when);
    if hooks.is_empty() {
        return None;
    }
    let whole = Arc::clone(&open.whole);
    let calls = async move {
        for hook in hooks {
            call(&whole, hook).await;
        }
    };
    // The handle's runtime: a transaction may be dropped where none is. And without the deadline that
    // may be why it was rolled back.
    let runtime = &open.whole.shared.runtime;
    Some(match Scope::current() {
        Some(scope) => runtime.spawn(scope.without_deadline().run(calls)),
        None => runtime.spawn(calls),
    })
}

/// The transaction is over: what fails here can only be told.
async fn call(whole: &Whole, hook: Hook) {
    let Hook { place, work, .. } = hook;
    let (shared, route) = (Arc::clone(&whole.shared), whole.route.clone());
    let db = Db { shared, transaction: None, route };
    let called = AssertUnwindSafe(async { work(db).await }).catch_unwind();
    let error = match whole.shared.clock.timeout(HOOK_TIMEOUT, called).await {
        Some(Ok(Ok(()))) => return,
        Some(Ok(Err(error))) => {
            Error::new(Code::TxHook, "a hook failed after its transaction").cause(error)
        }
        Some(Err(_)) => Error::new(Code::TxHook, "a hook panicked after its transaction"),
        None => {
            let what = format!("a hook was not over {HOOK_TIMEOUT:?} after its transaction");
            Error::new(Code::TxHook, what)
        }
    };
    let error = error.why(format!("the transaction was begun at {}", whole.place)).at(place);
    current::report(whole, FindingKind::HookFailed, &error, place);
}
