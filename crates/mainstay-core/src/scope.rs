//! The piece of work that statements and checkouts are attributed to: a request or a job, with its
//! name and, where it has one, its deadline.
//!
//! A scope belongs to a task. It does not cross `tokio::spawn` by itself: carry it with
//! [`Scope::current`] and [`Scope::run`].

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Instant;

use crate::token::{Marks, Pending, Token, Tokens, Told};

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
        self.marks(|marks| marks.observe(token));
    }

    /// The tokens of what it wrote and was given, if they are known by now: all but those of statements outside
    /// transactions, whose positions come a moment later.
    pub fn tokens_now(&self) -> Option<Tokens> {
        let now = |told| match told {
            Told::Now(token) => Some(token),
            Told::Later(_) => None,
        };
        self.marks(|marks| marks.tokens(None)).into_iter().map(now).collect()
    }

    /// The tokens of what it wrote and was given. It waits for positions that are not known yet, for all of them together, for
    /// as long as their clusters say (250 ms); then that of such a one is unknown.
    ///
    /// Cancel safe.
    pub async fn tokens(&self) -> Tokens {
        self.tokens_except(None).await
    }

    /// As [`tokens`](Self::tokens), without that of one cluster, for which nothing is waited for then.
    pub async fn tokens_except(&self, cluster: Option<u64>) -> Tokens {
        let told = self.marks(|marks| marks.tokens(cluster));
        known(told).await.into_iter().collect()
    }

    /// Who is refused first.
    pub fn priority(&self) -> Priority {
        self.0.priority
    }
}

/// In the same order. They are waited for together, so that many take no longer than one.
async fn known(told: Vec<Told>) -> Vec<Token> {
    let later = |told: &Told| match told {
        Told::Now(_) => None,
        Told::Later(pending) => Some(Arc::clone(pending)),
    };
    let pending: Vec<Option<Arc<dyn Pending>>> = told.iter().map(later).collect();
    let mut waits: Vec<_> = pending.iter().map(|p| p.as_ref().map(|p| p.wait())).collect();
    let mut tokens: Vec<Option<Token>> = told
        .into_iter()
        .map(|told| match told {
            Told::Now(token) => Some(token),
            Told::Later(_) => None,
        })
        .collect();
    poll_fn(|cx| {
        for (wait, token) in waits.iter_mut().zip(&mut tokens) {
            if let Some(waiting) = wait
                && let Poll::Ready(known) = waiting.as_mut().poll(cx)
            {
                (*token, *wait) = (Some(known), None);
            }
        }
        if waits.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    tokens.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::time::Duration;

    use tokio::sync::Barrier;

    use super::*;
    use crate::clock::Clock;
    use crate::token::Position;

    /// Is known once all of them are waited for.
    #[derive(Debug)]
    struct Together(Arc<Barrier>, u64);

    impl Pending for Together {
        fn known(&self) -> Option<Token> {
            None
        }

        fn wait(&self) -> Pin<Box<dyn Future<Output = Token> + Send + '_>> {
            Box::pin(async {
                self.0.wait().await;
                Token::postgres(self.1, Position::Lsn(1))
            })
        }

        fn unknown(&self) -> Token {
            Token::postgres(self.1, Position::Unknown)
        }

        fn number(&self) -> u64 {
            0
        }
    }

    #[tokio::test]
    async fn all_positions_are_waited_for_together() {
        let scope = Scope::new(Kind::Request, "POST /");
        let barrier = Arc::new(Barrier::new(2));
        for cluster in [1, 2] {
            let pending = Arc::new(Together(Arc::clone(&barrier), cluster));
            scope.marks(|marks| marks.change(cluster, |mark| mark.wrote(pending)));
        }
        scope.observe(&Token::postgres(3, Position::Lsn(1)));
        assert_eq!(scope.tokens_now(), None);
        let tokens = Clock::system().timeout(Duration::from_secs(20), scope.tokens()).await;
        assert_eq!(tokens.unwrap().to_string(), "pg.1.0/1~pg.2.0/1~pg.3.0/1");
    }

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
