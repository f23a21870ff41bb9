//! Who or what a limit counts, and whose an idempotency key is.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::http::HeaderName;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::client::ClientAddress;

type Extract = dyn Fn(&Parts) -> Option<String> + Send + Sync;

/// A service's own key is kept as it is up to this length, and as its hash beyond.
const OWN_MAX: usize = 128;

/// Whom a policy counts. Cheap to clone.
///
/// Where a request lacks what a key asks for, it is counted by its client's address instead: leaving
/// a header out gains nobody anything. Keys never reach a log. In
/// [`Limits::set_override`](mainstay_limit::Limits::set_override) they are written so:
///
/// | key | text |
/// |---|---|
/// | [`client`](Self::client) | `ip:192.0.2.1`, `ip:2001:db8:1:200::/56`; `ip:unknown` where none is known |
/// | [`header`](Self::header) | `header:` and the first 32 hexadecimal digits of the value's SHA-256 |
/// | [`route`](Self::route) | `route:GET /users/{id}` |
/// | [`global`](Self::global) | `all` |
/// | [`with`](Self::with) | `own:` and the text, `%` as `%25` and `\|` as `%7C`; beyond 128 bytes `own#` and the digits of its SHA-256 |
/// | [`and`](Self::and) | both, with `\|` between them |
///
/// ```
/// use mainstay_http::Key;
///
/// #[derive(Clone)]
/// struct User(i64);
///
/// let per_key_and_route = Key::header("x-api-key").and(Key::route());
/// let per_user = Key::with(|parts| parts.extensions.get::<User>().map(|user| user.0.to_string()));
/// # let _ = (per_key_and_route, per_user);
/// ```
#[derive(Clone)]
pub struct Key(Arc<Source>);

enum Source {
    Client,
    Header(Result<HeaderName, String>),
    Route,
    Global,
    With(Box<Extract>),
    And(Key, Key),
}

impl Key {
    fn new(source: Source) -> Self {
        Self(Arc::new(source))
    }

    /// The client's address, of IPv6 the network: see
    /// [`RateLimitLayer::ipv6_prefix`](super::RateLimitLayer::ipv6_prefix). Behind a proxy it needs
    /// [`TrustedProxies`](crate::TrustedProxies): else the proxy is the one client of all.
    pub fn client() -> Self {
        Self::new(Source::Client)
    }

    /// The value of a header, such as an API key; only its hash is kept. What is not checked before
    /// can be made up: combine it with a limit by [`client`](Self::client), or put the layer inside
    /// the one that checks it. A name that no header can have is refused by the layer.
    pub fn header(name: &str) -> Self {
        Self::new(Source::Header(name.parse().map_err(|_| name.to_owned())))
    }

    /// The method and the matched route; all paths that match none are one.
    pub fn route() -> Self {
        Self::new(Source::Route)
    }

    /// Everybody together.
    pub fn global() -> Self {
        Self::new(Source::Global)
    }

    /// Whatever the service makes of a request, such as its user. The layer must be inside the one that
    /// puts it there.
    pub fn with(extract: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::new(Source::With(Box::new(extract)))
    }

    /// Each pair of this and `other` is counted by itself.
    pub fn and(self, other: Key) -> Self {
        Self::new(Source::And(self, other))
    }

    /// Whether it is the same key: a clone, not one that is made alike.
    pub(super) fn is(&self, other: &Key) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The name that no header can have, if one was asked for.
    pub(crate) fn wrong_header(&self) -> Option<&str> {
        match &*self.0 {
            Source::Header(Err(name)) => Some(name),
            Source::And(one, other) => one.wrong_header().or_else(|| other.wrong_header()),
            _ => None,
        }
    }

    /// The text that is counted; `None` for the client's, which stands in for what the request lacks.
    pub(super) fn of(&self, parts: &Parts, client: &str) -> Option<String> {
        match &*self.0 {
            Source::Client => None,
            _ => self.known(parts, Some(client)),
        }
    }

    /// As [`of`](Self::of); `None` where the client is asked for and nobody knows it.
    pub(crate) fn known(&self, parts: &Parts, client: Option<&str>) -> Option<String> {
        let found = match &*self.0 {
            Source::Client | Source::Header(Err(_)) => None,
            Source::Header(Ok(name)) => {
                parts.headers.get(name).map(|value| format!("header:{}", digest(value.as_bytes())))
            }
            Source::Route => {
                let matched = parts.extensions.get::<MatchedPath>();
                let path = matched.map_or("unknown", MatchedPath::as_str);
                Some(format!("route:{} {path}", parts.method))
            }
            Source::Global => Some("all".to_owned()),
            Source::With(extract) => extract(parts).map(|text| own(&text)),
            Source::And(one, other) => {
                let (one, other) = (one.known(parts, client)?, other.known(parts, client)?);
                return Some(format!("{one}|{other}"));
            }
        };
        found.or_else(|| client.map(str::to_owned))
    }
}

/// The text of a client.
pub(super) fn client(address: Option<ClientAddress>, prefix: u8) -> Cow<'static, str> {
    match address {
        Some(address) => network(address, prefix).into(),
        None => "ip:unknown".into(),
    }
}

/// The text of a client that is known.
pub(crate) fn network(address: ClientAddress, prefix: u8) -> String {
    let IpAddr::V4(v4) = address.0.to_canonical() else {
        return format!("ip:{}", address.network(prefix));
    };
    // A third of the time that a formatter takes, and it is done for every request.
    let mut text = String::with_capacity("ip:255.255.255.255".len());
    text.push_str("ip");
    for (at, octet) in v4.octets().into_iter().enumerate() {
        text.push(if at == 0 { ':' } else { '.' });
        for unit in [100, 10, 1] {
            if octet >= unit || unit == 1 {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

/// No text of one user is that of another, or of two keys combined.
fn own(text: &str) -> String {
    if text.len() > OWN_MAX {
        return format!("own#{}", digest(text.as_bytes()));
    }
    format!("own:{}", text.replace('%', "%25").replace('|', "%7C"))
}

/// Half of SHA-256: the same in every process of a fleet, and no way back.
fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::Client => f.write_str("client"),
            Source::Header(Ok(name)) => write!(f, "header {name}"),
            Source::Header(Err(name)) => write!(f, "header {name:?}"),
            Source::Route => f.write_str("route"),
            Source::Global => f.write_str("global"),
            Source::With(_) => f.write_str("with"),
            Source::And(one, other) => write!(f, "{one:?} and {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_keys_are_bounded() {
        assert_eq!(own("ada"), "own:ada");
        assert_eq!(own(&"x".repeat(OWN_MAX)).len(), 4 + OWN_MAX);
        let (long, longer) = (own(&"x".repeat(5000)), own(&"x".repeat(5001)));
        assert!(long.starts_with("own#") && long.len() == 36 && long != longer);
    }

    #[test]
    fn addresses_are_written_as_everywhere_else() {
        for text in ["0.0.0.0", "1.20.99.100", "10.0.101.255", "255.249.200.9"] {
            assert_eq!(network(ClientAddress(text.parse().unwrap()), 56), format!("ip:{text}"));
        }
        let mapped = network(ClientAddress("::ffff:192.0.2.1".parse().unwrap()), 56);
        assert_eq!(mapped, "ip:192.0.2.1");
    }

    #[test]
    fn digests_are_the_same_everywhere() {
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
