//! The piece of work that statements and checkouts are attributed to: a request or a job, with its
//! name and, where it has one, its deadline.
//!
//! A scope belongs to a task. It does not cross `tokio::spawn` by itself: carry it with
//! [`Scope::current`] and [`Scope::run`].

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::token::{Marks, Token, Tokens};

tokio::task_local! {
    static CURRENT: Scope;
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What kind of work a [`Scope`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An incoming request.
    Request,
    /// A background job.
    Job,
}

/// Who is refused first when there is too much to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Can wait for another day: refused as soon as there is too much.
    Low,
    /// Refused when it has waited for too long to be of use.
    #[default]
    Normal,
    /// Never refused for load: logins, payments, health.
    High,
}

/// A request or job. Cheap to clone.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use mainstay_core::scope::{Kind, Scope};
///
/// let name = Scope::new(Kind::Request, "GET /users")
///     .run(async { Scope::current().map(|s| s.name().to_owned()) })
///     .await;
/// assert_eq!(name.as_deref(), Some("GET /users"));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Scope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    kind: Kind,
    name: Cow<'static, str>,
    deadline: Option<Instant>,
    priority: Priority,
    /// Shared by its clones, whatever else they were given.
    marks: Arc<Mutex<Marks>>,
}

impl Scope {
    /// A new scope: `name` is the route or the job's name, never anything that differs per call.
    pub fn new(kind: Kind, name: impl Into<Cow<'static, str>>) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner {
            id,
            kind,
            name: name.into(),
            deadline: None,
            priority: Priority::default(),
            marks: Arc::default(),
        }))
    }

    /// The same scope with a time by which its work must be done.
    pub fn with_deadline(self, deadline: Instant) -> Self {
        self.changed(|inner| inner.deadline = Some(deadline))
    }

    /// The same scope with no time by which its work must be done.
    pub fn without_deadline(self) -> Self {
        self.changed(|inner| inner.deadline = None)
    }

    /// The same scope with another priority than [`Priority::Normal`].
    pub fn with_priority(self, priority: Priority) -> Self {
        self.changed(|inner| inner.priority = priority)
    }

    /// In place where nobody else has it, which is so while it is made.
    fn changed(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(own) = Arc::get_mut(&mut self.0) {
            change(own);
            return self;
        }
        let Inner { id, kind, ref name, deadline, priority, ref marks } = *self.0;
        let (name, marks) = (name.clone(), Arc::clone(marks));
        let mut copy = Inner { id, kind, name, deadline, priority, marks };
        change(&mut copy);
        Self(Arc::new(copy))
    }

    /// Runs `work` inside this scope.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Runs `work`, which does not wait, inside this scope: one poll of a future, or its drop.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// The scope of the running task, if it has one.
    pub fn current() -> Option<Scope> {
        CURRENT.try_with(Scope::clone).ok()
    }

    /// Unique within this process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Request or job.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The route or the job's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The time by which its work must be done.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// The same scope, whose [marks](Self::marks) are those of `other` from now on: they are parts of one piece of work.
    pub fn sharing_marks_of(self, other: &Scope) -> Self {
        let marks = Arc::clone(&other.0.marks);
        self.changed(|inner| inner.marks = marks)
    }

    /// Looks at its marks, or changes them: how far each cluster must have come for what is read in it. Clones of the
    /// scope share them. `change` must not wait, nor ask for the marks.
    ///
    /// `mainstay-route` notes what was written; requests and jobs carry it on as [`tokens`](Self::tokens).
    pub fn marks<T>(&self, change: impl FnOnce(&mut Marks) -> T) -> T {
        change(&mut self.0.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is read in it from now on covers `token`.
    pub fn observe(&self, token: &Token) {
        self.marks(|marks| marks.change(token.cluster(), |mark| mark.observe(token)));
    }

    /// The tokens of what it wrote and was given, if they are known by now: all but those of statements outside
    /// transactions, whose positions come a moment later.
    pub fn tokens_now(&self) -> Option<Tokens> {
        let (tokens, open) = self.marks(|marks| marks.tokens(None));
        open.is_empty().then_some(tokens)
    }

    /// The tokens of what it wrote and was given. It waits for positions that are not known yet, for as long as their
    /// clusters say; then that of such a one is unknown.
    ///
    /// Cancel safe.
    pub async fn tokens(&self) -> Tokens {
        self.tokens_except(None).await
    }

    /// As [`tokens`](Self::tokens), without that of one cluster, for which nothing is waited for then.
    pub async fn tokens_except(&self, cluster: Option<u64>) -> Tokens {
        let (tokens, open) = self.marks(|marks| marks.tokens(cluster));
        let mut all: Vec<Token> = tokens.iter().cloned().collect();
        for pending in open {
            all.push(pending.wait().await);
        }
        all.into_iter().collect()
    }

    /// Who is refused first.
    pub fn priority(&self) -> Priority {
        self.0.priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn work_that_does_not_wait_is_inside_while_it_runs() {
        let name = || Scope::current().map(|scope| scope.name().to_owned());
        let (outer, inner) = (Scope::new(Kind::Request, "outer"), Scope::new(Kind::Job, "inner"));
        outer.enter(|| {
            assert_eq!(inner.enter(name).as_deref(), Some("inner"));
            assert_eq!(name().as_deref(), Some("outer"));
        });
        assert_eq!(name(), None);
    }

    #[test]
    fn a_change_of_a_clone_leaves_the_others_as_they_are() {
        let scope = Scope::new(Kind::Request, "GET /").with_priority(Priority::High);
        let limited = scope.clone().with_deadline(Clock::system().now());
        assert!(limited.deadline().is_some() && scope.deadline().is_none());
        assert_eq!((limited.id(), limited.priority()), (scope.id(), Priority::High));
        assert_eq!(limited.without_deadline().deadline(), None);
    }
}
