//! The time by which a statement must be over: the current scope's deadline, and the statement
//! timeout of the handle. When it passes, the statement's future is dropped, which gives its
//! connection back as one with a statement under way: the pool then has the server stop.

use std::time::{Duration, Instant};

use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Result};

use crate::db::Db;

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
        let scope = Scope::current().and_then(|s| s.deadline());
        let scope = scope.map(|at| Deadline { at, of_scope: true });
        let own = self.shared.statement_timeout.map(|limit| Deadline {
            at: self.shared.clock.now() + limit + SERVER_FIRST,
            of_scope: false,
        });
        match (scope, own) {
            (Some(a), Some(b)) => Some(if a.at <= b.at { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Runs `work` until `deadline`. Errors: DB-035, and those of `work`.
    pub(crate) async fn in_time<T>(
        &self,
        deadline: Option<Deadline>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(deadline) = deadline else { return work.await };
        let done = self.shared.clock.timeout_at(deadline.at, work).await;
        done.unwrap_or_else(|| Err(self.passed(deadline)))
    }

    fn passed(&self, deadline: Deadline) -> Error {
        let whose = match (deadline.of_scope, Scope::current()) {
            (true, Some(scope)) => format!("the deadline of {}", scope.name()),
            (true, None) => "its deadline".to_owned(),
            (false, _) => {
                let limit = self.shared.statement_timeout.unwrap_or_default();
                format!("the statement timeout of {limit:?}")
            }
        };
        let what = format!("the statement was not over before {whose}");
        Error::new(Code::Deadline, what).why(
            "it was given up, and the server is told to stop; whether it took effect is unknown",
        )
    }
}
