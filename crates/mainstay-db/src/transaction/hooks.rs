//! What is to be done right before a transaction commits, and after it was committed or rolled back.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Place, Result};

use crate::db::Db;

/// Hooks that may be asked for in one transaction, its savepoints included.
const HOOKS_MAX: usize = 1024;

type Work = Box<dyn FnOnce(Db) -> BoxFuture<'static, Result<()>> + Send>;

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    BeforeCommit,
    AfterCommit,
    AfterRollback,
}

pub(crate) struct Hook {
    when: When,
    /// Another of the same name is not needed.
    name: Option<String>,
    pub(crate) place: Place,
    pub(crate) work: Work,
}

/// A transaction's hooks, in the order in which they were given.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<List>);

#[derive(Default)]
struct List {
    /// It is too late for more.
    closed: bool,
    all: Vec<Hook>,
}

impl Hooks {
    fn list<T>(&self, f: impl FnOnce(&mut List) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Hook>) -> T) -> T {
        self.list(|list| f(&mut list.all))
    }

    fn add(&self, hook: Hook, given: &AtomicUsize) -> Result<()> {
        let place = hook.place;
        let same = |other: &Hook| other.name == hook.name && other.when == hook.when;
        if hook.name.is_some() && self.with(|all| all.iter().any(same)) {
            return Ok(());
        }
        if given.fetch_add(1, Relaxed) >= HOOKS_MAX {
            let what = format!("a transaction has {HOOKS_MAX} hooks at most");
            let fix = "collect what is to be done, and do it in one hook";
            return Err(Error::new(Code::TxHook, what).fix(fix).at(place));
        }
        self.list(|list| {
            if list.closed {
                let what = "this transaction has ended already";
                return Err(Error::new(Code::TxEnded, what).at(place));
            }
            list.all.push(hook);
            Ok(())
        })
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        self.list(|list| list.closed = true);
    }

    /// Takes no more, and drops what was not called: it may hold handles of its own transaction.
    pub(crate) fn clear(&self) {
        let rest = self.list(|list| {
            list.closed = true;
            std::mem::take(&mut list.all)
        });
        drop(rest);
    }

    /// Whether something is to be called when the transaction is over.
    pub(crate) fn has_after(&self) -> bool {
        self.with(|all| all.iter().any(|hook| hook.when != When::BeforeCommit))
    }

    pub(crate) fn take(&self, when: When) -> Vec<Hook> {
        self.with(|all| all.extract_if(.., |hook| hook.when == when).collect())
    }

    /// A savepoint was released: its hooks are those of what it was set in.
    pub(crate) fn move_to(&self, outer: &Hooks) {
        let moved = self.with(std::mem::take);
        outer.with(|all| all.extend(moved));
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hooks").field(&self.with(|all| all.len())).finish()
    }
}

impl Db {
    /// Has `hook` called inside the open transaction, right before its COMMIT, with its handle: for
    /// a last check, or to write down what was collected. In the order of asking; one that is asked
    /// for by another is called too.
    ///
    /// If it fails, the transaction is rolled back, and its error is the transaction's (and run
    /// again, if it is a conflict). A [`timeout`](crate::Tx::timeout) covers it. One asked for inside a nested transaction is called when the
    /// whole commits, and never if the nested one was rolled back. Without a transaction it is called
    /// at once.
    ///
    /// Errors: TX-001, TX-009 (more than 1,024 hooks); without a transaction, those of `hook`.
    #[track_caller]
    pub fn before_commit<F, Fut>(&self, hook: F) -> impl Future<Output = Result<()>> + Send + '_
    where
        F: FnOnce(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.hook(When::BeforeCommit, None, Place::here(), hook)
    }

    /// Has `hook` called once the open transaction was committed, with the pool's handle: for what
    /// must never happen for a transaction that was rolled back, such as a mail or a cache's
    /// invalidation. In the order of asking.
    ///
    /// The COMMIT of a transaction with such hooks, and the hooks, run in a task of their own, which
    /// goes on if the caller is dropped; otherwise the caller waits for it, unless it has another
    /// transaction open, which a hook might wait for. They have the request's or job's scope without
    /// its deadline, and 30 s each. They are lost if the process dies: what must happen goes into an
    /// outbox instead. One that fails, panics or takes longer is reported (TX-009), the others are
    /// called all the same, and the transaction's result stays `Ok`. Discarded with a nested transaction that was rolled back, and where COMMIT's answer was
    /// lost (TX-003). Without a transaction it is called at once.
    ///
    /// Errors: as [`before_commit`](Self::before_commit).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # db.query("CREATE TABLE users (name TEXT)").execute().await?;
    /// db.transaction(|tx| async move {
    ///     tx.query("INSERT INTO users (name) VALUES ($1)").bind("Ada").execute().await?;
    ///     tx.after_commit(|_db| async { Ok(println!("welcome")) }).await
    /// }).await?;
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn after_commit<F, Fut>(&self, hook: F) -> impl Future<Output = Result<()>> + Send + '_
    where
        F: FnOnce(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.hook(When::AfterCommit, None, Place::here(), hook)
    }

    /// As [`after_commit`](Self::after_commit), once: nothing is added where a hook of this name was asked
    /// for already in the same transaction. For what is done once however often its cause occurred,
    /// such as waking those who wait for it.
    #[track_caller]
    pub fn after_commit_once<F, Fut>(
        &self,
        name: impl Into<String>,
        hook: F,
    ) -> impl Future<Output = Result<()>> + Send + '_
    where
        F: FnOnce(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.hook(When::AfterCommit, Some(name.into()), Place::here(), hook)
    }

    /// Has `hook` called once what it was asked for in was rolled back, for whatever reason, with the
    /// pool's handle: to undo what the database can't. Called for each attempt that is rolled back,
    /// and for a nested transaction that is. Of one that was dropped or panicked, the rollback itself
    /// may still be under way then.
    ///
    /// It runs as [`after_commit`](Self::after_commit) does, for a nested transaction without being
    /// waited for, and its failure is reported in the same way. Never called where COMMIT's answer was lost, nor without a
    /// transaction.
    ///
    /// Errors: TX-001, TX-009 (more than 1,024 hooks).
    #[track_caller]
    pub fn after_rollback<F, Fut>(&self, hook: F) -> impl Future<Output = Result<()>> + Send + '_
    where
        F: FnOnce(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.hook(When::AfterRollback, None, Place::here(), hook)
    }

    async fn hook<F, Fut>(
        &self,
        when: When,
        name: Option<String>,
        place: Place,
        hook: F,
    ) -> Result<()>
    where
        F: FnOnce(Db) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        match &self.transaction {
            Some(open) => {
                open.check_open(place)?;
                let work: Work = Box::new(|db| Box::pin(hook(db)));
                open.hooks.add(Hook { when, name, place, work }, &open.whole.hooks_given)
            }
            None if when == When::AfterRollback => Ok(()),
            None => hook(self.clone()).await,
        }
    }
}
