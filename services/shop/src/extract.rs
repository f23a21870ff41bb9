//! Bodies, queries and paths whose rejections are problems too.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::StatusCode;

use crate::problem::Problem;

/// A JSON body.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Body<T>(pub T);

/// A query string.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub struct Params<T>(pub T);

/// The last part of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub struct Id<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let title = match rejection {
            JsonRejection::JsonDataError(_) => "Invalid value",
            JsonRejection::JsonSyntaxError(_) => "Malformed JSON",
            JsonRejection::MissingJsonContentType(_) => "JSON expected",
            _ => "Body not readable",
        };
        Problem::new(rejection.status(), title, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Problem::new(rejection.status(), "Invalid query", rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        // A key that is no number is the key of nothing.
        Problem::new(StatusCode::NOT_FOUND, "Not found", rejection.body_text())
    }
}
