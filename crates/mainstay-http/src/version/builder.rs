//! What a set of versions is made of.

use std::fmt;
use std::sync::Arc;

use axum::http::request::Parts;
use mainstay_core::Result;
use mainstay_core::clock::Clock;

use super::source::{Contradiction, Source};
use super::versions::Versions;
use super::{Release, Rise, Version, check};

pub(super) type Who = dyn Fn(&Parts) -> Option<String> + Send + Sync;

const EXEMPT: [&str; 3] = ["/livez", "/readyz", "/metrics"];
const CLIENTS_MAX: usize = 10_000;

/// Which version a request gets that names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unnamed {
    #[default]
    Refused,
    Newest,
    This(Version),
}

/// Made by [`Versions::builder`].
#[derive(Clone)]
pub struct VersionsBuilder {
    pub(super) name: String,
    pub(super) releases: Vec<Release>,
    pub(super) sources: Vec<Source>,
    pub(super) contradiction: Contradiction,
    pub(super) unnamed: Unnamed,
    pub(super) nearest: bool,
    pub(super) under: String,
    pub(super) exempt: Vec<String>,
    pub(super) rise: Rise,
    pub(super) who: Option<Arc<Who>>,
    pub(super) clients_max: usize,
    pub(super) clock: Clock,
}

impl VersionsBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "api".to_owned(),
            releases: Vec::new(),
            sources: Vec::new(),
            contradiction: Contradiction::default(),
            unnamed: Unnamed::default(),
            nearest: false,
            under: "/".to_owned(),
            exempt: EXEMPT.map(str::to_owned).into(),
            rise: Rise::default(),
            who: None,
            clients_max: CLIENTS_MAX,
            clock: Clock::system(),
        }
    }

    /// How the console calls them. Default `api`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// One more version, in any order.
    pub fn release(mut self, release: Release) -> Self {
        self.releases.push(release);
        self
    }

    /// More versions, as from a configuration.
    pub fn releases(mut self, releases: impl IntoIterator<Item = Release>) -> Self {
        self.releases.extend(releases);
        self
    }

    /// One more place where a request may name its version, behind those given before. Default the
    /// [path](Source::path) alone.
    pub fn source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// What a request gets that names two versions. Default 400.
    pub fn on_contradiction(mut self, contradiction: Contradiction) -> Self {
        self.contradiction = contradiction;
        self
    }

    /// The version of requests that name none. By default they get 400 with the versions there are.
    pub fn default_version(mut self, version: Version) -> Self {
        self.unnamed = Unnamed::This(version);
        self
    }

    /// Requests that name no version get the newest that is no beta. Each release changes what they
    /// get: for clients that are deployed with the service.
    pub fn default_newest(mut self) -> Self {
        self.unnamed = Unnamed::Newest;
        self
    }

    /// A version between two that exist is the older of them, and one beyond the newest is the newest:
    /// for dates, where a client names the day it was written. Default it is unknown.
    pub fn nearest_older(mut self) -> Self {
        self.nearest = true;
        self
    }

    /// Below which path there are versions: `/api`. What lies outside passes untouched. Default `/`.
    pub fn under(mut self, path: impl Into<String>) -> Self {
        self.under = path.into();
        self
    }

    /// The paths that need not name a version, in place of `/livez`, `/readyz` and `/metrics`.
    pub fn exempt<T: Into<String>>(mut self, paths: impl IntoIterator<Item = T>) -> Self {
        self.exempt = paths.into_iter().map(Into::into).collect();
        self
    }

    /// When brownouts end by themselves.
    pub fn abort_brownouts(mut self, rise: Rise) -> Self {
        self.rise = rise;
        self
    }

    /// Who a client is, in the count of who uses what. It is shown to operators, so it must be no
    /// secret: an account, not a key. Default the first word of `User-Agent`. What a handler or a layer
    /// inside puts into the answer's extensions as [`Consumer`](super::Consumer) goes before it.
    pub fn client(
        mut self,
        who: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.who = Some(Arc::new(who));
        self
    }

    /// How many clients are counted by name, over all versions and routes: a client counts once for
    /// each. Beyond, they are counted together. Default 10,000, of some 200 bytes.
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.clients_max = clients;
        self
    }

    /// The clock by which versions end. Default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks that it can be. Errors: HTTP-004 where there is no version, one is there twice, integers and
    /// dates are mixed, a date is none, a sunset is before its deprecation, a brownout is not between
    /// the two or overlaps another, a default or a successor does not exist, a successor is not newer or
    /// ends no later, a link or a source's name can't be written into a header.
    pub fn build(self) -> Result<Versions> {
        check::build(self)
    }
}

impl fmt::Debug for VersionsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionsBuilder")
            .field("releases", &self.releases)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
