//! The service behind [`Versions`](super::Versions).

use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use tower_service::Service;

use super::admit::{Admitted, Pass};
use super::versions::Versions;
use crate::layered::{Around, Layered};

/// What [`Versions`] make of a service.
#[derive(Clone, Debug)]
pub struct Versioned<S> {
    pub(super) inner: S,
    pub(super) versions: Versions,
}

impl<S, B, R> Service<Request<B>> for Versioned<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Layered<S::Future, OfVersion, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, content) = request.into_parts();
        let pass = match self.versions.inner().admit(&mut parts) {
            Admitted::Refused(refused) => return Layered::answered(*refused),
            Admitted::Unversioned => None,
            Admitted::Version(pass) => Some(pass),
        };
        let work = self.inner.call(Request::from_parts(parts, content));
        Layered::called(work, OfVersion { versions: self.versions.clone(), pass })
    }
}

/// A request that may go on.
pub struct OfVersion {
    versions: Versions,
    pass: Option<Pass>,
}

impl Around for OfVersion {
    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        let versions = self.versions.inner();
        let failed = answer.as_ref().map_or(true, |response| response.status().is_server_error());
        versions.answered(failed);
        answer.map(|mut response| {
            if let Some(pass) = &self.pass {
                versions.tell(pass, &mut response);
            }
            response
        })
    }
}
