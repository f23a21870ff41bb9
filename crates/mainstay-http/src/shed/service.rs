//! The service behind [`ShedLayer`](super::ShedLayer).

use std::task::{Context, Poll};
use std::time::Instant;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use mainstay_core::scope::Scope;
use tower_service::Service;

use super::gate::{Answer, Place};
use super::{ShedLayer, observed, refusal};
use crate::holding::holding;
use crate::layered::{Around, Layered};

/// What [`ShedLayer`](super::ShedLayer) makes of a service.
#[derive(Clone, Debug)]
pub struct Shedding<S> {
    pub(super) inner: S,
    pub(super) layer: ShedLayer,
}

impl<S, B, R> Service<Request<B>> for Shedding<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Layered<S::Future, Option<UnderWay>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, content) = request.into_parts();
        let ShedLayer { options, gate } = &self.layer;
        if options.is_exempt(&parts) {
            return Layered::called(self.inner.call(Request::from_parts(parts, content)), None);
        }
        let scope = Scope::current();
        let deadline = scope.as_ref().and_then(Scope::deadline);
        let priority = options.priority(&parts, scope.as_ref());
        let scope = scope.filter(|scope| scope.priority() != priority);
        let scope = scope.map(|scope| scope.with_priority(priority));
        let turn = match gate.knock(priority, deadline) {
            Answer::Place(place) => {
                let begun = UnderWay::begin(place, deadline, scope);
                let request = Request::from_parts(parts, content);
                let work = begun.within(|| self.inner.call(request));
                return Layered::called(work, Some(begun));
            }
            Answer::Refused(refused) => {
                observed::tell(refused, priority, &parts);
                return Layered::answered(refusal::problem(refused, &options.rng).into_response());
            }
            Answer::Wait(turn) => turn,
        };
        // The one that was asked whether it is ready, not its clone, is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let layer = self.layer.clone();
        Layered::waiting(Box::pin(async move {
            let place = match layer.gate.wait(turn).await {
                Ok(place) => place,
                Err(refused) => {
                    observed::tell(refused, priority, &parts);
                    return Ok(refusal::problem(refused, &layer.options.rng).into_response());
                }
            };
            let begun = UnderWay::begin(place, deadline, scope);
            let request = Request::from_parts(parts, content);
            let work = begun.within(|| inner.call(request));
            Layered::<_, _, S::Error>::called(work, begun).await
        }))
    }
}

/// A request that was begun.
pub struct UnderWay {
    place: Place,
    /// Where its priority is not the one that its scope had.
    scope: Option<Scope>,
}

impl UnderWay {
    fn begin(mut place: Place, deadline: Option<Instant>, scope: Option<Scope>) -> Self {
        place.due(deadline);
        Self { place, scope }
    }
}

impl Around for UnderWay {
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.scope {
            Some(scope) => scope.enter(work),
            None => work(),
        }
    }

    fn finish<E>(mut self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        let response = answer?;
        // What waited for others in vain says that there was too much to do.
        self.place.done(response.status() == StatusCode::GATEWAY_TIMEOUT);
        Ok(response.map(|content| holding(content, self.place)))
    }
}
