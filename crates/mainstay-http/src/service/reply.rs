//! What a service answered, whole.

use std::fmt;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use mainstay_core::{Code, Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Failure, Policy};

/// How much of what a service says about its refusal is told.
const TOLD_MAX: usize = 200;

/// An answer with its body, which is no larger than the service's
/// [`max_body`](super::Builder::max_body). Cheap to clone but for its headers.
#[derive(Clone)]
pub struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Who answered.
    pub(super) target: String,
    pub(super) origin: Origin,
}

/// The call that it is an answer to. Of an attempt that is not the last, nobody asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// Such as `GET inventory /stock/{sku}`.
    pub(super) call: String,
    pub(super) service: String,
    pub(super) attempts: u32,
}

impl Reply {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Who answered, such as `http://10.0.0.7:8081`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// How many attempts the call took, hedges among them.
    pub fn attempts(&self) -> u32 {
        self.origin.attempts
    }

    /// The body as JSON; one that is empty is `()`, or `None`. Errors: HTTP-035, with a
    /// [`Failure`].
    pub fn json<R: DeserializeOwned>(&self) -> Result<R> {
        let body: &[u8] = if self.body.is_empty() { b"null" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            // serde's own text quotes the values.
            let (kind, line, column) = (error.classify(), error.line(), error.column());
            self.final_error(Code::ServiceAnswer, "it is not the JSON expected")
                .why(format!("{kind:?} error at line {line}, column {column}"))
        })
    }

    /// As [`json`](Self::json), of an answer that is no refusal.
    pub(super) fn value<R: DeserializeOwned>(&self) -> Result<R> {
        let status = self.status;
        if status.is_success() {
            return self.json();
        }
        if status.is_client_error() {
            let error = self.final_error(Code::ServiceRefused, &format!("it refused: {status}"));
            return Err(match self.told() {
                Some(told) => error.why(told),
                None => error,
            });
        }
        let what = format!("{status}, and a value was expected");
        Err(self.final_error(Code::ServiceAnswer, &what))
    }

    /// The error of a call whose answer is none that its caller can use.
    fn final_error(&self, code: Code, what: &str) -> Error {
        let policy = Policy::Answer;
        let stopped = stopped(&self.origin, policy, &self.target);
        Error::new(code, format!("{stopped}: {what}")).with_detail(Failure {
            policy,
            service: self.origin.service.clone(),
            target: self.target.clone(),
            attempts: self.origin.attempts,
            reply: Some(self.clone()),
        })
    }

    /// Whether it says that nothing was begun: what our own shedding refuses may be asked for again,
    /// whatever it is.
    pub(super) fn is_unbegun(&self) -> bool {
        matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
            && self.problem().and_then(|problem| problem.code).is_some_and(|code| {
                [Code::HttpShed, Code::HttpExpired].iter().any(|known| known.as_str() == code)
            })
    }

    /// What a problem says of itself, for a person.
    pub(super) fn told(&self) -> Option<String> {
        let Said { title, detail, code } = self.problem()?;
        let parts: Vec<String> = [code, title, detail].into_iter().flatten().collect();
        let whole = parts.join(": ");
        let printable = whole.chars().filter(|c| !c.is_control());
        Some(printable.take(TOLD_MAX).collect())
    }

    fn problem(&self) -> Option<Said> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        if !kind.starts_with("application/problem+json") {
            return None;
        }
        serde_json::from_slice(&self.body).ok()
    }
}

/// What is read of a problem.
#[derive(Deserialize)]
struct Said {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
}

/// The beginning of each failed call's error: what was asked, and what stopped it.
pub(super) fn stopped(origin: &Origin, policy: Policy, target: &str) -> String {
    let Origin { call, attempts, .. } = origin;
    let times = if *attempts == 1 { "attempt" } else { "attempts" };
    format!("{call}: {}, after {attempts} {times} at {target}", policy.told())
}

/// Without the body, which may hold anything.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("target", &self.target)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
