//! What the versions' documents must say of them: where a request names one, and how each lives.
//! Nothing is decided here.

use mainstay_core::{Code, Error, Result};

use super::known;
use super::source::Read;
use super::versions::Versions;
use super::when::Moment;
use super::{Stage, Version};

pub(crate) use super::known::segment;

/// Where requests name their version.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// Empty, or such as `/api`.
    pub(crate) under: String,
    pub(crate) in_path: bool,
    pub(crate) in_media: bool,
    pub(crate) headers: Vec<String>,
    pub(crate) queries: Vec<String>,
}

/// What does not change with time.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) version: Version,
    pub(crate) deprecated: Option<Date>,
    pub(crate) sunset: Option<Date>,
    pub(crate) successor: Option<Version>,
    pub(crate) brownouts: Vec<(Date, Date)>,
    pub(crate) docs: Option<String>,
    /// `application/vnd.shop.v2+json`.
    pub(crate) media: Option<String>,
    /// Whether requests get it that name none.
    pub(crate) is_default: bool,
}

/// A moment, for programs and for people.
#[derive(Clone, Debug)]
pub(crate) struct Date {
    pub(crate) rfc3339: String,
    pub(crate) told: String,
}

impl From<Moment> for Date {
    fn from(moment: Moment) -> Self {
        Self { rfc3339: moment.rfc3339(), told: moment.told() }
    }
}

impl Versions {
    pub(crate) fn naming(&self) -> Naming {
        let inner = self.inner();
        let mut naming = Naming {
            under: inner.under.clone(),
            in_path: false,
            in_media: false,
            headers: Vec::new(),
            queries: Vec::new(),
        };
        for source in &inner.sources {
            match source {
                Read::Path => naming.in_path = true,
                Read::Media(_) => naming.in_media = true,
                Read::Header(name) => naming.headers.push(name.to_string()),
                Read::Query(name) => naming.queries.push(name.clone()),
            }
        }
        naming
    }

    /// In ascending order.
    pub(crate) fn lives(&self) -> Vec<Life> {
        let inner = self.inner();
        let life = |(place, known): (usize, &known::Known)| Life {
            version: known.version,
            deprecated: known.deprecated.map(Date::from),
            sunset: known.sunset.map(Date::from),
            successor: known.successor.map(|place| inner.known[place].version),
            brownouts: known
                .windows
                .iter()
                .map(|window| (window.from.into(), window.until.into()))
                .collect(),
            docs: known.docs.clone(),
            media: known.media.as_ref().and_then(|media| Some(media.to_str().ok()?.to_owned())),
            is_default: inner.unnamed == Some(place),
        };
        inner.known.iter().enumerate().map(life).collect()
    }

    pub(crate) fn stage(&self, version: Version) -> Option<Stage> {
        let known = self.inner().known.iter().find(|known| known.version == version)?;
        Some(known.stage(self.inner().now()))
    }

    /// The path below where versions are; `None` for one that is of no version.
    pub(crate) fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let inner = self.inner();
        if inner.exempt.iter().any(|exempt| exempt == path) {
            return None;
        }
        let rest = path.strip_prefix(inner.under.as_str())?;
        match rest {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }

    /// Errors: HTTP-004.
    pub(crate) fn must_have(&self, version: Version, what: &str) -> Result<()> {
        if self.inner().known.iter().any(|known| known.version == version) {
            return Ok(());
        }
        let what = format!("{what} version {version}, which does not exist");
        Err(Error::new(Code::HttpOption, what))
    }
}
