//! The service behind [`TokenLayer`](super::TokenLayer).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::token::Tokens;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Options;

/// What [`TokenLayer`](super::TokenLayer) makes of a service.
#[derive(Clone, Debug)]
pub struct Carried<S> {
    pub(super) inner: S,
    pub(super) options: Arc<Options>,
}

impl<S, B, R> Service<Request<B>> for Carried<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Carrying<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Around the layer that makes the scope there is none yet: its scope then shares the marks of this one.
        let scope = Scope::current()
            .unwrap_or_else(|| Scope::new(Kind::Request, crate::scope::route(&request)));
        match self.options.take(request.headers(), &scope) {
            Err(problem) => Carrying::answered(problem.into_response()),
            Ok(came) => {
                let future = scope.enter(|| self.inner.call(request));
                let options = Arc::clone(&self.options);
                Carrying {
                    future: Some(future),
                    carry: Some(Carry { scope, came, options }),
                    settling: None,
                    answer: None,
                }
            }
        }
    }
}

struct Carry {
    scope: Scope,
    came: Tokens,
    options: Arc<Options>,
}

type Settling = Pin<Box<dyn Future<Output = Tokens> + Send>>;

pin_project! {
    /// An answer on its way, and then the tokens of what was written for it.
    #[project = Step]
    pub struct Carrying<F> {
        #[pin]
        future: Option<F>,
        carry: Option<Carry>,
        // Positions that are not known yet; most are.
        settling: Option<Settling>,
        answer: Option<Response<Body>>,
    }

    impl<F> PinnedDrop for Carrying<F> {
        fn drop(this: Pin<&mut Self>) {
            // A handler that is dropped in the middle is where it was called.
            let Step { mut future, carry, .. } = this.project();
            if let Some(carry) = carry {
                carry.scope.enter(|| future.set(None));
            }
        }
    }
}

impl<F> Carrying<F> {
    fn answered(answer: Response<Body>) -> Self {
        Self { future: None, carry: None, settling: None, answer: Some(answer) }
    }
}

impl<F, E, R> Future for Carrying<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Step { mut future, carry, settling, answer } = self.project();
        if let (Some(running), Some(carry)) = (future.as_mut().as_pin_mut(), &*carry) {
            let Poll::Ready(done) = carry.scope.enter(|| running.poll(cx)) else {
                return Poll::Pending;
            };
            carry.scope.enter(|| future.set(None));
            *answer = Some(done?.map(Body::new));
        }
        let mut whole = answer.take().expect("it is polled after it was ready");
        let Some(Carry { scope, came, options }) = carry else { return Poll::Ready(Ok(whole)) };
        if settling.is_none()
            && let Some(tokens) = scope.tokens_now()
        {
            options.put(whole.headers_mut(), &tokens, came);
            return Poll::Ready(Ok(whole));
        }
        let waits = settling.get_or_insert_with(|| {
            let scope = scope.clone();
            Box::pin(async move { scope.tokens().await })
        });
        match waits.as_mut().poll(cx) {
            Poll::Ready(tokens) => {
                options.put(whole.headers_mut(), &tokens, came);
                Poll::Ready(Ok(whole))
            }
            Poll::Pending => {
                *answer = Some(whole);
                Poll::Pending
            }
        }
    }
}
