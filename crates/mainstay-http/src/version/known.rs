//! A version whose life has been checked, with the headers that tell of it written once.

use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use mainstay_core::{Code, Error, Result};

use super::brownout::Window;
use super::when::Moment;
use super::{Release, Stage, Version};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

#[derive(Debug)]
pub(super) struct Known {
    pub(super) version: Version,
    beta: bool,
    pub(super) deprecated: Option<Moment>,
    pub(super) sunset: Option<Moment>,
    /// Its place among the versions.
    pub(super) successor: Option<usize>,
    pub(super) windows: Vec<Window>,
    /// The version itself, as a header tells it.
    pub(super) told: HeaderValue,
    /// `application/vnd.shop.v2+json`.
    pub(super) media: Option<HeaderValue>,
    deprecation: Option<HeaderValue>,
    end: Option<HeaderValue>,
    links: Vec<HeaderValue>,
    linked: bool,
    /// A page for people on its deprecation.
    #[cfg(feature = "openapi")]
    pub(super) docs: Option<String>,
}

impl Known {
    pub(super) fn new(
        release: &Release,
        deprecated: Option<Moment>,
        sunset: Option<Moment>,
        successor: Option<usize>,
        windows: Vec<Window>,
        vendor: Option<&str>,
    ) -> Result<Self> {
        let version = release.version;
        let page = |uri: &Option<String>, rel| {
            uri.as_ref().map(|uri| value(&format!("<{uri}>; rel=\"{rel}\"; type=\"text/html\"")))
        };
        let next = release.successor_link.as_ref().map(|uri| value(&link(uri)));
        let links = [page(&release.docs, "deprecation"), page(&release.policy, "sunset"), next];
        Ok(Self {
            version,
            beta: release.beta,
            deprecated,
            sunset,
            successor,
            windows,
            told: value(&version.to_string())?,
            media: vendor
                .map(|vendor| value(&format!("application/{vendor}.{}+json", segment(version))))
                .transpose()?,
            deprecation: deprecated.map(|at| value(&at.structured())).transpose()?,
            end: sunset.map(|at| value(&at.http_date())).transpose()?,
            links: links.into_iter().flatten().collect::<Result<_>>()?,
            linked: release.successor_link.is_some(),
            #[cfg(feature = "openapi")]
            docs: release.docs.clone(),
        })
    }

    /// Whether time changes what it is: whoever asks needs no clock otherwise.
    pub(super) fn ages(&self) -> bool {
        self.deprecated.is_some() || self.sunset.is_some()
    }

    pub(super) fn stage(&self, now: Moment) -> Stage {
        let past = |date: Option<Moment>| date.is_some_and(|date| date <= now);
        match () {
            () if past(self.sunset) => Stage::Sunset,
            () if past(self.deprecated) => Stage::Deprecated,
            () if self.beta => Stage::Beta,
            () => Stage::Current,
        }
    }

    pub(super) fn is_beta(&self) -> bool {
        self.beta
    }

    /// The brownout that is on.
    pub(super) fn brownout(&self, now: Moment) -> Option<&Window> {
        self.windows.iter().find(|window| window.is_on(now))
    }

    /// Whether callers are to be told of its end.
    pub(super) fn is_ending(&self) -> bool {
        self.ages() || !self.links.is_empty()
    }

    /// `Deprecation`, `Sunset` and `Link`. What a handler said of its own resource stays.
    pub(super) fn tell(&self, headers: &mut HeaderMap, successor: Option<String>) {
        for (name, value) in [(DEPRECATION, &self.deprecation), (SUNSET, &self.end)] {
            if let Some(value) = value {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
        for link in &self.links {
            headers.append(header::LINK, link.clone());
        }
        if self.linked || !self.ages() {
            return;
        }
        if let Some(Ok(value)) = successor.map(|uri| HeaderValue::try_from(link(&uri))) {
            headers.append(header::LINK, value);
        }
    }
}

fn link(uri: &str) -> String {
    format!("<{uri}>; rel=\"successor-version\"")
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(|_| {
        Error::new(Code::HttpOption, format!("{text:?} can't be written into a header"))
    })
}

/// The same path in `version`: `cut` is what names the version in it. `None` where it can't be linked to.
pub(super) fn in_path(path: &str, cut: (usize, usize), version: Version) -> Option<String> {
    let (head, tail) = (path.get(..cut.0)?, path.get(cut.1..)?);
    linkable(format!("{head}/{}{tail}", segment(version)))
}

/// As paths and media types name it: `v2`, `2026-03-01`.
pub(crate) fn segment(version: Version) -> String {
    if version.is_date() { version.to_string() } else { format!("v{version}") }
}

/// The same path with the version in its query, and nothing else of the query: it may hold secrets.
pub(super) fn in_query(path: &str, name: &str, version: Version) -> Option<String> {
    linkable(format!("{path}?{name}={version}"))
}

/// What begins with `//` would lead to another host.
fn linkable(uri: String) -> Option<String> {
    let plain = uri.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
    (plain && !uri.starts_with("//")).then_some(uri)
}

/// `uri` without what names the version in its path.
pub(super) fn without(uri: &Uri, cut: (usize, usize)) -> Option<Uri> {
    let path = uri.path();
    let (head, tail) = (path.get(..cut.0)?, path.get(cut.1..)?);
    let mut written = String::with_capacity(path.len() + 1 + uri.query().map_or(0, str::len));
    written.push_str(head);
    written.push_str(tail);
    if written.is_empty() {
        written.push('/');
    }
    if let Some(query) = uri.query() {
        written.push('?');
        written.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(written).ok()?);
    Uri::from_parts(parts).ok()
}
