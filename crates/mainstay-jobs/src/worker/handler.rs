//! Handlers with their types forgotten, by the name of what they handle, and what is put around them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::{Error, Result};

use super::call::Call;
use super::context::Context;
use super::outcome::{IntoOutcome, Outcome};
use crate::event::Event;
use crate::job::Job;
use crate::retry::{Action, Backoff};

type Run = Box<dyn Fn(Arc<Call>) -> BoxFuture<'static, Result<Outcome>> + Send + Sync>;
type RunAll = Box<dyn Fn(Vec<Arc<Call>>) -> Gathered + Send + Sync>;
type Failed = Box<dyn Fn(&Call, u32, &Error) -> Action + Send + Sync>;

/// A handler of one job's name.
pub(crate) struct Handler {
    pub(crate) kind: Kind,
    /// Of the payloads that it reads.
    pub(crate) version: u32,
    pub(crate) failed: Failed,
    pub(crate) max_attempts: u32,
    pub(crate) timeout: Duration,
    pub(crate) retention: Option<Duration>,
}

pub(crate) enum Kind {
    One(Run),
    Batch(RunAll, Batch),
}

/// A batch that is about to run.
pub(crate) struct Gathered {
    /// What could not be read, and why: it must not keep the others back.
    pub(crate) refused: Vec<(Arc<Call>, Error)>,
    pub(crate) rest: Vec<Arc<Call>>,
    /// Not there if nothing is left to run.
    pub(crate) run: Option<BoxFuture<'static, Result<()>>>,
}

/// How jobs are gathered for a handler that takes several at once: whichever bound is reached first.
/// Each worker process gathers for itself, and keeps what it gathers as it keeps what runs.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// At most so many.
    pub size_max: usize,
    /// The first waits at most so long.
    pub wait_max: Duration,
}

impl Default for Batch {
    /// 100 jobs, 1 s.
    fn default() -> Self {
        Self { size_max: 100, wait_max: Duration::from_secs(1) }
    }
}

/// By queue, where it is of a group, and name.
#[derive(Default)]
pub(crate) struct Handlers {
    by_name: HashMap<&'static str, Arc<Handler>>,
    by_group: HashMap<String, HashMap<&'static str, Arc<Handler>>>,
}

impl Handlers {
    pub(crate) fn find(&self, queue: &str, name: &str) -> Option<&Arc<Handler>> {
        match self.by_group.get(queue) {
            Some(group) => group.get(name),
            None => self.by_name.get(name),
        }
    }

    pub(crate) fn add(&mut self, name: &'static str, handler: Handler) -> bool {
        self.by_name.insert(name, Arc::new(handler)).is_none()
    }

    pub(crate) fn subscribe(&mut self, queue: &str, name: &'static str, handler: Handler) -> bool {
        let group = self.by_group.entry(queue.to_owned()).or_default();
        group.insert(name, Arc::new(handler)).is_none()
    }

    /// The groups' queues, with the events of each.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, Vec<&'static str>)> {
        self.by_group.iter().map(|(queue, all)| (queue.as_str(), all.keys().copied().collect()))
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.by_name.keys().copied().collect()
    }
}

/// Something around every handler: it may look at the run, do something before and after, or not call
/// [`Next::run`] at all.
pub(crate) type Layer =
    Arc<dyn Fn(Info, Next) -> BoxFuture<'static, Result<Outcome>> + Send + Sync>;

/// What a layer is told of a run.
#[derive(Clone, Debug)]
pub struct Info {
    /// The job's number.
    pub id: crate::JobId,
    /// Its name.
    pub name: String,
    /// Its queue.
    pub queue: Arc<str>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Its headers, such as a trace's id.
    pub headers: std::collections::BTreeMap<String, String>,
}

/// The rest of the layers and the handler.
pub struct Next {
    layers: Arc<[Layer]>,
    at: usize,
    handler: Arc<Handler>,
    call: Arc<Call>,
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Next {
    /// Runs what is inside this layer.
    pub async fn run(self) -> Result<Outcome> {
        run(&self.layers, self.at, &self.handler, &self.call).await
    }
}

/// A run of one job, through the layers.
pub(crate) fn run(
    layers: &Arc<[Layer]>,
    at: usize,
    handler: &Arc<Handler>,
    call: &Arc<Call>,
) -> BoxFuture<'static, Result<Outcome>> {
    let Some(layer) = layers.get(at) else {
        return match &handler.kind {
            Kind::One(run) => run(Arc::clone(call)),
            Kind::Batch(..) => unreachable!("a batch runs as a whole"),
        };
    };
    let info = Info {
        id: crate::JobId(call.job.id),
        name: call.job.name.clone(),
        queue: Arc::clone(&call.queue),
        attempt: call.job.attempt.saturating_add(1),
        headers: call.options().headers.clone(),
    };
    let (layers, handler) = (Arc::clone(layers), Arc::clone(handler));
    layer(info, Next { layers, at: at + 1, handler, call: Arc::clone(call) })
}

/// What becomes of a job whose payload can't even be read: it may be a later version's, whose workers can.
fn unreadable(attempt: u32) -> Action {
    Action::Retry(Backoff::polynomial().after(attempt, &mainstay_core::rng::Rng::system()))
}

pub(crate) fn of_job<J, S, F, Fut, R>(state: &Arc<S>, f: F) -> Handler
where
    J: Job,
    S: Send + Sync + 'static,
    F: Fn(J, Context<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
    R: IntoOutcome,
{
    let state = Arc::clone(state);
    let run: Run = Box::new(move |call| {
        let read = call.read::<J>(J::VERSION, J::upcast);
        let ran = read.map(|job| f(job, Context { call, state: Arc::clone(&state) }));
        Box::pin(async move { ran?.await.map(IntoOutcome::into_outcome) })
    });
    Handler { kind: Kind::One(run), ..policy::<J>() }
}

pub(crate) fn of_batch<J, S, F, Fut>(state: &Arc<S>, batch: Batch, f: F) -> Handler
where
    J: Job,
    S: Send + Sync + 'static,
    F: Fn(Vec<(J, Context<S>)>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let state = Arc::clone(state);
    let run: RunAll = Box::new(move |calls| {
        let (mut refused, mut rest, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for call in calls {
            match call.read::<J>(J::VERSION, J::upcast) {
                Ok(job) => {
                    rest.push(Arc::clone(&call));
                    jobs.push((job, Context { call, state: Arc::clone(&state) }));
                }
                Err(error) => refused.push((call, error)),
            }
        }
        let run = (!jobs.is_empty()).then(|| -> BoxFuture<'static, _> { Box::pin(f(jobs)) });
        Gathered { refused, rest, run }
    });
    Handler { kind: Kind::Batch(run, batch), ..policy::<J>() }
}

/// Without a kind yet.
fn policy<J: Job>() -> Handler {
    let failed: Failed =
        Box::new(|call, attempt, error| match call.read::<J>(J::VERSION, J::upcast) {
            Ok(job) => job.failed(attempt, error),
            Err(_) => unreadable(attempt),
        });
    Handler {
        kind: Kind::One(Box::new(|_| Box::pin(async { Ok(Outcome::Done) }))),
        version: J::VERSION,
        failed,
        max_attempts: J::MAX_ATTEMPTS,
        timeout: J::TIMEOUT,
        retention: J::RETENTION,
    }
}

pub(crate) fn of_event<E, S, F, Fut, R>(state: &Arc<S>, f: F) -> Handler
where
    E: Event,
    S: Send + Sync + 'static,
    F: Fn(E, Context<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
    R: IntoOutcome,
{
    let state = Arc::clone(state);
    let run: Run = Box::new(move |call| {
        let read = call.read::<E>(E::VERSION, E::upcast);
        let ran = read.map(|event| f(event, Context { call, state: Arc::clone(&state) }));
        Box::pin(async move { ran?.await.map(IntoOutcome::into_outcome) })
    });
    let failed: Failed =
        Box::new(|call, attempt, error| match call.read::<E>(E::VERSION, E::upcast) {
            Ok(event) => event.failed(attempt, error),
            Err(_) => unreadable(attempt),
        });
    Handler {
        kind: Kind::One(run),
        version: E::VERSION,
        failed,
        max_attempts: E::MAX_ATTEMPTS,
        timeout: E::TIMEOUT,
        retention: None,
    }
}
