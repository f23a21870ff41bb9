//! The piece of work that statements and checkouts are attributed to: a request or a job, with its
//! name and, where it has one, its deadline.
//!
//! A scope belongs to a task. It does not cross `tokio::spawn` by itself: carry it with
//! [`Scope::current`] and [`Scope::run`].

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

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
        }))
    }

    /// The same scope with a time by which its work must be done.
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Self(Arc::new(Inner { deadline: Some(deadline), ..self.copied() }))
    }

    /// The same scope with no time by which its work must be done.
    pub fn without_deadline(self) -> Self {
        Self(Arc::new(Inner { deadline: None, ..self.copied() }))
    }

    /// The same scope with another priority than [`Priority::Normal`].
    pub fn with_priority(self, priority: Priority) -> Self {
        Self(Arc::new(Inner { priority, ..self.copied() }))
    }

    fn copied(&self) -> Inner {
        let Inner { id, kind, ref name, deadline, priority } = *self.0;
        Inner { id, kind, name: name.clone(), deadline, priority }
    }

    /// Runs `work` inside this scope.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
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

    /// Who is refused first.
    pub fn priority(&self) -> Priority {
        self.0.priority
    }
}
