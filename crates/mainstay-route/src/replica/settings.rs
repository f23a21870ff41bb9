//! What a cluster is made of, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Connect;

use super::cluster::Cluster;

/// The bounds, each with its default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Between two looks at each server. Default: 100 ms. Who waits for a position has it looked at each millisecond.
    pub probe_every: Duration,
    /// A server that does not answer such a look in time is out. Default: 500 ms.
    pub probe_timeout: Duration,
    /// How long a read waits for a replica to come as far as it must see; then the primary is asked. Default: 20 ms.
    pub wait: Duration,
    /// A replica that is behind by more is out, until it is behind by half of that. Default: 60 s.
    pub lag_max: Duration,
    /// How long a write waits where there is no primary at the moment. Default: 5 s.
    pub failover_wait: Duration,
    /// A replica that came back has its share of reads after so long, and before that a part of it. Default: 10 s.
    pub ramp: Duration,
    /// Whether reads go to the primary where no replica can serve them. Default: true.
    pub primary_reads: bool,
    /// Time; default the machine's.
    pub clock: Clock,
    /// Chance; default the machine's.
    pub rng: Rng,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            probe_every: Duration::from_millis(100),
            probe_timeout: Duration::from_millis(500),
            wait: Duration::from_millis(20),
            lag_max: Duration::from_secs(60),
            failover_wait: Duration::from_secs(5),
            ramp: Duration::from_secs(10),
            primary_reads: true,
            clock: Clock::system(),
            rng: Rng::system(),
        }
    }
}

/// Puts a [`Cluster`] together.
#[derive(Clone, Debug)]
#[must_use = "nothing is connected until connect() is awaited"]
pub struct Builder {
    pub(crate) name: Arc<str>,
    pub(crate) servers: Vec<(Arc<str>, Connect)>,
    pub(crate) settings: Settings,
    pub(crate) safe_functions: Vec<String>,
}

impl Builder {
    /// One more server, by the name that messages call it. Which of them is the primary is found out, now and later.
    pub fn server(mut self, name: impl Into<Arc<str>>, connect: Connect) -> Self {
        self.servers.push((name.into(), connect));
        self
    }

    /// Other bounds.
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Functions of your own that only read, and would give the same answer on a replica: calls of them may go there. See
    /// [`ClassifierBuilder::safe_functions`](crate::classify::ClassifierBuilder::safe_functions).
    pub fn safe_functions<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.safe_functions.extend(names.into_iter().map(Into::into));
        self
    }

    /// Looks at all servers, for up to `connect_timeout` of a pool, and begins. A replica that does not answer is looked
    /// for later; there must be a primary.
    ///
    /// Errors: ROUTE-001 (no primary), ROUTE-002 (two), ROUTE-005 (none answers), ROUTE-007 (they are no cluster).
    pub async fn connect(self) -> Result<Cluster> {
        self.check()?;
        Cluster::begin(self).await
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(Code::RouteTopology, what));
        if self.servers.is_empty() {
            return wrong(format!("cluster `{}` has no server", self.name));
        }
        for (at, (name, _)) in self.servers.iter().enumerate() {
            if self.servers[..at].iter().any(|(other, _)| other == name) {
                return wrong(format!("cluster `{}` has two servers called `{name}`", self.name));
            }
        }
        let Settings { probe_every, probe_timeout, .. } = self.settings;
        if probe_every < Duration::from_millis(1) || probe_timeout < Duration::from_millis(1) {
            return Err(Error::new(
                Code::ConfigValue,
                "probe_every and probe_timeout are at least 1 ms",
            ));
        }
        Ok(())
    }
}
