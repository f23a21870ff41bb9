//! What a caller is told whose request is not worked on, or not to its end.

use std::time::Duration;

use axum::http::StatusCode;
use mainstay_core::{Code, Error, Retry};

use crate::problem::Problem;

/// When a duplicate of work in flight may come again.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn missing() -> Problem {
    let detail = "this operation needs the header Idempotency-Key: a new unique value for each \
                  operation, and the same one when it is tried again";
    Problem::new(StatusCode::BAD_REQUEST, "Idempotency-Key is missing", detail)
        .with_code(Code::HttpKeyMissing)
        .with("header", "Idempotency-Key")
}

pub(super) fn malformed(why: &str) -> Problem {
    let detail = format!("the header Idempotency-Key can't be used: {why}");
    Problem::new(StatusCode::BAD_REQUEST, "Malformed header", detail)
        .with_code(Code::HttpKeyMalformed)
        .with("header", "Idempotency-Key")
}

pub(super) fn in_flight() -> Problem {
    let detail =
        "a request with this Idempotency-Key is being worked on: ask again with the same key";
    Problem::conflict("Request in progress", detail)
        .with_code(Code::HttpKeyInFlight)
        .retry_after(SOON)
}

pub(super) fn other_payload() -> Problem {
    let detail =
        "this Idempotency-Key was used for another request: a new operation needs a new key";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key is used", detail)
        .with_code(Code::HttpKeyPayload)
}

pub(super) fn too_large(max: usize) -> Problem {
    let detail = format!("with an Idempotency-Key a body has {max} bytes at most");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", detail)
}

pub(super) fn broken(error: &axum::Error) -> Problem {
    tracing::debug!("a request's body broke off: {error}");
    Problem::new(StatusCode::BAD_REQUEST, "Body not readable", "the body broke off")
}

/// Nobody's keys would be everybody's.
pub(super) fn nobody() -> Problem {
    let fix = "start the server with into_make_service_with_connect_info::<SocketAddr>(), or scope the \
               keys by what every request has";
    let what = "the address of a client is not known, and an idempotency key would be everybody's";
    Error::new(Code::HttpOption, what).fix(fix).into()
}

/// The extractor without its layer.
pub(super) fn no_layer() -> Problem {
    let what =
        "a handler uses Idempotent, and no IdempotencyLayer is around it, or it was used before";
    Error::new(Code::HttpOption, what).fix("put the route inside an IdempotencyLayer").into()
}

/// The work's commit would be decided by what comes after its answer.
pub(super) fn inside() -> Problem {
    let what = "Idempotent::run was given the handle of an open transaction";
    Error::new(Code::HttpOption, what).fix("give it the pool's handle: it begins its own").into()
}

/// The runtime ends.
pub(super) fn ending() -> Problem {
    let detail = "the service is ending: ask again with the same key";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Outcome unknown", detail)
        .with_code(Code::TxAmbiguous)
        .retry_after(SOON)
}

/// The work failed. Where nobody knows whether it was committed, its caller may find out by asking again.
pub(super) fn failed(error: Error, keyed: bool) -> Problem {
    let unknown = error.retryability() == Retry::Unknown && error.code() != Code::Deadline;
    if !unknown || !keyed {
        return error.into();
    }
    tracing::error!("{}", error.report());
    let detail =
        "whether it was done is not known: ask again with the same key, and it is done once";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Outcome unknown", detail)
        .with_code(error.code())
        .retry_after(SOON)
}
