//! What the end of a run means: done, again later, ended for good. Pure, but for telling the broker.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::call::Call;
use super::finish::Ended;
use super::handler::Handler;
use super::outcome::Outcome;
use super::pending::Item;
use crate::options::{Options, micros};
use crate::retry::{Action, Backoff};
use crate::store::settle::{End, Settled};

/// Errors of a job that are kept, the last ones.
const ERRORS_MAX: usize = 10;
/// Characters of an error's text that are kept.
const TEXT_MAX: usize = 2_000;
/// How long what ended without success is kept: long enough for somebody to look.
const DEAD_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
const CANCELLED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A job that no handler knows is tried again this often, for so long: a worker that knows it may be
/// on its way.
const UNKNOWN_AGAIN: Duration = Duration::from_secs(10);
const UNKNOWN_TRIES: u32 = 8_640;

/// An attempt that failed, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which attempt.
    pub attempt: u32,
    /// When, by the worker's clock, in microseconds since 1970.
    pub at_us: i64,
    /// The error's code.
    pub code: String,
    /// What went wrong, and why.
    pub message: String,
}

/// What is to be written down, and told to the broker.
#[derive(Debug)]
pub(crate) enum Verdict {
    End(End),
    /// Of a message without a record: again, by the broker.
    Again(Duration),
    /// Of a message without a record: to the broker's dead letters.
    Dead(String),
}

/// Of a run whose handler is known.
pub(crate) fn of(
    call: &Call,
    handler: &Handler,
    completed: bool,
    outcome: Result<Outcome>,
) -> Verdict {
    if !call.recorded {
        return of_foreign(call, handler, completed, outcome);
    }
    if completed {
        if let Err(error) = outcome {
            tracing::warn!(code = %error.code(), "job {} failed after it was completed in its transaction: {error}", call.job.id);
        }
        return Verdict::End(End::AlreadyCompleted);
    }
    let attempt = call.job.attempt;
    Verdict::End(match outcome {
        Ok(Outcome::Done) => End::Completed { result: None, keep_us: call.keep_us() },
        Ok(Outcome::Result(value)) => {
            End::Completed { result: Some(value.to_string()), keep_us: call.keep_us() }
        }
        Ok(Outcome::Snooze(after)) => later(call, after, attempt, call.job.errors.clone()),
        Ok(Outcome::Cancel(reason)) => {
            cancelled(call, &Error::new(Code::JobCancelled, "its handler cancelled it").why(reason))
        }
        Ok(Outcome::Dead(reason)) => {
            let error = Error::user("its handler gave it up").why(reason);
            dead(call, attempt.saturating_add(1), &error)
        }
        Err(error) => failed(call, handler, &error),
    })
}

fn failed(call: &Call, handler: &Handler, error: &Error) -> End {
    let attempt = call.job.attempt;
    // Its steps were gone through for what they say about being undone.
    if call.options().undoing.is_some() {
        return cancelled(call, error);
    }
    match error.code() {
        // The saga waits: when for is in the error.
        Code::JobSuspended => {
            let after = error.detail::<Duration>().copied().unwrap_or(UNKNOWN_AGAIN);
            return later(call, after, attempt, call.job.errors.clone());
        }
        // Whoever has it now finishes it; the lease tells whether that is true.
        Code::JobLost => return later(call, UNKNOWN_AGAIN, attempt, call.job.errors.clone()),
        Code::JobCancelled => return cancelled(call, error),
        Code::JobDeadline => return dead(call, attempt, error),
        Code::JobSteps => return dead(call, attempt.saturating_add(1), error),
        _ => {}
    }
    let this = attempt.saturating_add(1);
    if this >= call.max_attempts {
        return dead(call, this, error);
    }
    match (handler.failed)(call, this, error) {
        Action::Retry(after) => later(call, after, this, with(call, this, error)),
        Action::Dead => dead(call, this, error),
        Action::Cancel => cancelled(call, error),
        Action::Snooze(after) => later(call, after, attempt, with(call, this, error)),
    }
}

/// Tries to undo what its steps did, beyond those of the job itself.
const UNDO_TRIES: u32 = 25;

/// Ends of runs that were dropped or broke off: they need not have come by all steps that were done, and
/// so do not know how to undo them.
const BROKEN_OFF: [Code; 4] =
    [Code::JobCancelled, Code::JobTimeout, Code::JobDeadline, Code::JobPanicked];

/// A job that ends without success, once what its steps did is undone.
pub(crate) async fn undone(call: &Call, handler: &Handler, verdict: Verdict) -> Verdict {
    let Verdict::End(End::Ended { attempt, errors, .. }) = &verdict else { return verdict };
    match crate::saga::has_steps(call).await {
        Ok(true) => {}
        Ok(false) => return verdict,
        Err(_) => return Verdict::End(later(call, UNKNOWN_AGAIN, *attempt, errors.clone())),
    }
    let last = errors.as_deref().and_then(|text| serde_json::from_str::<Vec<Failure>>(text).ok());
    let last = last.and_then(|mut all| all.pop());
    let broke_off =
        last.as_ref().is_some_and(|last| BROKEN_OFF.iter().any(|code| code.as_str() == last.code));
    let said = last.map_or_else(String::new, |last| format!("{}: {}", last.code, last.message));
    let undoing = call.options().undoing.clone();
    if broke_off && undoing.is_none() {
        // One more run comes by all of them, and does nothing more.
        let options = Options { undoing: Some(said), steps: true, ..call.options().clone() };
        return Verdict::End(End::Back { options: Some(Box::new(options)) });
    }
    let reason = undoing.unwrap_or(said);
    let compensated = if broke_off {
        let what = format!("job {} could not be undone", call.job.id);
        Err(Error::new(Code::JobCompensation, what).why("the run that undoes it broke off"))
    } else {
        crate::saga::compensate(call, &reason, handler.timeout).await
    };
    match compensated {
        Ok(false) => verdict,
        Ok(true) => {
            let what = format!("what job {} did was undone", call.job.id);
            let errors = with(call, *attempt, &Error::new(Code::JobCancelled, what).why(reason));
            let keep_us = micros(CANCELLED_KEPT);
            let options = Options { undoing: None, steps: false, ..call.options().clone() };
            let undone = Some(Box::new(options));
            Verdict::End(End::Ended { state: 2, attempt: *attempt, errors, keep_us, undone })
        }
        Err(error) if error.code() == Code::JobLost => {
            Verdict::End(later(call, UNKNOWN_AGAIN, *attempt, errors.clone()))
        }
        Err(error) => again_undone(call, *attempt, &error),
    }
}

/// What could not be undone is tried again, with the default backoff; then it is dead, and stays to be
/// undone.
fn again_undone(call: &Call, attempt: u32, error: &Error) -> Verdict {
    let this = attempt.saturating_add(1);
    if this >= call.max_attempts.saturating_add(UNDO_TRIES) {
        return Verdict::End(dead(call, this, error));
    }
    let over = this.saturating_sub(call.max_attempts).max(1);
    let after = Backoff::polynomial().after(over, &mainstay_core::rng::Rng::system());
    Verdict::End(later(call, after, this, with(call, this, error)))
}

/// Of a job whose name no handler here knows: two versions of a worker may be running.
pub(crate) fn unknown(call: &Arc<Call>) -> Verdict {
    let name = &call.job.name;
    let error = Error::new(Code::JobUnknown, format!("no handler of this worker knows `{name}`"));
    tracing::warn!(
        code = "JOB-002",
        "{} (queue `{}`): left for another worker",
        error.what(),
        call.queue
    );
    if !call.recorded {
        return Verdict::Dead(error.what().to_owned());
    }
    // Counted in the text of its one error, so that it does not use up its attempts.
    let before = failures(call).iter().filter(|f| f.code == Code::JobUnknown.as_str()).count();
    if call.job.attempt.saturating_add(before as u32) >= UNKNOWN_TRIES
        || age(call) > UNKNOWN_AGAIN * UNKNOWN_TRIES
    {
        return Verdict::End(dead(call, call.job.attempt, &error));
    }
    Verdict::End(later(call, UNKNOWN_AGAIN, call.job.attempt, once(call, &error)))
}

/// With its options as they are by now: a saga may have begun or be undone.
fn later(call: &Call, after: Duration, attempt: u32, errors: Option<String>) -> End {
    End::Later { after_us: micros(after), attempt, errors, options: changed(call) }
}

/// The options, where they are to be written anew.
fn changed(call: &Call) -> Option<Box<Options>> {
    let mut options: Options = call.options().clone();
    let before = options.clone();
    options.steps |= call.steps.any();
    if let Some(reason) = call.steps.undoing_reason() {
        options.undoing = Some(reason);
    }
    (options != before).then(|| Box::new(options))
}

fn dead(call: &Call, attempt: u32, error: &Error) -> End {
    let errors = with(call, attempt.max(1), error);
    End::Ended { state: 3, attempt, errors, keep_us: micros(DEAD_KEPT), undone: None }
}

fn cancelled(call: &Call, error: &Error) -> End {
    let attempt = call.job.attempt;
    let errors = with(call, attempt.saturating_add(1), error);
    End::Ended { state: 2, attempt, errors, keep_us: micros(CANCELLED_KEPT), undone: None }
}

fn failures(call: &Call) -> Vec<Failure> {
    let text = call.job.errors.as_deref();
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Its errors with one more.
pub(crate) fn with(call: &Call, attempt: u32, error: &Error) -> Option<String> {
    let mut all = failures(call);
    all.push(failure(attempt, error));
    let surplus = all.len().saturating_sub(ERRORS_MAX);
    serde_json::to_string(&all[surplus..]).ok()
}

/// Its errors with this one, unless the last is of the same code.
fn once(call: &Call, error: &Error) -> Option<String> {
    let same = |last: &Failure| last.code == error.code().as_str();
    if failures(call).last().is_some_and(same) {
        return call.job.errors.clone();
    }
    with(call, call.job.attempt.saturating_add(1), error)
}

fn failure(attempt: u32, error: &Error) -> Failure {
    let mut message = error.what().to_owned();
    if let Some(why) = error.reason() {
        message += ": ";
        message += why;
    }
    // Some engines take no NUL in a text.
    message.retain(|c| c != '\0');
    let message = message.chars().take(TEXT_MAX).collect();
    Failure { attempt, at_us: now_us(), code: error.code().as_str().to_owned(), message }
}

fn now_us() -> i64 {
    let wall = mainstay_core::clock::Clock::system().wall();
    micros(wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
}

fn age(call: &Call) -> Duration {
    Duration::from_micros(u64::try_from(now_us() - call.job.created_us).unwrap_or_default())
}

/// A message of somebody else's: the broker keeps it.
fn of_foreign(
    call: &Call,
    handler: &Handler,
    completed: bool,
    outcome: Result<Outcome>,
) -> Verdict {
    let done = Verdict::End(End::AlreadyCompleted);
    let attempt = call.job.attempt.saturating_add(1);
    match outcome {
        Ok(Outcome::Done | Outcome::Result(_) | Outcome::Cancel(_)) => done,
        Ok(Outcome::Snooze(after)) => Verdict::Again(after),
        Ok(Outcome::Dead(reason)) => Verdict::Dead(reason),
        // Done before, or in the transaction.
        Err(error) if completed || error.code() == Code::JobLost => done,
        Err(error) if error.code() == Code::JobPayload => Verdict::Dead(error.to_string()),
        Err(error) if attempt >= call.max_attempts => Verdict::Dead(error.to_string()),
        Err(error) => match (handler.failed)(call, attempt, &error) {
            Action::Retry(after) | Action::Snooze(after) => Verdict::Again(after),
            Action::Dead => Verdict::Dead(error.to_string()),
            Action::Cancel => done,
        },
    }
}

/// Hands it to the one who writes, or to the broker.
pub(crate) async fn deliver(ends: &mpsc::Sender<Ended>, item: Item, verdict: Verdict) {
    let Item { call, receipt } = item;
    call.ended.store(true, Relaxed);
    let settled = |end| Settled {
        id: call.job.id,
        lease: call.job.lease,
        queue: call.queue.to_string(),
        end,
        ties: call.ties(),
    };
    let told = match (verdict, receipt) {
        (Verdict::End(end), receipt) if call.recorded => {
            // Whoever writes is there for as long as anybody may send.
            let _ = ends.send(Ended { settled: settled(end), receipt }).await;
            return;
        }
        (_, None) => return,
        (Verdict::End(_), Some(receipt)) => receipt.ack().await,
        (Verdict::Again(after), Some(receipt)) => receipt.again(after).await,
        (Verdict::Dead(reason), Some(receipt)) => receipt.dead(reason).await,
    };
    if let Err(error) = told {
        tracing::debug!(code = %error.code(), "a delivery could not be settled, and comes again: {error}");
    }
}

/// Of a job that its broker has delivered again and again.
pub(crate) fn delivered_too_often(call: &Call, deliveries: u32) -> Verdict {
    let error = Error::new(
        Code::JobCrashed,
        format!("job {} was delivered {deliveries} times", call.job.id),
    )
    .why("whoever it was delivered to did not live to end it");
    Verdict::End(dead(call, call.job.attempt, &error))
}

/// Ends a job whose workers keep dying with it.
pub(crate) async fn crashed(
    tx: &mainstay_db::Db,
    id: i64,
    queue: &str,
    errors: Option<&str>,
    attempt: i32,
) -> Result<()> {
    let error =
        Error::new(Code::JobCrashed, format!("the worker's process died while it ran job {id}"))
            .why(format!(
                "{} times, the last three with no other job to blame",
                crate::store::worker::CRASHES_MAX
            ));
    let mut all: Vec<Failure> =
        errors.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    all.push(failure(attempt.unsigned_abs().saturating_add(1), &error));
    let surplus = all.len().saturating_sub(ERRORS_MAX);
    let errors = serde_json::to_string(&all[surplus..]).ok();
    let update = tx.query("UPDATE mainstay_job SET errors = $2 WHERE id = $1");
    update.bind(id).bind(errors).execute().await?;
    if crate::store::settle::finish(tx, id, queue, 3, None, micros(DEAD_KEPT)).await? {
        let all = crate::store::settle::Ties { keys: true, unique: true, ..Default::default() };
        crate::store::settle::untie(tx, id, all, false).await?;
    }
    Ok(())
}
