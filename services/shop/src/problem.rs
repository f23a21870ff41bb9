//! Errors as RFC 9457 problems: what the caller can act on is told, what only the operator can act
//! on is logged under the same code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay::{Code, Error, Violation};
use serde_json::json;

/// An error on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    code: Code,
}

/// What a handler returns.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem of the caller's making.
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), code: Code::User }
    }

    /// 404.
    pub fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("there is no {what} {id}"))
    }

    /// 409.
    pub fn conflict(title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, title, detail)
    }

    /// 422.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", detail)
    }

    /// As an error that ends a transaction and comes out of it as this problem again.
    pub fn into_error(self) -> Error {
        Error::wrap(self)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Some(Problem { status, title, detail, code }) = error.detail() {
            return Self { status: *status, title, detail: detail.clone(), code: *code };
        }
        let columns = error.detail::<Violation>().map(|v| v.columns.join(", ")).unwrap_or_default();
        let told =
            |status, title, detail: String| Self { status, title, detail, code: error.code() };
        match error.code() {
            Code::Unique => told(
                StatusCode::CONFLICT,
                "Already exists",
                format!("a unique value is taken {columns}"),
            ),
            Code::ForeignKey => told(
                StatusCode::CONFLICT,
                "Reference broken",
                "a row referred to is missing".to_owned(),
            ),
            Code::Check | Code::Data => told(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid value",
                "a value is out of its bounds".to_owned(),
            ),
            Code::PoolTimeout
            | Code::PoolDown
            | Code::PoolQueueFull
            | Code::PoolClosed
            | Code::Unreachable
            | Code::TooManyConnections
            | Code::StatementCancelled
            | Code::LockTimeout
            | Code::Deadlock
            | Code::Serialization => {
                tracing::error!("{}", error.report());
                told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Overloaded or down",
                    "try again in a moment".to_owned(),
                )
            }
            _ => {
                tracing::error!("{}", error.report());
                told(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal error",
                    "the operator has been told".to_owned(),
                )
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code.as_str(),
        }));
        let mut response = (self.status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
