//! A place in which one job runs at a time: through its layers, within its timeout, with its panics
//! caught. What its end means is decided here; writing that down is [`finish`](super::finish)'s.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::observe::{Job as Observed, JobEnd};
use mainstay_core::scope::{Kind as ScopeKind, Scope};
use mainstay_core::{Code, Error, Result};
use tokio::sync::mpsc;

use super::call::Call;
use super::finish::Ended;
use super::handler::{self, Handler, Kind};
use super::outcome::Outcome;
use super::pending::{Item, Unit};
use super::verdict;
use super::watch::{Spot, Watched};
use super::work::Work;
use crate::tokens;

/// Runs what is pending until no more is begun.
pub(crate) async fn slot(work: Arc<Work>, ends: mpsc::Sender<Ended>, spot: Arc<Spot>) {
    while let Some((line, unit)) = work.pending.next().await {
        let count = unit.calls.len();
        let running = Running { work: &work, line, count };
        run_unit(&work, unit, &ends, &spot).await;
        drop(running);
    }
}

/// Counts as running until it is dropped.
struct Running<'w> {
    work: &'w Work,
    line: usize,
    count: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.work.pending.ended(self.line, self.count);
    }
}

async fn run_unit(work: &Work, unit: Unit, ends: &mpsc::Sender<Ended>, spot: &Arc<Spot>) {
    let Some(first) = unit.calls.first() else { return };
    let Some(handler) = work.handlers.find(&first.call.queue, &first.call.job.name).cloned() else {
        for item in unit.calls {
            let end = verdict::unknown(&item.call);
            verdict::deliver(ends, item, end).await;
        }
        return;
    };
    match &handler.kind {
        Kind::One(_) => {
            for item in unit.calls {
                let outcome = run_one(work, &handler, &item.call, spot).await;
                conclude(ends, &handler, item, outcome).await;
            }
        }
        Kind::Batch(..) => run_batch(work, &handler, unit, ends, spot).await,
    }
}

async fn run_one(
    work: &Work,
    handler: &Arc<Handler>,
    call: &Arc<Call>,
    spot: &Arc<Spot>,
) -> Result<Outcome> {
    let limit = within(call, handler, work.clock.wall())?;
    let run = handler::run(&work.layers, 0, handler, call);
    bounded(work, std::slice::from_ref(call), limit, spot, run).await
}

/// How long it may take. Errors: JOB-006 where its deadline has passed.
fn within(call: &Call, handler: &Handler, now: std::time::SystemTime) -> Result<Duration> {
    let options = call.options();
    let timeout = options.timeout_ms.map_or(handler.timeout, Duration::from_millis);
    // What was done is undone however late it is.
    let Some(deadline_us) = options.deadline_us.filter(|_| options.undoing.is_none()) else {
        return Ok(timeout);
    };
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let left = deadline_us.saturating_sub(crate::options::micros(now));
    match u64::try_from(left) {
        Ok(left) if left > 0 => Ok(timeout.min(Duration::from_micros(left))),
        _ => {
            let what = format!("the deadline of job {} has passed", call.job.id);
            Err(Error::new(Code::JobDeadline, what).why("it was not done in time"))
        }
    }
}

/// Runs it in its scope, within its time, with its panics caught, until it is cancelled.
///
/// `calls` has at least one: what is told is told of the first.
async fn bounded<T>(
    work: &Work,
    calls: &[Arc<Call>],
    limit: Duration,
    spot: &Arc<Spot>,
    run: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let call = &calls[0];
    let scope = Scope::new(ScopeKind::Job, call.job.name.clone());
    for call in calls {
        tokens::give(&scope, &call.marks, &call.options().headers);
    }
    let scope = scope.with_deadline(work.clock.now() + limit.min(Duration::from_hours(24 * 365)));
    let began = work.clock.now();
    let run = Watched::new(AssertUnwindSafe(run).catch_unwind(), spot, &work.clock, call);
    let work_of_it = async {
        tokio::select! {
            biased;
            () = call.cancel.notified() => Err(cancelled(call)),
            ran = work.clock.timeout(limit, run) => match ran {
                None => Err(timed_out(call, limit)),
                Some(Err(panic)) => Err(panicked(call, &*panic)),
                Some(Ok(ran)) => ran,
            },
        }
    };
    let outcome = scope.clone().run(work_of_it).await;
    if work.db.observer().is_active() {
        let end = match &outcome {
            Ok(_) => JobEnd::Completed,
            Err(error) if error.code() == Code::JobSuspended => JobEnd::Suspended,
            Err(error) => JobEnd::Failed(error),
        };
        work.db.observer().job(&Observed {
            id: call.job.id,
            name: &call.job.name,
            queue: &call.queue,
            attempt: call.job.attempt.saturating_add(1),
            duration: work.clock.now().saturating_duration_since(began),
            scope: &scope,
            end,
        });
    }
    outcome
}

fn cancelled(call: &Call) -> Error {
    let what = format!("job {} (`{}`) was cancelled while it ran", call.job.id, call.job.name);
    Error::new(Code::JobCancelled, what)
}

fn timed_out(call: &Call, limit: Duration) -> Error {
    let what = format!("job {} (`{}`) took longer than {limit:?}", call.job.id, call.job.name);
    Error::new(Code::JobTimeout, what).why("its future was dropped at an await")
}

fn panicked(call: &Call, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let what = format!("the handler of job {} (`{}`) panicked", call.job.id, call.job.name);
    Error::new(Code::JobPanicked, what).why(text.unwrap_or_else(|| "without a message".to_owned()))
}

async fn run_batch(
    work: &Work,
    handler: &Arc<Handler>,
    unit: Unit,
    ends: &mpsc::Sender<Ended>,
    spot: &Arc<Spot>,
) {
    let Kind::Batch(run_all, _) = &handler.kind else { return };
    let gathered = run_all(unit.calls.iter().map(|item| Arc::clone(&item.call)).collect());
    let mut outcomes: Vec<(i64, Result<Outcome>)> =
        gathered.refused.into_iter().map(|(call, error)| (call.job.id, Err(error))).collect();
    if let Some(run) = gathered.run.filter(|_| !gathered.rest.is_empty()) {
        let ran = bounded(work, &gathered.rest, handler.timeout, spot, run).await;
        for call in &gathered.rest {
            let outcome = match &ran {
                Ok(()) => Ok(Outcome::Done),
                Err(error) => Err(again(error)),
            };
            outcomes.push((call.job.id, outcome));
        }
    }
    for item in unit.calls {
        let at = outcomes.iter().position(|(id, _)| *id == item.call.job.id);
        let outcome = at.map_or(Ok(Outcome::Done), |at| outcomes.swap_remove(at).1);
        conclude(ends, handler, item, outcome).await;
    }
}

/// The same failure, for each job of a batch.
fn again(error: &Error) -> Error {
    let again = Error::new(error.code(), error.what().to_owned()).retry(error.retryability());
    match error.reason() {
        Some(why) => again.why(why.to_owned()),
        None => again,
    }
}

async fn conclude(
    ends: &mpsc::Sender<Ended>,
    handler: &Handler,
    item: Item,
    outcome: Result<Outcome>,
) {
    let completed = item.call.completed.load(Relaxed);
    let verdict = verdict::of(&item.call, handler, completed, outcome);
    let verdict = Box::pin(verdict::undone(&item.call, handler, verdict)).await;
    verdict::deliver(ends, item, verdict).await;
}
