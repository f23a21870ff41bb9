//! Which proxies are trusted, and the client that follows from it.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Extensions, HeaderMap, Request};
use ipnet::IpNet;
use mainstay_core::{Code, Error, Result};
use tower_layer::Layer;
use tower_service::Service;

use super::chain::{self, Header};
use super::{ClientAddress, peer};

/// Proxies in a row, at most.
const HOPS_MAX: usize = 32;

/// The proxies in front of the service, whose word on who asks is believed. A layer: what is inside
/// it finds the [`ClientAddress`].
///
/// `X-Forwarded-For` is read, or [`Forwarded`](Self::forwarded) of RFC 7239; never both, since a proxy
/// that writes one lets the other pass as the caller wrote it. Addresses are counted from the right,
/// the connection's other end being the first: what a caller writes itself is at the left and never
/// wins. The first entry that is no address ends the count, and the last one before it is the client.
///
/// ```
/// use axum::Router;
/// use mainstay_http::TrustedProxies;
///
/// // One load balancer, whatever its address.
/// let app: Router = Router::new().layer(TrustedProxies::hops(1));
/// // As many as there are, from these networks.
/// let app: Router = Router::new().layer(TrustedProxies::ranges(["10.0.0.0/8", "fd00::/8"])?);
/// # let _ = app;
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    trust: Trust,
    header: Header,
}

#[derive(Clone, Debug)]
enum Trust {
    Hops(usize),
    Ranges(Arc<[IpNet]>),
}

impl TrustedProxies {
    /// None: the client is the connection's other end, whatever headers say.
    pub fn none() -> Self {
        Self::hops(0)
    }

    /// So many, each of which adds one entry; at most 32. Every request must come through all of
    /// them: one that goes around the outermost can write its address itself. Where that is not
    /// certain, name their [`ranges`](Self::ranges).
    ///
    /// A connection without an address, such as a Unix socket, counts as the first of them.
    pub fn hops(count: usize) -> Self {
        Self { trust: Trust::Hops(count.min(HOPS_MAX)), header: Header::XForwardedFor }
    }

    /// Those in the networks given, each an address or CIDR range: the client is the first address
    /// from the right that is in none of them. Errors: HTTP-004.
    pub fn ranges<T: AsRef<str>>(ranges: impl IntoIterator<Item = T>) -> Result<Self> {
        let ranges: Result<Arc<[IpNet]>> = ranges.into_iter().map(|r| range(r.as_ref())).collect();
        Ok(Self { trust: Trust::Ranges(ranges?), header: Header::XForwardedFor })
    }

    /// They write `Forwarded`; `X-Forwarded-For` is not read then.
    pub fn forwarded(mut self) -> Self {
        self.header = Header::Forwarded;
        self
    }

    /// The client of a request with `headers` on a connection from `peer`; `None` where nobody
    /// trusted says so.
    ///
    /// ```
    /// use axum::http::HeaderMap;
    /// use mainstay_http::TrustedProxies;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-forwarded-for", "198.51.100.9, 203.0.113.7".parse().unwrap());
    /// let client = TrustedProxies::hops(1).client(&headers, Some([10, 0, 0, 1].into()));
    /// assert_eq!(client, Some([203, 0, 113, 7].into()));
    /// ```
    pub fn client(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<IpAddr> {
        let peer = peer.map(|address| address.to_canonical());
        let mut written = chain::addresses(headers, self.header);
        match &self.trust {
            Trust::Hops(0) => peer,
            Trust::Hops(count) => written.take(*count).last().or(peer),
            Trust::Ranges(ranges) => {
                let trusted = |address: &IpAddr| ranges.iter().any(|range| range.contains(address));
                let mut client = peer?;
                for _ in 0..HOPS_MAX {
                    if !trusted(&client) {
                        break;
                    }
                    let Some(next) = written.next() else { break };
                    client = next;
                }
                Some(client)
            }
        }
    }

    pub(crate) fn find(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Option<ClientAddress> {
        self.client(headers, peer(extensions)).map(ClientAddress)
    }
}

fn range(text: &str) -> Result<IpNet> {
    let range = text.parse::<IpNet>().ok();
    range.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
        Error::new(Code::HttpOption, format!("`{text}` is no address and no range of addresses"))
            .fix("write such as 10.0.0.0/8, fd00::/8 or 192.0.2.1")
    })
}

impl<S> Layer<S> for TrustedProxies {
    type Service = Trusting<S>;

    fn layer(&self, inner: S) -> Trusting<S> {
        Trusting { inner, proxies: self.clone() }
    }
}

/// What [`TrustedProxies`] makes of a service.
#[derive(Clone, Debug)]
pub struct Trusting<S> {
    inner: S,
    proxies: TrustedProxies,
}

impl<S, B> Service<Request<B>> for Trusting<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(client) = self.proxies.find(request.headers(), request.extensions()) {
            request.extensions_mut().insert(client);
        }
        self.inner.call(request)
    }
}
