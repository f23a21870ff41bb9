//! Shedding: as much is begun as the service can do, the rest waits a little or is turned away, by
//! priority; and what is past its deadline is not begun.
//!
//! Who asks too much of the service is the [limits'](crate::RateLimitLayer) matter: here nobody is
//! counted, and all are in the same boat.

pub(crate) mod adaptive;
mod gate;
mod observed;
mod refusal;
mod service;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use mainstay_core::clock::Clock;
use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot};
use mainstay_core::rng::Rng;
use mainstay_core::scope::{Priority, Scope};
use tower_layer::Layer;

use adaptive::Adaptive;
use gate::Gate;
pub use service::Shedding;

const MIN: usize = 8;
const MAX: usize = 1024;
const START: usize = 64;
const QUEUE: usize = 256;
const PATIENCE: Duration = Duration::from_millis(100);
const EXEMPT: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Keeps a service quick under more load than it can bear: an adaptive limit of what is under way,
/// learnt from how long requests take, and a short queue before it.
///
/// | priority | when the limit is reached |
/// |---|---|
/// | `Low` | refused at once |
/// | `Normal` | waits for at most the [patience](Self::patience), then refused |
/// | `High` | begun all the same up to the maximum, then first in the queue until its deadline |
///
/// A refusal is 503 (HTTP-040) with Retry-After. A request whose deadline has passed is not begun, and
/// one whose deadline passes while it waits is not either: 504 (HTTP-041). So the layer belongs inside
/// [`ScopeLayer`](crate::ScopeLayer), which knows the deadline, and so is added before it. A place is
/// kept until the answer's body has ended or was dropped: exempt what streams for ever.
///
/// Clones, and all the routes that it is a layer of, share one limit.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_core::scope::Priority;
/// use mainstay_http::{ScopeLayer, ShedLayer};
///
/// let shed = ShedLayer::new().concurrency(16, 512).priority(|parts| match parts.uri.path() {
///     "/login" | "/pay" => Priority::High,
///     "/export" => Priority::Low,
///     _ => Priority::Normal,
/// });
/// let app: Router = Router::new()
///     .route("/login", get(async || "welcome"))
///     .layer(shed)
///     .layer(ScopeLayer::new());
/// # let _ = app;
/// ```
#[derive(Clone)]
pub struct ShedLayer {
    options: Arc<Options>,
    gate: Arc<Gate>,
}

type Judge = dyn Fn(&Parts) -> Priority + Send + Sync;

#[derive(Clone)]
struct Options {
    bounds: (usize, usize),
    queue: usize,
    patience: Duration,
    judge: Option<Arc<Judge>>,
    exempt: Arc<[String]>,
    clock: Clock,
    rng: Rng,
}

impl ShedLayer {
    /// From 8 to 1,024 at once, beginning with 64; 256 may wait, those of normal priority for 100 ms.
    pub fn new() -> Self {
        let options = Options {
            bounds: (MIN, MAX),
            queue: QUEUE,
            patience: PATIENCE,
            judge: None,
            exempt: EXEMPT.map(str::to_owned).into(),
            clock: Clock::system(),
            rng: Rng::system(),
        };
        Self { gate: options.gate(), options: Arc::new(options) }
    }

    /// How many may be under way, at least and at most. Begins at 64, or the nearer bound.
    pub fn concurrency(self, min: usize, max: usize) -> Self {
        self.with(|options| options.bounds = (min, max))
    }

    /// How many may wait. Default 256; with 0 nobody waits.
    pub fn queue(self, most: usize) -> Self {
        self.with(|options| options.queue = most)
    }

    /// How long a request of normal priority may wait. Default 100 ms.
    pub fn patience(self, most: Duration) -> Self {
        self.with(|options| options.patience = most)
    }

    /// Says how urgent a request is. Its [`Scope`] has that priority from then on. Default: the scope's
    /// own, and without one [`Priority::Normal`].
    pub fn priority(self, judge: impl Fn(&Parts) -> Priority + Send + Sync + 'static) -> Self {
        self.with(|options| options.judge = Some(Arc::new(judge)))
    }

    /// The routes that are neither counted nor refused, in place of `/livez`, `/readyz` and `/metrics`.
    pub fn exempt<T: Into<String>>(self, routes: impl IntoIterator<Item = T>) -> Self {
        let routes = routes.into_iter().map(Into::into).collect();
        self.with(|options| options.exempt = routes)
    }

    /// The clock by which requests wait and deadlines pass. Default the machine's.
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|options| options.clock = clock)
    }

    /// Where the spread of Retry-After comes from. Default the machine.
    pub fn rng(self, rng: Rng) -> Self {
        self.with(|options| options.rng = rng)
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> Self {
        set(Arc::make_mut(&mut self.options));
        self.gate = self.options.gate();
        self
    }
}

impl Options {
    fn gate(&self) -> Arc<Gate> {
        let (min, max) = self.bounds;
        let limit = Adaptive::new(min, max, START);
        Arc::new(Gate::new(limit, self.queue, self.patience, self.clock.clone()))
    }

    fn is_exempt(&self, parts: &Parts) -> bool {
        // Inside a nested router the path is a part alone, and the matched route the whole.
        let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let path = matched.unwrap_or(parts.uri.path());
        self.exempt.iter().any(|exempt| exempt == path)
    }

    fn priority(&self, parts: &Parts, scope: Option<&Scope>) -> Priority {
        match &self.judge {
            Some(judge) => judge(parts),
            None => scope.map(Scope::priority).unwrap_or_default(),
        }
    }
}

impl Default for ShedLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shedding<S>;

    fn layer(&self, inner: S) -> Shedding<S> {
        Shedding { inner, layer: self.clone() }
    }
}

impl Inspect for ShedLayer {
    fn inspect(&self) -> Snapshot {
        let (limit, in_flight, waiting) = self.gate.stands();
        let health = if waiting > 0 { Health::Degraded } else { Health::Good };
        Snapshot::new("shed", "requests")
            .health(health)
            .fact(Fact::count("limit", limit))
            .fact(Fact::count("in flight", in_flight))
            .fact(Fact::count("waiting", waiting))
    }
}

impl fmt::Debug for ShedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, in_flight, waiting) = self.gate.stands();
        f.debug_struct("ShedLayer")
            .field("limit", &limit)
            .field("in_flight", &in_flight)
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
