//! A service's versions: what the layer asks, and what an operator sees.

use std::sync::Arc;

use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderValue};
use mainstay_core::clock::Clock;
use mainstay_core::inspect::{Inspect, Snapshot};
use mainstay_core::{Code, Error, Result};

use super::brownout::{Watch, Window};
use super::builder::Who;
use super::changes::Changes;
use super::known::Known;
use super::refusal;
use super::source::{Contradiction, Read};
use super::usage::Usage;
use super::when::Moment;
use super::{Release, Stage, Version, VersionsBuilder, shown};
use crate::problem::Problem;

/// The versions of an API: which there are, where a request names one, and how each of them lives and
/// ends. Cheap to clone; the clones share their counts.
///
/// [`wrap`](Self::wrap) puts them around a router.
///
/// ```
/// use axum::{Router, routing::get};
/// use mainstay_http::{ApiVersion, Release, Source, Version, Versions};
///
/// # fn main() -> mainstay_core::Result<()> {
/// let versions = Versions::builder()
///     .release(Release::new(Version::number(1)).deprecated("2026-01-01").sunset("2026-12-31"))
///     .release(Release::new(Version::number(2)))
///     .release(Release::beta(Version::number(3)))
///     .under("/api")
///     .source(Source::path())
///     .source(Source::header("api-version"))
///     .default_version(Version::number(2))
///     .build()?;
/// let routes = Router::new()
///     .route("/api/orders", get(async |version: ApiVersion| version.version().to_string()));
/// let app = versions.wrap(routes);
/// # let _ = app;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Versions(Arc<Inner>);

pub(super) struct Inner {
    pub(super) name: String,
    /// In ascending order.
    pub(super) known: Vec<Known>,
    pub(super) sources: Vec<Read>,
    pub(super) contradiction: Contradiction,
    pub(super) unnamed: Option<usize>,
    pub(super) nearest: bool,
    pub(super) under: String,
    pub(super) exempt: Vec<String>,
    pub(super) vary: Option<HeaderValue>,
    pub(super) watch: Watch,
    pub(super) has_brownouts: bool,
    pub(super) who: Option<Arc<Who>>,
    pub(super) usage: Usage,
    pub(super) clock: Clock,
}

impl Versions {
    /// Without versions yet.
    pub fn builder() -> VersionsBuilder {
        VersionsBuilder::new()
    }

    /// The integers 1 to `newest`, all current and named in the path.
    pub fn numbered(newest: u32) -> Result<Self> {
        let releases = (1..=newest).map(|n| Release::new(Version::number(n)));
        Self::builder().releases(releases).build()
    }

    /// Those there are, in ascending order, with where each stands now.
    pub fn stages(&self) -> Vec<(Version, Stage)> {
        let now = self.0.now();
        self.0.known.iter().map(|known| (known.version, known.stage(now))).collect()
    }

    /// The version that a request names or gets; `None` where it needs none, as outside of
    /// [`under`](VersionsBuilder::under). Whether it has ended is not asked here. It allocates nothing
    /// unless it refuses.
    pub fn resolve(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<Version>, Problem> {
        match self.0.resolve(uri, headers) {
            Ok(resolved) => Ok(resolved.map(|resolved| self.0.known[resolved.place].version)),
            Err(wrong) => Err(refusal::misnamed(&self.0, &wrong)),
        }
    }

    /// Who uses what.
    pub fn usage(&self) -> &Usage {
        &self.0.usage
    }

    /// Ends the brownouts that are on in this process, as where something outside of it is seen to fail.
    /// Says whether there was one.
    pub fn abort_brownouts(&self) -> bool {
        let now = self.0.now();
        let aborted = self.0.windows(now).filter(|window| window.abort()).count();
        if aborted > 0 {
            tracing::warn!("HTTP-013: a brownout was ended by hand");
        }
        aborted > 0
    }

    /// Checks that each change of `C` came with a version that exists: HTTP-004 otherwise. For start:
    /// that the changes fit one another is checked by the compiler.
    pub fn check<C: Changes>(&self) -> Result<()> {
        for since in C::since() {
            if !self.0.known.iter().any(|known| known.version == since) {
                let what = format!("a change came with version {since}, which does not exist");
                return Err(Error::new(Code::HttpOption, what)
                    .why(format!("in {}", std::any::type_name::<C>())));
            }
        }
        Ok(())
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl From<Inner> for Versions {
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Inspect for Versions {
    fn inspect(&self) -> Snapshot {
        shown::snapshot(&self.0)
    }
}

impl Inner {
    pub(super) fn now(&self) -> Moment {
        Moment::now(&self.clock)
    }

    /// The brownouts that are on.
    fn windows(&self, now: Moment) -> impl Iterator<Item = &Window> {
        self.known.iter().filter_map(move |known| known.brownout(now))
    }

    /// Takes note of an answer of the service, be it of what version it may.
    pub(super) fn answered(&self, error: bool) {
        if !self.has_brownouts {
            return;
        }
        if let Some((usual, now)) = self.watch.note(error, self.windows(self.now())) {
            tracing::warn!(
                "HTTP-013: a brownout was ended: {now:.0} % of answers are errors, {usual:.0} % \
                 were before"
            );
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versions")
            .field("name", &self.name)
            .field("known", &self.known)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
