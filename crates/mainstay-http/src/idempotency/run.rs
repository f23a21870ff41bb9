//! The work of one request: looked up, claimed, done and stored.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use mainstay_core::Result;
use mainstay_core::scope::Scope;
use mainstay_db::Db;

use super::answer::{self, Stored};
use super::guard::Keyed;
use super::layer::Options;
use super::table::{Claim, Table};
use super::{observed, refusal};
use crate::problem::{Answer, Problem};

enum Outcome {
    /// Done now.
    First(Response),
    /// Done before.
    Before(Stored),
    /// Done by somebody else, at this moment.
    Meanwhile,
}

/// Without a key.
pub(super) async fn plainly<R, F, Fut>(options: &Options, db: &Db, work: &F) -> Answer<Response>
where
    R: IntoResponse,
    F: Fn(Db) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R>> + Send,
{
    let tx = db.tx().timeout(limit(options));
    let done = tx.run(|tx| async { Ok(work(tx).await?.into_response()) }).await;
    done.map_err(|error| refusal::failed(error, false))
}

/// With a key.
pub(super) async fn once<R, F, Fut>(
    options: &Options,
    keyed: &Keyed,
    db: &Db,
    work: &F,
) -> Answer<Response>
where
    R: IntoResponse,
    F: Fn(Db) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R>> + Send,
{
    let answer = match outcome(options, keyed, db, work).await {
        Ok(Outcome::First(response)) => {
            observed::tell("first");
            options.sweep.by_the_way(db, &options.clock);
            return Ok(response);
        }
        Ok(Outcome::Before(stored)) if keyed.fingerprint.is(&stored.fingerprint) => {
            stored.into_response().map_err(|error| refusal::failed(error, true))
        }
        Ok(Outcome::Before(_)) => Err(refusal::other_payload()),
        Ok(Outcome::Meanwhile) => Err(refusal::in_flight()),
        Err(error) => Err(refusal::failed(error, true)),
    };
    match &answer {
        Ok(_) => observed::tell("replayed"),
        Err(problem) => observed::refused(problem),
    }
    answer
}

/// What was answered before, and nothing else.
pub(super) async fn replay(keyed: &Keyed, db: &Db) -> Answer<Option<Response>> {
    let found = find(db, Table::of(db.engine()), keyed).await;
    let answer = match found.map_err(|error| refusal::failed(error, true))? {
        None => return Ok(None),
        Some(stored) if keyed.fingerprint.is(&stored.fingerprint) => {
            stored.into_response().map_err(|error| refusal::failed(error, true))
        }
        Some(_) => Err(refusal::other_payload()),
    };
    match &answer {
        Ok(_) => observed::tell("replayed"),
        Err(problem) => observed::refused(problem),
    }
    answer.map(Some)
}

/// Never from a replica, which may lack it. Whoever is told what was done reads it from then on.
async fn find(db: &Db, table: Table, keyed: &Keyed) -> Result<Option<Stored>> {
    let found = table.find(&db.fresh(), &keyed.id).await?;
    if found.is_some() {
        db.observe_now();
    }
    Ok(found)
}

async fn outcome<R, F, Fut>(options: &Options, keyed: &Keyed, db: &Db, work: &F) -> Result<Outcome>
where
    R: IntoResponse,
    F: Fn(Db) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R>> + Send,
{
    if options.flights.has(&keyed.id) {
        return Ok(Outcome::Meanwhile);
    }
    // Before the flight begins, so that who only looks is no flight to others.
    let table = Table::of(db.engine());
    if let Some(stored) = find(db, table, keyed).await? {
        return Ok(Outcome::Before(stored));
    }
    let Some(_flight) = options.flights.begin(keyed.id) else { return Ok(Outcome::Meanwhile) };
    let tx = db.tx().timeout(limit(options));
    tx.run(|tx| async move { attempt(options, keyed, table, tx, work).await }).await
}

async fn attempt<R, F, Fut>(
    options: &Options,
    keyed: &Keyed,
    table: Table,
    tx: Db,
    work: &F,
) -> Result<Outcome>
where
    R: IntoResponse,
    F: Fn(Db) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R>> + Send,
{
    match table.claim(&tx, keyed, options.keep).await? {
        Claim::Mine => {}
        Claim::Stored(stored) => return Ok(Outcome::Before(stored)),
        Claim::InFlight => return Ok(Outcome::Meanwhile),
    }
    let response = match work(tx.clone()).await {
        Ok(answer) => answer.into_response(),
        Err(error) if error.rolls_back() => return Err(error),
        // It commits, so it is what the next attempt must hear too.
        Err(error) => Problem::from(error).into_response(),
    };
    let (response, kept) = answer::keep(response, options).await?;
    table.store(&tx, &keyed.id, kept).await?;
    Ok(Outcome::First(response))
}

/// Its client may be gone, and with it who would end it at the request's deadline.
fn limit(options: &Options) -> Duration {
    let deadline = Scope::current().and_then(|scope| scope.deadline());
    let left = deadline.map(|at| at.saturating_duration_since(options.clock.now()));
    left.map_or(options.within, |left| left.min(options.within))
}
