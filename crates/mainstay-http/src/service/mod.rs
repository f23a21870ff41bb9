//! Calls to other services: within the deadline of the request they are made for, tried again only
//! where that is safe and affordable, and stopped by policies that say so. It is HTTP/1.1 by hyper's
//! pooled client.
//!
//! ```no_run
//! # async fn example() -> mainstay_core::Result<()> {
//! use mainstay_http::service::{Breaker, Hedge, Service};
//! use serde_json::{Value, json};
//! use std::time::Duration;
//!
//! let inventory = Service::builder("inventory", ["http://10.0.0.7:8081", "http://10.0.0.8:8081"])
//!     .timeout(Duration::from_secs(2))
//!     .retry_budget(0.1, 1.0)
//!     .hedge_after(Hedge::P95)
//!     .breaker(Breaker::new().open_for(Duration::from_secs(3)))
//!     .concurrency(8, 200)
//!     .build()?;
//! let reply = inventory.get("/stock/{sku}").arg("sku", "a-1").await?;
//! let reserved: Value = inventory
//!     .post("/reservations")
//!     .json(&json!({ "sku": "a-1", "units": 2 }))
//!     .idempotency_key("order-17")
//!     .send()
//!     .await?;
//! # let _ = (reply, reserved);
//! # Ok(()) }
//! ```

mod attempt;
mod breaker;
mod budget;
mod builder;
mod call;
mod endpoint;
mod failure;
mod hedge;
mod inspect;
mod log;
mod observed;
mod outlier;
mod path;
mod pick;
mod reply;
mod run;
mod target;
mod tls;
mod tokens;
mod trace;
mod trace_layer;
mod transport;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Method};
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use tokio::sync::Notify;

pub use breaker::Breaker;
pub use builder::Builder;
pub use call::{Call, Calling};
pub use endpoint::{Endpoint, Typed};
pub use failure::{Failure, Policy};
pub use hedge::Hedge;
pub use outlier::Outliers;
pub use reply::Reply;
pub use trace::Trace;
pub use trace_layer::{TraceContextLayer, Traced};

/// Another service, at one address or several. Cheap to clone; the clones share connections, breakers
/// and budgets, so make one for each service and keep it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    targets: Vec<Arc<target::Target>>,
    timeout: Duration,
    attempt_timeout: Option<Duration>,
    attempts: u32,
    budget: budget::Budget,
    backoff: budget::Backoff,
    hedging: Option<hedge::Hedging>,
    breaker: Option<Breaker>,
    bulkhead_wait: Duration,
    outliers: Outliers,
    transport: transport::Transport,
    headers: HeaderMap,
    /// In which tokens go there and come back.
    tokens: Option<HeaderName>,
    /// Somewhere a place became free.
    freed: Notify,
    clock: Clock,
    rng: Rng,
}

impl Service {
    /// The service `name`, as errors and metrics call it, at `targets`: whole URLs, such as
    /// `http://10.0.0.7:8081` or `http://inventory:8081/api`.
    pub fn builder<T: Into<String>>(
        name: impl Into<String>,
        targets: impl IntoIterator<Item = T>,
    ) -> Builder {
        Builder::new(name.into(), targets.into_iter().map(Into::into).collect())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Begins a call of any method. `path` is written with `{name}` for what differs from call to
    /// call, which [`Call::arg`] gives; so metrics have few values.
    pub fn request(&self, method: Method, path: impl Into<Cow<'static, str>>) -> Call {
        Call::new(self.clone(), method, path.into())
    }

    /// Begins a GET.
    pub fn get(&self, path: impl Into<Cow<'static, str>>) -> Call {
        self.request(Method::GET, path)
    }

    /// Begins a POST.
    pub fn post(&self, path: impl Into<Cow<'static, str>>) -> Call {
        self.request(Method::POST, path)
    }

    /// Begins a PUT.
    pub fn put(&self, path: impl Into<Cow<'static, str>>) -> Call {
        self.request(Method::PUT, path)
    }

    /// Begins a PATCH.
    pub fn patch(&self, path: impl Into<Cow<'static, str>>) -> Call {
        self.request(Method::PATCH, path)
    }

    /// Begins a DELETE.
    pub fn delete(&self, path: impl Into<Cow<'static, str>>) -> Call {
        self.request(Method::DELETE, path)
    }
}

impl Inner {
    /// For how long a breaker that opens now stays so.
    fn open_for(&self) -> Duration {
        let whole = self.breaker.map_or(Duration::ZERO, |breaker| breaker.open_for);
        self.rng.jittered(whole, 0.2)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<&str> = self.0.targets.iter().map(|t| t.name.as_str()).collect();
        f.debug_struct("Service")
            .field("name", &self.0.name)
            .field("targets", &targets)
            .finish_non_exhaustive()
    }
}
