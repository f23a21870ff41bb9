//! The layer: a version is resolved before a router sees the request.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use axum::routing::{MethodRouter, Route as Routed, get};
use axum::{Json, Router};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::service::Versioned;
use super::versions::Versions;
use crate::layered::{Around, Layered};

/// What a router matched, on its way out to where it is counted.
#[derive(Clone)]
pub(super) struct Route(pub(super) MatchedPath);

impl Versions {
    /// These versions around a router, whose routes are written once, without a version in their path.
    ///
    /// `Router::layer` would not do: its layers see a request after its route was chosen. Layers that
    /// need the route, such as [`ScopeLayer`](crate::ScopeLayer), go on `router`; those that must see
    /// refusals too, such as tower-http's `CorsLayer`, go on what comes back. Merge what comes back into
    /// a router rather than nest it: [`under`](super::VersionsBuilder::under) says where versions are,
    /// and links to successors need the whole path.
    pub fn wrap(&self, router: Router) -> Router {
        let routed = router.layer(layer_fn(Noting));
        Router::new().fallback_service(Layer::layer(self, routed))
    }

    /// A route that answers GET with the [report](super::Usage::report) of who uses what, in this process:
    /// what `mainstay versions report` reads, from each replica. It names clients and is as long as there
    /// are some, so it belongs where operators alone can reach it: another listener, or behind a login.
    ///
    /// ```
    /// # use axum::Router;
    /// # use mainstay_http::Versions;
    /// # fn main() -> mainstay_core::Result<()> {
    /// let versions = Versions::numbered(2)?;
    /// let admin: Router = Router::new().route("/versions", versions.usage_route());
    /// # let _ = admin;
    /// # Ok(()) }
    /// ```
    pub fn usage_route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let versions = self.clone();
        get(async move || Json(versions.usage().report()))
    }
}

/// Notes on each answer which route it is of.
#[derive(Clone)]
struct Noting(Routed);

impl Service<Request> for Noting {
    type Response = Response;
    type Error = Infallible;
    type Future = Layered<<Routed as Service<Request>>::Future, Noted, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let matched = request.extensions().get::<MatchedPath>().cloned();
        Layered::called(self.0.call(request), Noted(matched))
    }
}

struct Noted(Option<MatchedPath>);

impl Around for Noted {
    fn finish<E>(self, answer: Result<Response<Body>, E>) -> Result<Response<Body>, E> {
        answer.map(|mut response| {
            if let Some(matched) = self.0 {
                response.extensions_mut().insert(Route(matched));
            }
            response
        })
    }
}

/// Around any service. The count of who uses what knows no routes then: [`wrap`](Versions::wrap) does.
impl<S> Layer<S> for Versions {
    type Service = Versioned<S>;

    fn layer(&self, inner: S) -> Versioned<S> {
        Versioned { inner, versions: self.clone() }
    }
}
