//! A version's life as data: what a service's source or its configuration says of it. Whether that
//! can be is checked by [`VersionsBuilder::build`](super::VersionsBuilder::build).

use serde::{Deserialize, Serialize};

use super::{Brownout, Version};

/// Where a version stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It may still change, and nobody gets it who does not name it.
    Beta,
    /// It may be used without a second thought, though its end may have been announced.
    Current,
    /// It works, and new clients should not use it.
    Deprecated,
    /// It is gone: 410.
    Sunset,
}

impl Stage {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beta => "beta",
            Self::Current => "current",
            Self::Deprecated => "deprecated",
            Self::Sunset => "sunset",
        }
    }
}

/// A version and its life. Dates are `2026-03-01` (its first second, in UTC) or RFC 3339
/// (`2026-03-01T12:00:00Z`); they are told to callers from the moment they are written here.
///
/// It can be read from a configuration:
///
/// ```
/// use mainstay_http::{Release, Version};
///
/// let release: Release = serde_json::from_str(r#"{
///     "version": 1,
///     "deprecated": "2026-01-01",
///     "sunset": "2026-12-31T12:00:00Z",
///     "docs": "https://example.com/moving-to-v2",
///     "brownouts": [{ "from": "2026-11-01T10:00:00Z", "until": "2026-11-01T10:15:00Z" }]
/// }"#).unwrap();
/// assert_eq!(release.version, Version::number(1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which.
    pub version: Version,
    /// Whether it may still change. Default no.
    #[serde(default)]
    pub beta: bool,
    /// When it was or will be deprecated: `Deprecation`. Default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// When it ends: `Sunset`, and 410 from then on. Not before its deprecation. Default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset: Option<String>,
    /// A page for people on the deprecation: `Link` with `rel="deprecation"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// A page for people on how versions end: `Link` with `rel="sunset"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What to move to. Default the newest version that is no beta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Version>,
    /// Where the successor is: `Link` with `rel="successor-version"`. Default the same path in the
    /// successor's version, where versions are named in the path or the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor_link: Option<String>,
    /// When it is switched off for a while ahead of its sunset. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brownouts: Vec<Brownout>,
}

impl Release {
    /// A current version with no end in sight.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            beta: false,
            deprecated: None,
            sunset: None,
            docs: None,
            policy: None,
            successor: None,
            successor_link: None,
            brownouts: Vec::new(),
        }
    }

    /// One that may still change.
    pub fn beta(version: Version) -> Self {
        Self { beta: true, ..Self::new(version) }
    }

    /// Sets [`deprecated`](Self::deprecated).
    pub fn deprecated(mut self, date: impl Into<String>) -> Self {
        self.deprecated = Some(date.into());
        self
    }

    /// Sets [`sunset`](Self::sunset).
    pub fn sunset(mut self, date: impl Into<String>) -> Self {
        self.sunset = Some(date.into());
        self
    }

    /// Sets [`docs`](Self::docs).
    pub fn docs(mut self, uri: impl Into<String>) -> Self {
        self.docs = Some(uri.into());
        self
    }

    /// Sets [`policy`](Self::policy).
    pub fn policy(mut self, uri: impl Into<String>) -> Self {
        self.policy = Some(uri.into());
        self
    }

    /// Sets [`successor`](Self::successor).
    pub fn successor(mut self, version: Version) -> Self {
        self.successor = Some(version);
        self
    }

    /// Sets [`successor_link`](Self::successor_link).
    pub fn successor_link(mut self, uri: impl Into<String>) -> Self {
        self.successor_link = Some(uri.into());
        self
    }

    /// One more of its [`brownouts`](Self::brownouts).
    pub fn brownout(mut self, brownout: Brownout) -> Self {
        self.brownouts.push(brownout);
        self
    }
}
