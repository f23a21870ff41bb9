//! Who may ask how often: each client, and each client that wants to log in or to order.

use axum::http::request::Parts;
use mainstay::http::{Key, RateLimitLayer, ShedLayer, TrustedProxies};
use mainstay::limit::redis::RedisStore;
use mainstay::limit::{Limits, Policy};
use mainstay::scope::Priority;
use mainstay::{Code, Error, Result};

use crate::api::UNDER;
use crate::config::Config;

/// The layers around the routes.
pub(crate) struct Layers {
    /// Of all requests.
    pub(crate) requests: RateLimitLayer,
    /// Of those that ask for a code or try one.
    pub(crate) login: RateLimitLayer,
    /// Of new orders: by the client too, since who orders is not known before the body is read.
    pub(crate) orders: RateLimitLayer,
}

/// Errors: CFG-003, LIMIT-002.
pub(crate) async fn layers(config: &Config) -> Result<Layers> {
    let store = match &config.redis.url {
        Some(url) => Some(RedisStore::connect(url).await?.prefix("shop")),
        None => None,
    };
    let writes = |parts: &Parts| u32::from(!parts.method.is_safe());
    let layer = |name, policy: &str| layer(name, policy, store.as_ref());
    Ok(Layers {
        requests: layer("requests", &config.limits.requests)?,
        login: layer("login", &config.limits.login)?,
        orders: layer("orders", &config.limits.orders)?.cost(writes),
    })
}

/// Under more load than it can carry, the shop still takes orders and money, and lets users in; lists come last.
pub(crate) fn shedding() -> ShedLayer {
    ShedLayer::new().priority(|parts| {
        let path = parts.uri.path();
        let is = |route: &str| path.strip_prefix(UNDER).is_some_and(|p| p.starts_with(route));
        if is("/login") || (!parts.method.is_safe() && (is("/orders") || is("/transfers"))) {
            Priority::High
        } else if is("/best-sellers") {
            Priority::Low
        } else {
            Priority::Normal
        }
    })
}

/// The proxies in front, whose word on the client's address counts.
pub(crate) fn proxies(config: &Config) -> TrustedProxies {
    TrustedProxies::hops(config.limits.trusted_hops)
}

fn layer(name: &'static str, policy: &str, store: Option<&RedisStore>) -> Result<RateLimitLayer> {
    let policy: Policy = policy.parse().map_err(|e: Error| {
        Error::new(Code::ConfigValue, format!("limits.{name} is no policy")).cause(e)
    })?;
    let limits = Limits::builder(vec![policy.named(name)]);
    let limits = match store {
        Some(store) => limits.redis(store.clone()),
        None => limits,
    };
    RateLimitLayer::by(limits.build()?, Key::client())
}
