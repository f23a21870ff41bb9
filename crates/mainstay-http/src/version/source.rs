//! Where a request may say which version it wants.

use std::fmt;

use axum::http::HeaderName;
use mainstay_core::{Code, Error, Result};

/// Where a request may say which version it wants. The order in which sources are given is their
/// precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Path,
    Header(String),
    Media(String),
    Query(String),
}

impl Source {
    /// The first segment of the path, or the first under what
    /// [`under`](super::VersionsBuilder::under) says: `/api/v2/orders`, `/api/2026-03-01/orders`. The
    /// segment is taken out before the router sees the path. An integer needs its `v`: `/api/2` may
    /// well be the order 2.
    pub fn path() -> Self {
        Self(Kind::Path)
    }

    /// A header: `api-version: 2`. Answers tell in the first such header which version they are.
    pub fn header(name: impl Into<String>) -> Self {
        Self(Kind::Header(name.into()))
    }

    /// The vendor's media type in `Accept` or `Content-Type`: `application/vnd.shop.v2+json` for the
    /// vendor `shop`. Whoever names a version so in `Accept` gets JSON under that type.
    pub fn media(vendor: impl Into<String>) -> Self {
        Self(Kind::Media(vendor.into()))
    }

    /// A parameter of the query: `?api-version=2`. It stays in the query.
    pub fn query(name: impl Into<String>) -> Self {
        Self(Kind::Query(name.into()))
    }
}

/// What is done with a request that names two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contradiction {
    /// It gets 400: one of the two is not what its writer meant.
    #[default]
    Refuse,
    /// The first source that names one wins, and those behind it are not read.
    First,
}

/// Where a version was read, with what is needed to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    Path,
    Header(&'a str),
    Accept,
    ContentType,
    Query(&'a str),
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("the path"),
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Accept => f.write_str("the header accept"),
            Self::ContentType => f.write_str("the header content-type"),
            Self::Query(name) => write!(f, "the query parameter {name}"),
        }
    }
}

/// A source whose names have been checked.
#[derive(Clone, Debug)]
pub(super) enum Read {
    Path,
    Header(HeaderName),
    /// What the subtype begins with: `vnd.shop`.
    Media(String),
    Query(String),
}

impl Read {
    pub(super) fn new(source: &Source) -> Result<Self> {
        let wrong = |what: &str, name: &str| {
            Error::new(Code::HttpOption, format!("no {what} can be called {name:?}"))
        };
        let plain = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        Ok(match &source.0 {
            Kind::Path => Self::Path,
            Kind::Header(name) => Self::Header(name.parse().map_err(|_| wrong("header", name))?),
            Kind::Media(vendor) if plain(vendor) => {
                Self::Media(format!("vnd.{}", vendor.to_ascii_lowercase()))
            }
            Kind::Media(vendor) => return Err(wrong("vendor", vendor)),
            Kind::Query(name) if plain(name) => Self::Query(name.clone()),
            Kind::Query(name) => return Err(wrong("query parameter", name)),
        })
    }
}
