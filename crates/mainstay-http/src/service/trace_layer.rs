//! The layer that takes a request's trace up, or begins one.

use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use mainstay_core::rng::Rng;
use tower_layer::Layer;
use tower_service::Service;

use super::Trace;
use crate::layered::{Around, Layered};

/// Runs each request in its [`Trace`]: the one that its `traceparent` names, or a new one. Calls made
/// meanwhile by a [`Service`](super::Service) belong to it.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_http::service::{Trace, TraceContextLayer};
///
/// let tell = async || Trace::current().map(|trace| trace.to_string()).unwrap_or_default();
/// let app: Router = Router::new().route("/", get(tell)).layer(TraceContextLayer::new());
/// # let _ = app;
/// ```
#[derive(Clone, Debug, Default)]
pub struct TraceContextLayer(Rng);

impl TraceContextLayer {
    /// New traces are numbered by the machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the numbers of new traces come from.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.0 = rng;
        self
    }
}

impl<S> Layer<S> for TraceContextLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, rng: self.0.clone() }
    }
}

/// What [`TraceContextLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct Traced<S> {
    inner: S,
    rng: Rng,
}

impl<S, B, R> Service<Request<B>> for Traced<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Layered<S::Future, InTrace, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let trace = match Trace::of(request.headers()) {
            Some(trace) => trace.child(&self.rng),
            None => Trace::begin(&self.rng),
        };
        let work = trace.enter(|| self.inner.call(request));
        Layered::called(work, InTrace(trace))
    }
}

/// A request in its trace.
pub struct InTrace(Trace);

impl Around for InTrace {
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.enter(work)
    }

    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        answer
    }
}
