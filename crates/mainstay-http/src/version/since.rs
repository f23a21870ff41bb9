//! Handlers that differ by version, where lifting and lowering is not enough: each serves its version
//! and those after it, until the next one's.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use mainstay_core::Code;
use tower_service::Service;

use super::{ApiVersion, Version};
use crate::problem::Problem;

/// A route whose handlers differ by version: the nearest one that is no newer than the request
/// answers. In versions before the first, the route does not exist: 404.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_http::{Since, Version};
///
/// let search = Since::new(Version::number(1), get(async || "by name"))
///     .then(Version::number(3), get(async || "by anything")); // 2 is as 1
/// let app: Router = Router::new().route_service("/search", search);
/// # let _ = app;
/// ```
#[derive(Clone, Debug)]
pub struct Since(Vec<(Version, MethodRouter)>);

impl Since {
    /// A route that came with `version`.
    pub fn new(version: Version, handlers: MethodRouter) -> Self {
        Self(vec![(version, handlers)])
    }

    /// What answers from `version` on, in place of what would have.
    pub fn then(mut self, version: Version, handlers: MethodRouter) -> Self {
        self.0.retain(|(known, _)| *known != version);
        let place = self.0.partition_point(|(known, _)| *known < version);
        self.0.insert(place, (version, handlers));
        self
    }

    fn nearest(&self, version: Version) -> Option<&MethodRouter> {
        self.0.iter().rev().find(|(since, _)| *since <= version).map(|(_, handlers)| handlers)
    }

    fn missing(&self, version: Version) -> Problem {
        let first = self.0.first().map(|(since, _)| since.to_string()).unwrap_or_default();
        let detail =
            format!("there is no such route in version {version}; there is from {first} on");
        Problem::new(StatusCode::NOT_FOUND, "Not in this version", detail)
            .with_code(Code::HttpVersion)
            .with("since", first)
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<B> Service<Request<B>> for Since
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    /// Always: handlers wait inside.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let version = match ApiVersion::of(request.extensions()) {
            Ok(version) => version.version(),
            Err(problem) => return Box::pin(std::future::ready(Ok(problem.into_response()))),
        };
        match self.nearest(version).cloned() {
            Some(mut handlers) => Box::pin(handlers.call(request.map(Body::new))),
            None => {
                let answer = Ok(self.missing(version).into_response());
                Box::pin(std::future::ready(answer))
            }
        }
    }
}
