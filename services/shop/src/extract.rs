//! Bodies, queries and paths whose rejections are problems too.

use axum::extract::{FromRequest, FromRequestParts, Path, Query};

use mainstay::http::Problem;

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
