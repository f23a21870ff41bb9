//! The layer and its options.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{Method, header};
use mainstay_core::{Code, Error, Result};
use mainstay_limit::Limits;
use tower_layer::Layer;

use super::headers::Told;
use super::key;
use super::service::RateLimit;
use super::{Cors, Families, Key};
use crate::client::{self, TrustedProxies};

/// The bits of an IPv6 address that a subscriber usually has.
pub(crate) const IPV6_PREFIX: u8 = 56;
const EXEMPT: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Limits around an axum `Router` or `MethodRouter`, by `layer` or `route_layer`.
///
/// Each policy of its [`Limits`] has a [`Key`]. A request is counted by all policies or by none. One
/// that is refused gets 429 (HTTP-001) with Retry-After, or 503 (LIMIT-002) where the store does not
/// answer and the policy says `closed`; every other answer tells what is left, in the headers of
/// [`Families`]. A policy in shadow mode is logged and measured, and callers are not told of it.
/// Units of a concurrency limit come back when the answer's body has ended or was dropped.
///
/// Never counted: `/livez`, `/readyz` and `/metrics`, or what [`exempt`](Self::exempt) names
/// instead; CORS preflights; what costs 0.
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use mainstay_http::{Key, RateLimitLayer};
/// use mainstay_limit::{Limits, Policy};
///
/// # fn main() -> mainstay_core::Result<()> {
/// let policies: Vec<Policy> = vec![
///     "10/s burst 20".parse::<Policy>()?.named("second"),
///     "sliding 1000/h".parse::<Policy>()?.named("hour"),
/// ];
/// let all = RateLimitLayer::new(Limits::local(policies)?, [
///     Key::client(),
///     Key::header("x-api-key"),
/// ])?;
/// let login: Policy = "5/min".parse()?;
/// let login = RateLimitLayer::by(Limits::local(vec![login.named("login")])?, Key::client())?;
/// let app: Router = Router::new()
///     .route("/login", post(async || "welcome").layer(login))
///     .route("/search", get(async || "found"))
///     .layer(all.cost(|parts| if parts.uri.path() == "/search" { 5 } else { 1 }));
/// # let _ = app;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer(Arc<Options>);

type Cost = dyn Fn(&Parts) -> u32 + Send + Sync;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) limits: Limits,
    /// The keys that differ.
    keys: Vec<Key>,
    /// For each policy, the place of its key among them.
    pub(super) places: Vec<usize>,
    cost: Option<Arc<Cost>>,
    exempt: Vec<String>,
    proxies: Option<TrustedProxies>,
    ipv6_prefix: u8,
    pub(super) told: Told,
    pub(super) cors: Option<Cors>,
}

impl RateLimitLayer {
    /// One key a policy, in their order. Errors: HTTP-004 where there are more or fewer, where a header
    /// has an impossible name, and where a policy's name is empty or not printable ASCII.
    pub fn new(limits: Limits, keys: impl IntoIterator<Item = Key>) -> Result<Self> {
        let told = Told::new(limits.policies())?;
        let (mut differing, mut places) = (Vec::<Key>::new(), Vec::new());
        for key in keys {
            if let Some(name) = key.wrong_header() {
                return Err(Error::new(
                    Code::HttpOption,
                    format!("no header can be called {name:?}"),
                ));
            }
            let place = differing.iter().position(|known| known.is(&key)).unwrap_or_else(|| {
                differing.push(key);
                differing.len() - 1
            });
            places.push(place);
        }
        let (policies, given) = (limits.policies().len(), places.len());
        if policies != given {
            let what = format!("{given} keys are given for {policies} policies");
            return Err(
                Error::new(Code::HttpOption, what).fix("give one key a policy, in their order")
            );
        }
        Ok(Self(Arc::new(Options {
            limits,
            keys: differing,
            places,
            cost: None,
            exempt: EXEMPT.map(str::to_owned).into(),
            proxies: None,
            ipv6_prefix: IPV6_PREFIX,
            told,
            cors: None,
        })))
    }

    /// One key for all policies. Errors as [`new`](Self::new).
    pub fn by(limits: Limits, key: Key) -> Result<Self> {
        let keys = vec![key; limits.policies().len()];
        Self::new(limits, keys)
    }

    /// What a request costs. Default 1; 0 is not counted.
    pub fn cost(mut self, cost: impl Fn(&Parts) -> u32 + Send + Sync + 'static) -> Self {
        self.options_mut().cost = Some(Arc::new(cost));
        self
    }

    /// The routes that are not counted, in place of `/livez`, `/readyz` and `/metrics`: as the router
    /// has them, or a whole path where no route matches.
    pub fn exempt<T: Into<String>>(mut self, routes: impl IntoIterator<Item = T>) -> Self {
        self.options_mut().exempt = routes.into_iter().map(Into::into).collect();
        self
    }

    /// The proxies that are trusted to say who the client is. Default: what [`TrustedProxies`] outside
    /// this layer found, and without it the connection's other end.
    pub fn proxies(mut self, proxies: TrustedProxies) -> Self {
        self.options_mut().proxies = Some(proxies);
        self
    }

    /// The bits of an IPv6 address that tell one client from another: 1 to 128. Default 56, what a
    /// subscriber usually has; one may have all addresses behind them, and take a new one each time.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.options_mut().ipv6_prefix = bits.clamp(1, 128);
        self
    }

    /// The headers that tell what is left. Default [`Families::Standard`].
    pub fn headers(mut self, families: Families) -> Self {
        self.options_mut().told.families = families;
        self
    }

    /// Lets scripts of other origins read a refusal. Not needed inside a `CorsLayer`, and no harm there;
    /// outside one, a browser tells its script nothing of a 429 without it.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.options_mut().cors = Some(cors);
        self
    }
}

impl RateLimitLayer {
    /// A router may put a layer around its handlers anew for every request: that copies nothing.
    fn options_mut(&mut self) -> &mut Options {
        Arc::make_mut(&mut self.0)
    }
}

#[cfg(test)]
impl RateLimitLayer {
    pub(super) fn options(&self) -> &Options {
        &self.0
    }
}

/// What is asked of the limits for one request.
pub(super) struct Asked {
    client: Cow<'static, str>,
    /// `None` where it is the client.
    keys: Vec<Option<String>>,
    pub(super) cost: u32,
}

impl Asked {
    /// The text of the key at `place`.
    pub(super) fn key(&self, place: usize) -> &str {
        self.keys[place].as_deref().unwrap_or(&self.client)
    }
}

impl Options {
    /// `None` for a request that is not counted.
    pub(super) fn ask(&self, parts: &Parts) -> Option<Asked> {
        let cost = self.cost.as_ref().map_or(1, |cost| cost(parts));
        if cost == 0 || is_preflight(parts) || self.is_exempt(parts) {
            return None;
        }
        let address = match &self.proxies {
            Some(proxies) => proxies.find(&parts.headers, &parts.extensions),
            None => client::found_or_warned(&parts.headers, &parts.extensions),
        };
        let client = key::client(address, self.ipv6_prefix);
        let keys = self.keys.iter().map(|key| key.of(parts, &client)).collect();
        Some(Asked { client, keys, cost })
    }

    fn is_exempt(&self, parts: &Parts) -> bool {
        // Inside a nested router the path is a part alone, and the matched route the whole.
        let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let path = matched.unwrap_or(parts.uri.path());
        self.exempt.iter().any(|exempt| exempt == path)
    }
}

/// A browser's question whether it may ask: refused, it would never ask, and tell nobody why.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("policies", &self.limits.policies())
            .field("keys", &self.keys)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, options: Arc::clone(&self.0) }
    }
}
