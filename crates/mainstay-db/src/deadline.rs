//! The time by which a statement must be over: the current scope's deadline, and the statement
//! timeout of the handle, which counts from when it has its connection. When it passes, the
//! statement's future is dropped, which gives its connection back as one with a statement under way:
//! the pool then has the server stop.

use std::time::{Duration, Instant};

use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Result};

use crate::connection::{Commit, Connection};
use crate::db::Db;
use crate::error::from_driver;

/// The server ends a statement at its own timeout, which costs no connection. This much later we do.
pub(crate) const SERVER_FIRST: Duration = Duration::from_millis(500);

/// When a statement must be over, and whose bound that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    of_scope: bool,
}

impl Db {
    /// Of a statement that begins now.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let own = self.shared.statement_timeout.map(|limit| Deadline {
            at: self.shared.clock.now() + limit + SERVER_FIRST,
            of_scope: false,
        });
        match (scope_deadline(), own) {
            (Some(a), Some(b)) => Some(if a.at <= b.at { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// What the server is to be told at BEGIN, where the session's own timeout would be later. `until`
    /// is the transaction's own bound.
    pub(crate) fn server_limit(&self, until: Option<Instant>) -> Option<Duration> {
        let at = [scope_deadline().map(|d| d.at), until].into_iter().flatten().min()?;
        let left = at.saturating_duration_since(self.shared.clock.now());
        let limit = left + SERVER_FIRST;
        self.shared.statement_timeout.is_none_or(|own| limit < own).then_some(limit)
    }

    /// Runs `work` until `deadline`. Errors: DB-035, and those of `work`.
    pub(crate) async fn in_time<T>(
        &self,
        deadline: Option<Deadline>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(deadline) = deadline else { return work.await };
        let done = self.shared.clock.timeout_at(deadline.at, work).await;
        done.unwrap_or_else(|| Err(self.passed(deadline, "the statement")))
    }

    /// Commits. With a deadline it may take `recover_timeout` longer than that: not knowing how it
    /// ended is worse. The inner error is the driver's.
    ///
    /// Errors: TX-003 where there was no answer by then.
    pub(crate) async fn commit_in_time(
        &self,
        connection: &mut Connection,
        until: Option<Instant>,
        how: Commit,
    ) -> Result<Result<Option<String>, sqlx::Error>> {
        let shared = &self.shared;
        let grace = shared.clock.now() + shared.options.recover_timeout;
        let bounds = [self.deadline().map(|d| d.at), until];
        match bounds.into_iter().flatten().min().map(|at| at.max(grace)) {
            None => Ok(connection.commit(how).await),
            Some(at) => {
                shared.clock.timeout_at(at, connection.commit(how)).await.ok_or_else(|| {
                    Error::new(Code::TxAmbiguous, "COMMIT was not answered before the deadline")
                })
            }
        }
    }

    /// As [`commit_in_time`](Self::commit_in_time), of a transaction around one statement.
    pub(crate) async fn commit_one(&self, connection: &mut Connection) -> Result<()> {
        let committed = self.commit_in_time(connection, None, Commit::Plain).await?;
        committed.map(drop).map_err(|e| from_driver(e, Some("COMMIT")))
    }

    pub(crate) fn passed(&self, deadline: Deadline, of: &str) -> Error {
        let whose = match (deadline.of_scope, Scope::current()) {
            (true, Some(scope)) => format!("the deadline of {}", scope.name()),
            (true, None) => "its deadline".to_owned(),
            (false, _) => {
                let limit = self.shared.statement_timeout.unwrap_or_default();
                format!("the statement timeout of {limit:?}")
            }
        };
        let what = format!("{of} was not over before {whose}");
        Error::new(Code::Deadline, what).why("it was given up; whether it took effect is unknown")
    }
}

/// Of the current scope alone, for waits that are bounded by something else besides.
pub(crate) fn scope_deadline() -> Option<Deadline> {
    let at = Scope::current().and_then(|s| s.deadline());
    at.map(|at| Deadline { at, of_scope: true })
}
