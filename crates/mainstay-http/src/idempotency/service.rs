//! The service behind [`IdempotencyLayer`](super::IdempotencyLayer).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use tower_service::Service;

use super::body::{self, Unread};
use super::guard::{Keyed, Ticket};
use super::layer::Options;
use super::request::{Fingerprint, Id};
use super::{header, observed, refusal};
use crate::client;
use crate::layered::{Around, Layered};
use crate::limit::{IPV6_PREFIX, key};
use crate::problem::Problem;

/// What [`IdempotencyLayer`](super::IdempotencyLayer) makes of a service.
#[derive(Clone, Debug)]
pub struct Idempotency<S> {
    pub(super) inner: S,
    pub(super) options: Arc<Options>,
}

impl<S, B, R> Service<Request<B>> for Idempotency<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Layered<S::Future, Watched, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, content) = request.into_parts();
        let content = Body::new(content);
        let options = &self.options;
        let id = match options.id(&parts) {
            Ok(Some(id)) => id,
            Ok(None) => {
                parts.extensions.insert(Ticket { options: Arc::clone(options), keyed: None });
                let work = self.inner.call(Request::from_parts(parts, content));
                return Layered::called(work, Watched(None));
            }
            Err(problem) => {
                observed::refused(&problem);
                return Layered::answered(problem.into_response());
            }
        };
        // The one that was asked whether it is ready, not its clone, is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let options = Arc::clone(options);
        Layered::waiting(Box::pin(async move {
            let (keyed, content) = match options.admit(id, &parts, content).await {
                Ok(admitted) => admitted,
                Err(problem) => {
                    observed::refused(&problem);
                    return Ok(problem.into_response());
                }
            };
            let (used, route) = (keyed.watch(), route(&parts));
            let watch = Watch { used, route, options: Arc::clone(&options) };
            parts.extensions.insert(Ticket { options, keyed: Some(keyed) });
            let work = inner.call(Request::from_parts(parts, content));
            Layered::<_, _, S::Error>::called(work, Watched(Some(watch))).await
        }))
    }
}

/// A request whose handler should use its key, if it has one.
pub struct Watched(Option<Watch>);

struct Watch {
    used: Arc<AtomicBool>,
    route: String,
    options: Arc<Options>,
}

impl Around for Watched {
    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        if let (Some(Watch { used, route, options }), Ok(answer)) = (self.0, &answer)
            && answer.status().is_success()
            && !used.load(Ordering::Relaxed)
            && !options.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                route,
                "an Idempotency-Key was sent and its handler does not use Idempotent: when the \
                 request is sent again, its effect comes again"
            );
        }
        answer
    }
}

impl Options {
    /// Whose key it is, where the request has one that counts.
    fn id(&self, parts: &Parts) -> Result<Option<Id>, Problem> {
        if parts.method.is_safe() {
            return Ok(None);
        }
        let Some(key) = header::key(&parts.headers)? else {
            return if self.required { Err(refusal::missing()) } else { Ok(None) };
        };
        let scope = self.scope(parts).ok_or_else(refusal::nobody)?;
        Ok(Some(Id::new(&scope, &key)))
    }

    /// The key and what it is for, and the body again.
    async fn admit(&self, id: Id, parts: &Parts, content: Body) -> Result<(Keyed, Body), Problem> {
        let bytes =
            body::collect(content, self.request_max).await.map_err(|unread| match unread {
                Unread::TooLarge => refusal::too_large(self.request_max),
                Unread::Broken(error) => refusal::broken(&error),
            })?;
        Ok((Keyed::new(id, Fingerprint::new(parts, &bytes)), Body::from(bytes)))
    }

    fn scope(&self, parts: &Parts) -> Option<String> {
        let address = client::found_or_warned(&parts.headers, &parts.extensions);
        let client = address.map(|address| key::network(address, IPV6_PREFIX));
        self.scope.known(parts, client.as_deref())
    }
}

fn route(parts: &Parts) -> String {
    let path = parts.extensions.get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    format!("{} {path}", parts.method)
}
