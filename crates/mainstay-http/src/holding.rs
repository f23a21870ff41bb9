//! A body that keeps something until it has ended, such as its request's place among the concurrent ones: a
//! slow download is under way until its last byte.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

struct Holding<T> {
    body: Body,
    kept: Option<T>,
}

/// `body`, with `kept` until it has ended or is dropped.
pub(crate) fn holding<T: Send + Unpin + 'static>(body: Body, kept: T) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(Holding { body, kept: Some(kept) })
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let ended = match &frame {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(None | Some(Err(_))) => true,
        };
        if ended {
            self.kept = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
