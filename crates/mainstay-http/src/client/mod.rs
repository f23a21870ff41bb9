//! Who asks: the address that can be trusted, out of what a connection and its proxies say.

mod chain;
mod node;
mod proxies;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use axum::extract::FromRequestParts;
use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode};
use mainstay_core::Code;

use crate::problem::Problem;

pub use proxies::{TrustedProxies, Trusting};

/// The address of the client, as far as it can be trusted: with [`TrustedProxies`] around the
/// handler the one that they saw, else the connection's other end.
///
/// An IPv4 address in an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address. The server must be
/// started with `into_make_service_with_connect_info::<SocketAddr>()`; where the address is not
/// known the rejection is 500 with HTTP-004.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_http::{ClientAddress, TrustedProxies};
///
/// let app: Router = Router::new()
///     .route("/", get(async |ClientAddress(address): ClientAddress| address.to_string()))
///     .layer(TrustedProxies::hops(1));
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The network that counts as one client: an IPv4 address is one; of an IPv6 address the first
    /// `prefix` bits are, since a subscriber has all addresses behind them.
    ///
    /// ```
    /// use mainstay_http::ClientAddress;
    ///
    /// let network = |text: &str| ClientAddress(text.parse().unwrap()).network(56);
    /// assert_eq!(network("2001:db8:1:2ff::9"), "2001:db8:1:200::/56");
    /// assert_eq!(network("192.0.2.1"), "192.0.2.1");
    /// ```
    pub fn network(&self, prefix: u8) -> String {
        match self.0.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let kept = u32::from(prefix.min(128));
                // A shift by all 128 bits has no result.
                let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
                format!("{}/{kept}", Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        found(&parts.extensions).ok_or_else(|| {
            tracing::error!(
                "HTTP-004: the address of a client is not known; start the server with \
                 into_make_service_with_connect_info::<SocketAddr>()"
            );
            let detail = "the operator has been told";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
                .with_code(Code::HttpOption)
        })
    }
}

/// What trusted proxies said, or else the connection's other end.
pub(crate) fn found(extensions: &Extensions) -> Option<ClientAddress> {
    extensions.get::<ClientAddress>().copied().or_else(|| peer(extensions).map(ClientAddress))
}

/// The connection's other end.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let connected = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let mocked = || extensions.get::<MockConnectInfo<SocketAddr>>().map(|info| info.0);
    connected.or_else(mocked).map(|address| address.ip().to_canonical())
}

/// As [`found`], with a word to the operator, once, where it most likely is a proxy's address.
pub(crate) fn found_or_warned(
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Option<ClientAddress> {
    static ONCE: Once = Once::new();
    let written = || headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    if extensions.get::<ClientAddress>().is_none() && !ONCE.is_completed() && written() {
        ONCE.call_once(|| {
            tracing::warn!(
                "requests are forwarded by a proxy, and TrustedProxies does not say which is \
                 trusted: all of its clients are taken for one"
            );
        });
    }
    found(extensions)
}
