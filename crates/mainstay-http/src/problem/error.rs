//! What a caller is told of an error: by its code.

use axum::http::StatusCode;
use mainstay_core::{Code, Error};

use super::Problem;

impl From<Error> for Problem {
    /// A problem that went through a transaction as an error comes out as it was.
    fn from(error: Error) -> Self {
        if let Some(problem) = error.detail::<Problem>() {
            return problem.clone();
        }
        let code = error.code();
        let told = |status, title: &'static str, detail: String| {
            Problem::new(status, title, detail).with_code(code)
        };
        match code {
            Code::User => told(StatusCode::BAD_REQUEST, "Refused", error.what().to_owned()),
            Code::Unique => {
                let columns = columns(&error);
                let detail = format!("a unique value is taken {columns}");
                told(StatusCode::CONFLICT, "Already exists", detail.trim_end().to_owned())
            }
            Code::ForeignKey => {
                let detail = "a row referred to is missing, or is still referred to";
                told(StatusCode::CONFLICT, "Reference broken", detail.to_owned())
            }
            Code::Conflict => {
                let detail = "somebody else changed it meanwhile: read it again";
                told(StatusCode::CONFLICT, "Changed meanwhile", detail.to_owned())
            }
            Code::Check | Code::Data | Code::NotNull => {
                let detail = "a value is missing or out of its bounds";
                told(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", detail.to_owned())
            }
            Code::RowNotFound => {
                told(StatusCode::NOT_FOUND, "Not found", "there is no such row".to_owned())
            }
            code => {
                tracing::error!("{}", error.report());
                operators(code).with_code(code)
            }
        }
    }
}

/// What only the operator can act on.
fn operators(code: Code) -> Problem {
    match code {
        Code::PoolTimeout
        | Code::PoolDown
        | Code::PoolQueueFull
        | Code::PoolShed
        | Code::PoolClosed
        | Code::Unreachable
        | Code::TooManyConnections
        | Code::StatementCancelled
        | Code::LockTimeout
        | Code::LockBusy
        | Code::Deadlock
        | Code::Serialization
        | Code::LimitStore
        | Code::ServiceBreaker
        | Code::ServiceBulkhead
        | Code::ServiceBudget
        | Code::HttpShed
        | Code::CacheStore => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Overloaded or down",
            "try again in a moment",
        ),
        Code::ServiceFailed | Code::ServiceAnswer => Problem::new(
            StatusCode::BAD_GATEWAY,
            "Another service failed",
            "a service that is needed for this did not answer as it should",
        ),
        Code::Deadline | Code::HttpDeadline | Code::ServiceDeadline => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Deadline passed",
            "it was not done in time, and may have been done in part",
        ),
        _ => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            "the operator has been told",
        ),
    }
}

#[cfg(feature = "db")]
fn columns(error: &Error) -> String {
    error.detail::<mainstay_db::Violation>().map(|v| v.columns.join(", ")).unwrap_or_default()
}

#[cfg(not(feature = "db"))]
fn columns(_error: &Error) -> String {
    String::new()
}
