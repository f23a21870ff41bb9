//! The service behind [`RateLimitLayer`](super::RateLimitLayer).

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{Request, Response, header};
use mainstay_limit::{Admission, STACK_MAX};
use tower_service::Service;

use super::headers::Left;
use super::layer::{Asked, Options};
use super::{observed, refusal};
use crate::holding::holding;
use crate::layered::{Around, Layered};

/// What [`RateLimitLayer`](super::RateLimitLayer) makes of a service.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    pub(super) inner: S,
    pub(super) options: Arc<Options>,
}

impl<S, B, R> Service<Request<B>> for RateLimit<S>
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
    type Future = Layered<S::Future, Option<Counted>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, content) = request.into_parts();
        let Some(asked) = self.options.ask(&parts) else {
            return Layered::called(self.inner.call(Request::from_parts(parts, content)), None);
        };
        let keys = asked.keys(&self.options);
        // In one process there is nothing to wait for, and nothing is boxed.
        if let Some(admission) = self.options.limits.decide_now(keys.of(), asked.cost) {
            return match self.options.judge(&admission, asked.cost, &parts) {
                Ok(left) => {
                    let work = self.inner.call(Request::from_parts(parts, content));
                    Layered::called(work, Some(Counted::new(left, admission)))
                }
                Err(refused) => Layered::answered(*refused),
            };
        }
        // The one that was asked whether it is ready, not its clone, is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let options = Arc::clone(&self.options);
        Layered::waiting(Box::pin(async move {
            let admission = {
                let keys = asked.keys(&options);
                options.limits.decide(keys.of(), asked.cost).await
            };
            let left = match options.judge(&admission, asked.cost, &parts) {
                Ok(left) => left,
                Err(refused) => return Ok(*refused),
            };
            let counted = Counted::new(left, admission);
            let work = inner.call(Request::from_parts(parts, content));
            Layered::<_, _, S::Error>::called(work, counted).await
        }))
    }
}

/// A request that was counted: what its answer tells, and the units that it holds meanwhile.
pub struct Counted {
    left: Left,
    /// Most limits hold nothing, and their answers pass as they are.
    held: Option<Box<Admission>>,
}

impl Counted {
    fn new(left: Left, admission: Admission) -> Self {
        Self { left, held: admission.holds().then(|| Box::new(admission)) }
    }
}

impl Around for Counted {
    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        answer.map(|mut response| {
            self.left.write(response.headers_mut());
            match self.held {
                Some(held) => response.map(|content| holding(content, held)),
                None => response,
            }
        })
    }
}

/// The keys of the policies, in their order.
struct Keys<'a> {
    keys: [&'a str; STACK_MAX],
    count: usize,
}

impl Keys<'_> {
    fn of(&self) -> &[&str] {
        &self.keys[..self.count]
    }
}

impl Asked {
    fn keys<'a>(&'a self, options: &Options) -> Keys<'a> {
        let mut keys = [""; STACK_MAX];
        for (key, place) in keys.iter_mut().zip(&options.places) {
            *key = self.key(*place);
        }
        Keys { keys, count: options.places.len() }
    }
}

impl Options {
    /// What the answer tells of a request that may go on, or the answer to one that may not.
    fn judge(
        &self,
        admission: &Admission,
        cost: u32,
        parts: &Parts,
    ) -> Result<Left, Box<Response<Body>>> {
        let policies = self.limits.policies();
        observed::tell(policies, admission, parts);
        if !admission.allowed() {
            let origin = parts.headers.get(header::ORIGIN);
            return Err(Box::new(refusal::response(self, admission, cost, origin)));
        }
        Ok(self.told.left(policies, admission.decisions()))
    }
}
