//! The scope of each request: its route, by which statements, checkouts and leaks are attributed,
//! and the time by which it must be answered.

mod body;
mod service;
mod timeout;

use std::time::Duration;

use axum::http::HeaderName;
use mainstay_core::clock::Clock;
use tower_layer::Layer;

pub use service::Scoped;
pub(crate) use service::route;

/// The header in which a caller says how long it waits: seconds (`2`, `1.5`, `2s`) or `250ms`.
pub const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

const DEFAULT: Duration = Duration::from_secs(30);
const MAX: Duration = Duration::from_secs(60);

/// Runs each request in a [`Scope`](mainstay_core::scope::Scope) of its own, named `METHOD /route`
/// by axum's matched route (`METHOD unknown` where none matched), with a deadline.
///
/// The deadline is the caller's `X-Request-Timeout` or the [default](Self::default_deadline), and
/// never beyond the [maximum](Self::max_deadline). It goes where the scope goes: waits for a
/// connection and statements end by it. When it passes, the handler is dropped where it stands, which
/// rolls open transactions back, and the answer is 504 with HTTP-003. A header that can't be
/// understood is 400 with HTTP-002, and the handler is not called.
///
/// The deadline is for the answer's head. A body that is streamed is polled in the same scope
/// without a deadline: it ends when the caller goes away. Add this layer last of Mainstay's, so that
/// it is the outermost.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_core::scope::Scope;
/// use mainstay_http::ScopeLayer;
/// use std::time::Duration;
///
/// let app: Router = Router::new()
///     .route("/users/{id}", get(async || {
///         Scope::current().map(|scope| scope.name().to_owned()).unwrap_or_default()
///     }))
///     .layer(ScopeLayer::new().max_deadline(Duration::from_secs(10)));
/// # let _ = app;
/// ```
#[derive(Clone, Debug)]
pub struct ScopeLayer(Options);

#[derive(Clone, Debug)]
struct Options {
    default: Option<Duration>,
    max: Duration,
    clock: Clock,
}

impl ScopeLayer {
    /// 30 s where the caller says nothing, and at most 60 s.
    pub fn new() -> Self {
        Self(Options { default: Some(DEFAULT), max: MAX, clock: Clock::system() })
    }

    /// How long a request may take whose caller says nothing; `None` for as long as it likes.
    /// Default 30 s; no longer than the maximum.
    pub fn default_deadline(mut self, within: impl Into<Option<Duration>>) -> Self {
        self.0.default = within.into();
        self
    }

    /// How long a request may take at most: a caller who asks for more gets this. Default 60 s.
    pub fn max_deadline(mut self, within: Duration) -> Self {
        self.0.max = within;
        self
    }

    /// The clock by which deadlines pass. Default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }
}

impl Default for ScopeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = Scoped<S>;

    fn layer(&self, inner: S) -> Scoped<S> {
        Scoped { inner, options: self.0.clone() }
    }
}
