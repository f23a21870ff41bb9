//! What a handler gets of the layer: the key, and the way to act on it once.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use mainstay_core::Result;
use mainstay_core::scope::Scope;
use mainstay_db::Db;
use tracing::{Instrument, Span};

use super::layer::Options;
use super::request::{Fingerprint, Id};
use super::{refusal, run};
use crate::problem::{Answer, Problem};

/// The request's idempotency key, to be acted on by [`run`](Self::run). An extractor of the request's head,
/// so it goes before one of the body; it needs [`IdempotencyLayer`](super::IdempotencyLayer) around the
/// handler, and is there once.
#[derive(Debug)]
#[must_use = "the key is used by run() alone"]
pub struct Idempotent(Ticket);

/// On its way from the layer to the handler, which gets no second one.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) options: Arc<Options>,
    pub(super) keyed: Option<Keyed>,
}

/// A key, and the request that it came with.
#[derive(Clone)]
pub(super) struct Keyed {
    pub(super) id: Id,
    pub(super) fingerprint: Fingerprint,
    used: Arc<AtomicBool>,
}

impl Keyed {
    pub(super) fn new(id: Id, fingerprint: Fingerprint) -> Self {
        Self { id, fingerprint, used: Arc::default() }
    }

    /// Becomes true when it is acted on.
    pub(super) fn watch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.used)
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

impl Idempotent {
    /// Whether the request has a key.
    pub fn has_key(&self) -> bool {
        self.0.keyed.is_some()
    }

    /// The answer that this key has already, if it has one: for a handler that asks others before its
    /// transaction and can't, since who was answered before is not told that they are down. Nothing is begun.
    ///
    /// Cancel safe: it only reads.
    ///
    /// Problems: 422 HTTP-023, 500 HTTP-024, and what the errors of a statement become.
    pub async fn replay(&self, db: &Db) -> Answer<Option<Response>> {
        match &self.0.keyed {
            Some(keyed) => run::replay(keyed, db).await,
            None => Ok(None),
        }
    }

    /// Runs `work` in a transaction of `db`, once for each key: the key, what `work` writes and publishes
    /// with its handle, and its answer are committed together. `db` is the pool's handle, of the database
    /// with the [table](super::install).
    ///
    /// - Whatever `work` answers with `Ok`, also a status such as 409, is stored and replayed. An error rolls
    ///   back and stores nothing: the next attempt runs again. An error that says
    ///   [`commit_anyway`](mainstay_core::Error::commit_anyway) is stored as the problem that it becomes.
    /// - `work` may be called several times, as in [`Db::transaction`]: the engine's conflicts are tried
    ///   again.
    /// - It runs in a task of its own, in the request's scope. A client that goes away changes nothing: the
    ///   work goes on to its commit, and the next attempt gets the answer. It ends at the request's deadline,
    ///   and at the layer's [`within`](super::IdempotencyLayer::within), by being rolled back.
    /// - The answer is read to its end inside the transaction, so a stream is no stream here.
    /// - Where COMMIT's answer was lost (TX-003) or the connection broke, the caller is told to ask again, with
    ///   503: the same key finds out.
    ///
    /// Without a key `work` runs in the same way, and nothing is stored.
    ///
    /// Cancel safe: dropped, the work goes on.
    ///
    /// Problems: 409 HTTP-022, 422 HTTP-023, 500 HTTP-024 and HTTP-025, and what the errors of `work` and
    /// of a transaction become.
    pub async fn run<R, F, Fut>(self, db: &Db, work: F) -> Answer<Response>
    where
        R: IntoResponse,
        F: Fn(Db) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
    {
        let Ticket { options, keyed } = self.0;
        if let Some(keyed) = &keyed {
            keyed.used.store(true, Ordering::Relaxed);
        }
        if db.in_transaction() {
            return Err(refusal::inside());
        }
        let db = db.clone();
        let job = async move {
            match keyed {
                Some(keyed) => run::once(&options, &keyed, &db, &work).await,
                None => run::plainly(&options, &db, &work).await,
            }
        };
        let job = job.instrument(Span::current());
        let task = match Scope::current() {
            Some(scope) => tokio::spawn(scope.run(job)),
            None => tokio::spawn(job),
        };
        match task.await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                Err(_) => Err(refusal::ending()),
            },
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Idempotent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.remove::<Ticket>().map(Self).ok_or_else(refusal::no_layer)
    }
}
