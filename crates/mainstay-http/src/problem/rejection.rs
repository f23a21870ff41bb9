//! axum's rejections as problems, for extractors made with `#[from_request(via(..), rejection(Problem))]`.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;

use super::Problem;

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
