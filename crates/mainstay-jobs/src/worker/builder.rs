//! How a worker is put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::context::Context;
use super::handler::{self, Batch, Handlers, Info, Layer, Next};
use super::outcome::{IntoOutcome, Outcome};
use super::queue::Queue;
use super::{Worker, start};
use crate::cron::Schedule;
use crate::enqueue::record;
use crate::event::{self, Event};
use crate::job::Job;
use crate::lead::cron::Planned;

/// Jobs at a time, unless said otherwise.
const CONCURRENCY: usize = 10;

/// Puts a worker together: handlers, queues, schedules. Made by [`Worker::builder`].
#[must_use = "nothing runs until it is started"]
pub struct WorkerBuilder<S> {
    pub(super) db: Db,
    pub(super) state: Arc<S>,
    pub(super) name: Option<String>,
    pub(super) concurrency: usize,
    pub(super) strict: bool,
    pub(super) poll: Option<Duration>,
    pub(super) queues: Vec<Queue>,
    pub(super) groups: Vec<Queue>,
    pub(super) handlers: Handlers,
    pub(super) layers: Vec<Layer>,
    pub(super) schedules: Vec<Planned>,
    pub(super) leads: bool,
    pub(super) wrong: Option<Error>,
}

impl<S> fmt::Debug for WorkerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder").field("queues", &self.queues).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> WorkerBuilder<S> {
    pub(super) fn new(db: &Db, state: S) -> Self {
        Self {
            db: db.clone(),
            state: Arc::new(state),
            name: None,
            concurrency: CONCURRENCY,
            strict: false,
            poll: None,
            queues: Vec::new(),
            groups: Vec::new(),
            handlers: Handlers::default(),
            layers: Vec::new(),
            schedules: Vec::new(),
            leads: true,
            wrong: None,
        }
    }

    fn refuse(&mut self, error: Error) {
        self.wrong.get_or_insert(error);
    }

    /// What people see it by; default: host and process.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many jobs it runs at a time over all its queues. Default 10; 1 to 10,000. They are futures, not
    /// threads.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.clamp(1, 10_000);
        self
    }

    /// Serves its queues in the order in which they were given: a later one only while the earlier ones
    /// have nothing. Default: by [weight](Queue::weight).
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// How often it looks for jobs of which nobody told it. Default 1 s on PostgreSQL, whose NOTIFY tells
    /// of each, and 200 ms on the others; jobs of this process are told of at once everywhere.
    pub fn poll_interval(mut self, time: Duration) -> Self {
        self.poll = Some(time.max(Duration::from_millis(1)));
        self
    }

    /// A queue that it serves. Without any it serves `default`.
    pub fn queue(mut self, queue: Queue) -> Self {
        if let Err(error) = queue.check() {
            self.refuse(error);
        }
        if self.queues.iter().any(|other| other.name == queue.name) {
            let what = format!("the queue `{}` is given twice", queue.name);
            self.refuse(Error::new(Code::JobOption, what));
        }
        self.queues.push(queue);
        self
    }

    /// Handles the jobs of type `J`, whatever queue they come from.
    ///
    /// ```
    /// # use mainstay_jobs::{Context, Job, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl Job for Mail { const NAME: &'static str = "mail"; }
    /// # async fn f(db: mainstay_db::Db) -> mainstay_core::Result<()> {
    /// let worker = Worker::builder(&db, ())
    ///     .handle(|mail: Mail, ctx: Context<()>| async move {
    ///         println!("to {}, attempt {}", mail.to, ctx.attempt());
    ///         Ok(())
    ///     })
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn handle<J, F, Fut, R>(self, f: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
        R: IntoOutcome,
    {
        let handler = handler::of_job(&self.state, f);
        self.add(J::NAME, handler)
    }

    /// Handles the jobs of type `J` several at once. They succeed or fail together; each is then retried
    /// by itself. Their layers, steps and [`Context::transaction`] are not to be had in a batch, save that a
    /// transaction of one completes that one.
    pub fn handle_batch<J, F, Fut>(self, batch: Batch, f: F) -> Self
    where
        J: Job,
        F: Fn(Vec<(J, Context<S>)>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let handler = handler::of_batch(&self.state, batch, f);
        self.add(J::NAME, handler)
    }

    fn add(mut self, name: &'static str, handler: handler::Handler) -> Self {
        if !self.handlers.add(name, handler) {
            self.refuse(Error::new(Code::JobOption, format!("`{name}` has two handlers")));
        }
        self
    }

    /// Handles the events of type `E` for the group called `group`: each event comes to one member of each
    /// group, once. The group is made when the worker starts, and gets what is published from then on;
    /// [`event::replay`] gives it what was before.
    pub fn subscribe<E, F, Fut, R>(mut self, group: &str, f: F) -> Self
    where
        E: Event,
        F: Fn(E, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
        R: IntoOutcome,
    {
        let queue = event::queue_of(group);
        if !self.groups.iter().any(|other| other.name == queue) {
            self.groups.push(Queue::new(queue.clone()));
        }
        let handler = handler::of_event(&self.state, f);
        if !self.handlers.subscribe(&queue, E::NAME, handler) {
            let what = format!("`{}` has two handlers in the group `{group}`", E::NAME);
            self.refuse(Error::new(Code::JobOption, what));
        }
        self
    }

    /// How the deliveries of a group are treated, such as their concurrency, or the broker that carries
    /// them: `queue`'s name is the group's.
    pub fn group(mut self, queue: Queue) -> Self {
        let name = event::queue_of(&queue.name);
        self.groups.retain(|other| other.name != name);
        self.groups.push(Queue { name, ..queue });
        self
    }

    /// Enqueues the job that `make` gives whenever the schedule says so: once across the fleet, whichever
    /// workers run. `name` tells it from the other schedules.
    pub fn schedule<J, F>(mut self, name: impl Into<String>, schedule: Schedule, make: F) -> Self
    where
        J: Job,
        F: Fn() -> J + Send + Sync + 'static,
    {
        let name = name.into();
        if let Err(error) = crate::options::check_name(&name) {
            self.refuse(error);
        }
        if self.schedules.iter().any(|other| other.name == name) {
            self.refuse(Error::new(
                Code::JobOption,
                format!("the schedule `{name}` is given twice"),
            ));
        }
        let make = Arc::new(move || record(&make()));
        self.schedules.push(Planned { name, schedule, make });
        self
    }

    /// Puts something around every handler, the first given outermost: tracing, metrics, tenant set-up.
    ///
    /// ```
    /// # use mainstay_jobs::{Info, Next, Worker};
    /// # async fn f(db: mainstay_db::Db) -> mainstay_core::Result<()> {
    /// let builder = Worker::builder(&db, ()).layer(|info: Info, next: Next| async move {
    ///     println!("{} begins", info.name);
    ///     next.run().await
    /// });
    /// # Ok(()) }
    /// ```
    pub fn layer<F, Fut>(mut self, layer: F) -> Self
    where
        F: Fn(Info, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.layers.push(Arc::new(move |info, next| -> BoxFuture<'static, _> {
            Box::pin(layer(info, next))
        }));
        self
    }

    /// Leaves what one worker does for all (due times, schedules, events, the dead) to the others. Some
    /// worker must do it.
    pub fn never_leads(mut self) -> Self {
        self.leads = false;
        self
    }

    /// Makes the tables if they are not there, and begins.
    ///
    /// Cancel safe: dropped half-way, nothing runs; what was registered is found dead and removed.
    ///
    /// Errors: JOB-010 (what was given can't be used), JOB-001, and those of a statement.
    pub async fn start(self) -> Result<Worker> {
        Box::pin(start::start(self)).await
    }
}
