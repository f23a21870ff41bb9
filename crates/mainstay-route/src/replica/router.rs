//! Where a piece of work goes: what may write to the primary, what reads to the replica that has least to do of those
//! that are fresh enough; and who waits for one that nearly is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay_core::{Code, Error, Result, Retry};
use mainstay_db::{Choice, Db, Route, Work};

use super::cluster::Inner;
use super::node::Role;
use super::position::Position;
use super::settings::Settings;
use super::token::Token;
use crate::classify::Where;

/// How fresh a read must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// What the current scope wrote, or, outside of one, this process: read your writes.
    #[default]
    Own,
    /// All that was ever committed: the primary.
    Fresh,
    /// At least what the token covers.
    AtLeast(Token),
    /// At most so far behind the primary.
    MaxAge(Duration),
    /// Whatever a replica has.
    Any,
}

/// What that means now.
enum Need {
    Nothing,
    Primary,
    Age(Duration),
    At(Position),
}

/// Given to handles.
pub(crate) struct Router {
    pub(crate) inner: Arc<Inner>,
    pub(crate) freshness: Freshness,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("cluster", &self.inner.name).finish_non_exhaustive()
    }
}

/// While it lives, replicas are looked at more often.
struct Wanting<'a>(&'a Inner);

impl<'a> Wanting<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.wanted.fetch_add(1, SeqCst);
        inner.kicks.iter().for_each(|kick| kick.notify_one());
        Self(inner)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(1, SeqCst);
    }
}

impl Inner {
    fn need(&self, freshness: &Freshness) -> Result<Need> {
        Ok(match freshness {
            Freshness::Fresh => Need::Primary,
            Freshness::Any => Need::Nothing,
            Freshness::MaxAge(age) => Need::Age(*age),
            Freshness::AtLeast(token) => {
                self.check(token)?;
                Need::At(token.position.clone())
            }
            Freshness::Own => match self.noted() {
                None => Need::Nothing,
                Some(mark) => match self.resolved(&mark) {
                    Some(position) => Need::At(position),
                    None => Need::Primary,
                },
            },
        })
    }

    /// The position of a mark; `None` where it is not known yet.
    fn resolved(&self, mark: &str) -> Option<Position> {
        match mark.strip_prefix('?') {
            Some(after) => {
                let position = self.samples.since(after.parse().ok()?)?;
                // The next read need not look it up again.
                self.note(
                    Token { cluster: self.id, position: position.clone() }.to_string().into(),
                );
                Some(position)
            }
            None => mark.parse::<Token>().ok().map(|token| token.position),
        }
    }

    /// A server that serves it now. `None`: a replica may in a moment. Errors: ROUTE-002, ROUTE-003.
    pub(crate) fn find(&self, freshness: &Freshness) -> Result<Option<Db>> {
        Ok(match self.need(freshness)? {
            Need::Primary => self.primary_now()?.map(|(_, db)| db),
            need => self.replica(&need).or_else(|| self.else_primary(&need)),
        })
    }

    /// Where no replica is there at all, or the age alone counts, there is nothing to wait for.
    fn else_primary(&self, need: &Need) -> Option<Db> {
        let follows = self.nodes.iter().any(|node| node.role() == Role::Replica);
        let waits = matches!(need, Need::At(_)) && follows;
        if waits || !self.settings.primary_reads {
            return None;
        }
        self.primary_now().ok().flatten().map(|(_, db)| db)
    }

    /// The one with least to do of those that are fresh enough.
    fn replica(&self, need: &Need) -> Option<Db> {
        let now = self.settings.clock.now();
        let fresh = |at: &usize| {
            let node = &self.nodes[*at];
            node.role() == Role::Replica
                && match need {
                    Need::Nothing => true,
                    Need::Primary => false,
                    Need::Age(age) => node.seen.load().lag.is_some_and(|lag| lag <= *age),
                    Need::At(position) => node.covers(position),
                }
        };
        let all: Vec<usize> = (0..self.nodes.len()).filter(fresh).collect();
        let Settings { ramp, rng, .. } = &self.settings;
        let mut ready: Vec<usize> =
            all.iter().copied().filter(|at| self.nodes[*at].takes_part(now, *ramp, rng)).collect();
        if ready.is_empty() {
            ready = all;
        }
        // Of equals, not always the first.
        let from = if ready.len() > 1 { rng.u64(0..ready.len() as u64) as usize } else { 0 };
        ready.rotate_left(from);
        let least = ready.into_iter().filter_map(|at| self.nodes[at].handle());
        least.min_by_key(|db| {
            let status = db.status();
            status.in_use + status.waiting
        })
    }

    /// Waits for a replica, up to the bound for that, and takes the primary then.
    pub(crate) async fn wait_for(&self, freshness: &Freshness) -> Result<Db> {
        let clock = &self.settings.clock;
        let until = clock.now() + self.settings.wait;
        let need = self.need(freshness)?;
        if !matches!(need, Need::Primary) {
            let _wanting = Wanting::new(self);
            let mut news = self.news.subscribe();
            loop {
                if let Some(db) = self.replica(&need) {
                    return Ok(db);
                }
                if clock.timeout_at(until, news.changed()).await.is_none() {
                    break;
                }
            }
            if !self.settings.primary_reads {
                let what = format!(
                    "no replica of cluster `{}` was fresh enough within {:.1?}",
                    self.name, self.settings.wait
                );
                return Err(Error::new(Code::RouteStale, what));
            }
        }
        Ok(self.primary_within(self.settings.failover_wait).await?.1)
    }

    /// See [`Cluster::token`](super::Cluster::token).
    pub(crate) async fn token(&self) -> Result<Option<Token>> {
        let Some(mark) = self.noted() else { return Ok(None) };
        let limit = self.settings.failover_wait;
        let until = self.settings.clock.now() + limit;
        let mut news = self.news.subscribe();
        loop {
            if let Some(position) = self.resolved(&mark) {
                return Ok(Some(Token { cluster: self.id, position }));
            }
            self.kicks.iter().for_each(|kick| kick.notify_one());
            if self.settings.clock.timeout_at(until, news.changed()).await.is_none() {
                let what =
                    format!("the primary of cluster `{}` did not say how far it is", self.name);
                return Err(Error::new(Code::RouteNoPrimary, what));
            }
        }
    }

    fn node_of(&self, db: &Db) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.db.load().as_deref().is_some_and(|own| own.is_same(db)))
    }
}

impl Router {
    fn reads(&self, work: Work<'_>) -> bool {
        match work {
            Work::Statement(sql) => self.inner.classifier.of(sql) == Where::Replica,
            Work::ReadOnly => true,
            _ => false,
        }
    }
}

impl Route for Router {
    fn choose<'a>(&'a self, work: Work<'a>) -> Choice<'a> {
        let inner = &self.inner;
        let reads = self.reads(work);
        let found = if reads {
            inner.find(&self.freshness)
        } else {
            inner.primary_now().map(|found| found.map(|(_, db)| db))
        };
        match found {
            Ok(Some(db)) => Choice::There(db),
            Ok(None) if reads => {
                Choice::Later(Box::pin(async { inner.wait_for(&self.freshness).await.map(Some) }))
            }
            Ok(None) => Choice::Later(Box::pin(async {
                Ok(Some(inner.primary_within(inner.settings.failover_wait).await?.1))
            })),
            Err(error) => Choice::Later(Box::pin(async { Err(error) })),
        }
    }

    fn wants_positions(&self) -> bool {
        true
    }

    fn done(&self, work: Work<'_>, position: Option<&str>) {
        if self.reads(work) {
            return;
        }
        let inner = &self.inner;
        let position = position.and_then(|p| Position::parse(p, inner.engine));
        match position {
            Some(position) => {
                inner.note(Token { cluster: inner.id, position }.to_string().into());
            }
            None => {
                inner.note(format!("?{}", inner.samples.now()).into());
                if let Some(Ok(primary)) = inner.primary.load().as_deref() {
                    inner.kicks[*primary].notify_one();
                }
            }
        }
    }

    /// A read is safe to run again, whatever became of it. The server that failed is looked at at once.
    fn again(&self, work: Work<'_>, on: &Db, error: &Error) -> bool {
        let inner = &self.inner;
        if !self.reads(work) || error.retryability() == Retry::Never {
            return false;
        }
        let Some(at) = inner.node_of(on) else { return false };
        // What was cancelled in favour of replication fails on a server that is well.
        if error.retryability() != Retry::Transaction {
            let why = Error::new(error.code(), error.what().to_owned());
            inner.heard(at, 0, Err(why));
        }
        inner.kicks[at].notify_one();
        true
    }

    /// A read does not wait for a server that has stopped: the prober knows sooner.
    fn lost<'a>(
        &'a self,
        work: Work<'a>,
        on: &'a Db,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let at = if self.reads(work) { self.inner.node_of(on) } else { None };
            let Some(at) = at else { return std::future::pending().await };
            let mut news = self.inner.news.subscribe();
            while self.inner.nodes[at].role() != Role::Out {
                if news.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        })
    }
}
