//! The future of Mainstay's layers: the inner service's own, with what a layer does around it. Nothing is
//! boxed unless something has to be waited for before the inner service is called.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use pin_project_lite::pin_project;

/// An answer that is waited for with other things before it.
pub(crate) type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// What a layer does with the inner service's future.
pub trait Around {
    /// Runs one poll of it, or its drop: inside a scope, say.
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// What is answered in its place, if its time is over. Asked whenever it is not ready.
    fn overdue(&mut self, _: &mut Context<'_>) -> Poll<Response<Body>> {
        Poll::Pending
    }

    /// What becomes of the answer.
    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E>
    where
        Self: Sized;
}

/// A layer may have nothing to do with a request.
impl<A: Around> Around for Option<A> {
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        match self {
            Some(around) => around.within(work),
            None => work(),
        }
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        self.as_mut().map_or(Poll::Pending, |around| around.overdue(cx))
    }

    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        match self {
            Some(around) => around.finish(answer),
            None => answer,
        }
    }
}

pin_project! {
    /// An answer on its way through a layer.
    #[project = Step]
    pub enum Layered<F, A, E>
    where
        A: Around,
    {
        /// The inner service was called.
        Called {
            #[pin]
            future: Option<F>,
            around: Option<A>,
        },
        /// It has not been called yet.
        Waiting {
            future: Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>,
        },
        /// It is not called at all.
        Answered {
            answer: Option<Response<Body>>,
        },
    }

    impl<F, A, E> PinnedDrop for Layered<F, A, E>
    where
        A: Around,
    {
        fn drop(this: Pin<&mut Self>) {
            // A handler that is dropped in the middle is where it was called.
            if let Step::Called { mut future, around: Some(around) } = this.project() {
                around.within(|| future.set(None));
            }
        }
    }
}

impl<F, A: Around, E> Layered<F, A, E> {
    /// The inner service was called.
    pub(crate) fn called(future: F, around: A) -> Self {
        Self::Called { future: Some(future), around: Some(around) }
    }

    /// Something else has to be waited for first.
    pub(crate) fn waiting(future: Answering<E>) -> Self {
        Self::Waiting { future }
    }

    /// This is the answer.
    pub(crate) fn answered(answer: Response<Body>) -> Self {
        Self::Answered { answer: Some(answer) }
    }
}

impl<F, A, E, R> Future for Layered<F, A, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    A: Around,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const TWICE: &str = "it is polled after it was ready";
        match self.project() {
            Step::Called { mut future, around } => {
                let whole = around.as_mut().expect(TWICE);
                let polled = whole.within(|| {
                    let polled = future.as_mut().as_pin_mut().expect(TWICE).poll(cx);
                    if polled.is_ready() {
                        future.set(None);
                    }
                    polled
                });
                let answer = match polled {
                    Poll::Ready(answer) => answer.map(|response| response.map(Body::new)),
                    Poll::Pending => {
                        let Poll::Ready(answer) = whole.overdue(cx) else { return Poll::Pending };
                        whole.within(|| future.set(None));
                        *around = None;
                        return Poll::Ready(Ok(answer));
                    }
                };
                Poll::Ready(around.take().expect(TWICE).finish(answer))
            }
            Step::Waiting { future } => future.as_mut().poll(cx),
            Step::Answered { answer } => Poll::Ready(Ok(answer.take().expect(TWICE))),
        }
    }
}
