//! A body that is streamed belongs to its request's scope: what it asks of a database while it is
//! polled is attributed as the handler's own work is.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use mainstay_core::scope::Scope;

pub(super) struct ScopedBody {
    body: Body,
    scope: Scope,
}

/// `body` in `scope`, unless it is there already and nothing runs to make it.
pub(super) fn scoped(body: Body, scope: Scope) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::new(ScopedBody { body, scope: scope.without_deadline() })
}

impl HttpBody for ScopedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, scope } = self.get_mut();
        scope.enter(|| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
