//! The options of a [`Service`].

#[cfg(feature = "client-tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "client-tls")]
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::budget::{Backoff, Budget};
use super::hedge::{Hedge, Hedging};
use super::outlier::Outliers;
use super::target::Target;
#[cfg(feature = "client-tls")]
use super::tls::Authority;
use super::tls::Trust;
use super::transport::Transport;
use super::{Inner, Service};
use crate::shed::adaptive::Adaptive;

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;
const ATTEMPTS_MAX: u32 = 10;
const REDIRECTS_MAX: u8 = 3;
const BODY_MAX: usize = 2 * 1024 * 1024;
const CONCURRENCY: (usize, usize) = (8, 512);
const CONCURRENCY_START: usize = 64;
const BULKHEAD_WAIT: Duration = Duration::from_millis(100);
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(25), max: Duration::from_secs(1) };

/// Says how a [`Service`] is called. Every option has a default that is safe.
#[derive(Debug)]
#[must_use = "`build` makes the service"]
pub struct Builder {
    name: String,
    targets: Vec<String>,
    timeout: Duration,
    attempt_timeout: Option<Duration>,
    connect_timeout: Duration,
    attempts: u32,
    budget: (f64, f64),
    backoff: Backoff,
    hedge: Option<Hedge>,
    breaker: Option<Breaker>,
    concurrency: (usize, usize),
    bulkhead_wait: Duration,
    outliers: Outliers,
    redirects: u8,
    max_body: usize,
    headers: Vec<(String, String)>,
    tokens: Option<HeaderName>,
    #[cfg(feature = "client-tls")]
    authorities: Vec<Authority>,
    clock: Clock,
    rng: Rng,
}

impl Builder {
    pub(super) fn new(name: String, targets: Vec<String>) -> Self {
        Self {
            name,
            targets,
            timeout: TIMEOUT,
            attempt_timeout: None,
            connect_timeout: CONNECT_TIMEOUT,
            attempts: ATTEMPTS,
            budget: (0.1, 1.0),
            backoff: BACKOFF,
            hedge: None,
            breaker: Some(Breaker::new()),
            concurrency: CONCURRENCY,
            bulkhead_wait: BULKHEAD_WAIT,
            outliers: Outliers::new(),
            redirects: 0,
            max_body: BODY_MAX,
            headers: Vec::new(),
            tokens: None,
            #[cfg(feature = "client-tls")]
            authorities: Vec::new(),
            clock: Clock::system(),
            rng: Rng::system(),
        }
    }

    /// How long a call may take with all its attempts. Default 10 s; what is left of the deadline of
    /// the task's [`Scope`](mainstay_core::scope::Scope) if that is less.
    pub fn timeout(mut self, within: Duration) -> Self {
        self.timeout = within;
        self
    }

    /// How long one attempt may take, so that time is left for another. Default: as long as the call.
    pub fn attempt_timeout(mut self, within: impl Into<Option<Duration>>) -> Self {
        self.attempt_timeout = within.into();
        self
    }

    /// How long a connection may take. Default 1 s.
    pub fn connect_timeout(mut self, within: Duration) -> Self {
        self.connect_timeout = within;
        self
    }

    /// How many attempts one call may make in a row. Default 3, from 1 to 10.
    pub fn attempts(mut self, most: u32) -> Self {
        self.attempts = most.clamp(1, ATTEMPTS_MAX);
        self
    }

    /// How much retries and hedges may add within any 10 s: `ratio` of the calls, or `per_second` where
    /// that is more. Default 0.1 and 1.
    pub fn retry_budget(mut self, ratio: f64, per_second: f64) -> Self {
        self.budget = (ratio.max(0.0), per_second.max(0.0));
        self
    }

    /// How long before the second attempt, doubled before each further one up to `max`; less a random
    /// half. Default 25 ms and 1 s. A Retry-After that is longer is kept to.
    pub fn backoff(mut self, base: Duration, max: Duration) -> Self {
        self.backoff = Backoff { base, max };
        self
    }

    /// Asks a second target when the first is slow, and takes the answer that comes first: `Hedge::P95`,
    /// or a `Duration`. Only calls that are safe to repeat. Default: never.
    pub fn hedge_after(mut self, when: impl Into<Hedge>) -> Self {
        self.hedge = Some(when.into());
        self
    }

    /// The breaker of each target, or `None`. Default [`Breaker::new`].
    pub fn breaker(mut self, breaker: impl Into<Option<Breaker>>) -> Self {
        self.breaker = breaker.into();
        self
    }

    /// How many calls may be under way to each target, at least and at most; between the two the limit
    /// follows how long they take. Default 8 and 512, beginning with 64. With both the same it is fixed.
    pub fn concurrency(mut self, min: usize, max: usize) -> Self {
        self.concurrency = (min, max);
        self
    }

    /// How long a call waits for a place among them. Default 100 ms.
    pub fn bulkhead_wait(mut self, most: Duration) -> Self {
        self.bulkhead_wait = most;
        self
    }

    /// When one target of several is left out. Default [`Outliers::new`].
    pub fn outliers(mut self, outliers: Outliers) -> Self {
        self.outliers = outliers;
        self
    }

    /// How many redirects a GET follows, within its target alone. Default 0, at most 3.
    pub fn redirects(mut self, most: u8) -> Self {
        self.redirects = most.min(REDIRECTS_MAX);
        self
    }

    /// The largest body of an answer, in bytes. Default 2 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// A header of every call, such as `authorization`. It is never printed.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has each call carry the tokens of what its request wrote, in this header
    /// ([`TOKEN_HEADER`](crate::TOKEN_HEADER)), and takes those of the answer into the request: so both sides, and the
    /// client in the end, read what was written on either. The other side has a [`TokenLayer`](crate::TokenLayer).
    /// Default: none, since a token tells of a database's progress, which is nothing for strangers.
    pub fn carry_tokens(mut self, header: HeaderName) -> Self {
        self.tokens = Some(header);
        self
    }

    /// Authorities, as one or several certificates in PEM, whose signature targets over https must have,
    /// in place of those that the machine trusts. Can be given several times. Needs the feature
    /// `client-tls`.
    #[cfg(feature = "client-tls")]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Authority::Pem(pem.into()));
        self
    }

    /// As [`ca_pem`](Self::ca_pem), from a file, which is read by [`build`](Self::build).
    #[cfg(feature = "client-tls")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Authority::File(path.into()));
        self
    }

    /// The clock of everything but connecting, which is the machine's. Default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where jitter, the choice of targets and the numbers of traces come from. Default the machine.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// The service; connects to nothing yet. Errors: HTTP-004 where there is no target, one is not a
    /// whole `http` URL (`https` with the feature `client-tls`), a header is impossible, or an authority
    /// can't be read.
    pub fn build(self) -> Result<Service> {
        let now = self.clock.now();
        let (min, max) = self.concurrency;
        let target = |url: &String| {
            let limit = Adaptive::new(min, max, CONCURRENCY_START);
            Target::new(url, limit, self.breaker, now).map(Arc::new)
        };
        let targets = self.targets.iter().map(target).collect::<Result<Vec<_>>>()?;
        if targets.is_empty() {
            let what = format!("the service {} has no address", self.name);
            return Err(Error::new(Code::HttpOption, what));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = || Error::new(Code::HttpOption, format!("no header can be {name:?}"));
            let known = HeaderName::try_from(name).map_err(|_| wrong())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(known, value);
        }
        let trust = self.trust(&targets);
        let (ratio, per_second) = self.budget;
        Ok(Service(Arc::new(Inner {
            targets,
            timeout: self.timeout,
            attempt_timeout: self.attempt_timeout,
            attempts: self.attempts,
            budget: Budget::new(ratio, per_second, now),
            backoff: self.backoff,
            hedging: self.hedge.map(Hedging::new),
            breaker: self.breaker,
            bulkhead_wait: self.bulkhead_wait,
            outliers: self.outliers,
            transport: Transport::new(self.connect_timeout, self.max_body, self.redirects, trust)?,
            headers,
            tokens: self.tokens,
            freed: Notify::new(),
            name: self.name,
            clock: self.clock,
            rng: self.rng,
        })))
    }

    /// The machine's certificates take milliseconds to read: only who calls over https pays for that.
    #[cfg(feature = "client-tls")]
    fn trust(&self, targets: &[Arc<Target>]) -> Trust {
        if !self.authorities.is_empty() {
            Trust::Authorities(self.authorities.clone())
        } else if targets.iter().any(|target| target.scheme == Scheme::HTTPS) {
            Trust::Machine
        } else {
            Trust::Nobody
        }
    }

    #[cfg(not(feature = "client-tls"))]
    #[expect(clippy::unused_self, reason = "with TLS it has authorities")]
    fn trust(&self, _: &[Arc<Target>]) -> Trust {
        Trust::Nobody
    }
}
