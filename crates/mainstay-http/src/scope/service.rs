//! The service behind [`ScopeLayer`](super::ScopeLayer).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::MatchedPath;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use mainstay_core::Code;
use mainstay_core::clock::Clock;
use mainstay_core::scope::{Kind, Scope};
use tokio::task::unconstrained;
use tower_service::Service;

use super::{Options, body, timeout};
use crate::layered::{Around, Layered};
use crate::problem::Problem;

/// What [`ScopeLayer`](super::ScopeLayer) makes of a service.
#[derive(Clone, Debug)]
pub struct Scoped<S> {
    pub(super) inner: S,
    pub(super) options: Options,
}

impl<S, B, R> Service<Request<B>> for Scoped<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Layered<S::Future, InScope, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Options { default, max, clock } = &self.options;
        let within = match timeout::requested(request.headers()) {
            Ok(requested) => requested.or(*default).map(|within| within.min(*max)),
            Err(problem) => return Layered::answered(problem.into_response()),
        };
        let mut scope = Scope::new(Kind::Request, route(&request));
        // A request within a request, or within the layer that carries tokens.
        if let Some(outer) = Scope::current() {
            scope = scope.sharing_marks_of(&outer);
        }
        let deadline = within.and_then(|within| clock.now().checked_add(within));
        if let Some(deadline) = deadline {
            scope = scope.with_deadline(deadline);
        }
        let limit = deadline.map(|deadline| (deadline, clock.clone()));
        // The handler is called, polled and dropped inside the scope.
        let work = scope.enter(|| self.inner.call(request));
        Layered::called(work, InScope { scope, within, limit, timer: None })
    }
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A request in its scope, until its deadline.
pub struct InScope {
    scope: Scope,
    within: Option<Duration>,
    limit: Option<(Instant, Clock)>,
    /// Most answers are there at once, and need none.
    timer: Option<Timer>,
}

impl Around for InScope {
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.scope.enter(work)
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let Some((deadline, clock)) = &self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| {
            let (deadline, clock) = (*deadline, clock.clone());
            // A handler that always uses up its share of the thread must not outlive its deadline.
            Box::pin(unconstrained(async move { clock.sleep_until(deadline).await }))
        });
        timer.as_mut().poll(cx).map(|()| {
            let (route, within) = (self.scope.name(), self.within);
            tracing::debug!(route, ?within, "HTTP-003: deadline passed");
            late().into_response()
        })
    }

    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        answer.map(|response| response.map(|content| body::scoped(content, self.scope)))
    }
}

/// `METHOD /route`: never the path itself, of which there are too many.
pub(crate) fn route<B>(request: &Request<B>) -> String {
    let path = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    [request.method().as_str(), path].join(" ")
}

fn late() -> Problem {
    let detail = "there was no answer in time; what was asked for may have been done in part";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "Deadline passed", detail)
        .with_code(Code::HttpDeadline)
}
