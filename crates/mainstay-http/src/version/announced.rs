//! The other side: what a service that we call says of its own end, so that somebody notices.

use std::time::SystemTime;

use axum::http::{HeaderMap, header};

use super::when::{self, Moment};

/// More links are not read.
const LINKS_MAX: usize = 64;

/// What an answer says of the end of what was asked: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and
/// the links that go with them. What is malformed is as if it were not there.
///
/// ```
/// use axum::http::HeaderMap;
/// use mainstay_http::Announced;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("deprecation", "@1688169599".parse().unwrap());
/// headers.insert("link", "</v2>; rel=\"successor-version\"".parse().unwrap());
/// let announced = Announced::read(&headers);
/// assert!(announced.deprecation.is_some());
/// assert_eq!(announced.successor.as_deref(), Some("/v2"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// When it was or will be deprecated.
    pub deprecation: Option<SystemTime>,
    /// When it is expected to end.
    pub sunset: Option<SystemTime>,
    /// A page on the deprecation, as it was written: it may be relative.
    pub docs: Option<String>,
    /// A page on how things end there.
    pub policy: Option<String>,
    /// What to use in its place.
    pub successor: Option<String>,
}

impl Announced {
    /// Of an answer's headers.
    pub fn read(headers: &HeaderMap) -> Self {
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut announced = Self {
            deprecation: field("deprecation").and_then(when::structured).map(Moment::system),
            sunset: field("sunset").and_then(when::http_date).map(Moment::system),
            ..Self::default()
        };
        let links = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
        for link in links.flat_map(|value| outside(value, b',')).take(LINKS_MAX) {
            announced.note(link);
        }
        announced
    }

    fn note(&mut self, link: &str) {
        let Some((target, parameters)) =
            link.trim().strip_prefix('<').and_then(|link| link.split_once('>'))
        else {
            return;
        };
        let parameters =
            outside(parameters, b';').filter_map(|parameter| parameter.split_once('='));
        let mut rels = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
        // The first counts, and has several relations with spaces between.
        let Some((_, rels)) = rels.next() else { return };
        for rel in rels.trim().trim_matches('"').split_ascii_whitespace() {
            let place = match rel.to_ascii_lowercase().as_str() {
                "deprecation" => &mut self.docs,
                "sunset" => &mut self.policy,
                "successor-version" => &mut self.successor,
                _ => continue,
            };
            place.get_or_insert_with(|| target.to_owned());
        }
    }

    /// Whether anything was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Splits at a separator that is in neither quotes nor angle brackets.
fn outside(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    let mut from = 0;
    let mut ends: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            byte if byte == separator && !quoted && !bracketed => {
                ends.push((from, at));
                from = at + 1;
            }
            _ => {}
        }
    }
    ends.push((from, text.len()));
    ends.into_iter().map(move |(from, to)| &text[from..to])
}
