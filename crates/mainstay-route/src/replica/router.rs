//! Where a piece of work goes: what may write to the primary, what reads to the replica that has least to do of those
//! that are fresh enough; and who waits for one that nearly is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay_core::token::{Position, Token};
use mainstay_core::{Code, Error, Result, Retry};
use mainstay_db::{Choice, Db, Engine, Route, Work};

use super::cluster::Inner;
use super::node::Role;
use super::settings::Settings;
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
    fn need(self: &Arc<Self>, freshness: &Freshness) -> Result<Need> {
        Ok(match freshness {
            Freshness::Fresh => Need::Primary,
            Freshness::Any => Need::Nothing,
            Freshness::MaxAge(age) => Need::Age(*age),
            Freshness::AtLeast(token) => {
                self.check(token)?;
                match token.position() {
                    Position::Unknown => Need::Primary,
                    position => Need::At(position.clone()),
                }
            }
            Freshness::Own => self.own_need(),
        })
    }

    fn own_need(self: &Arc<Self>) -> Need {
        self.mark(|mark| match mark.known().map(|token| token.position().clone()) {
            // What nobody knew when it was given out has happened by now, or does not.
            Some(Position::Unknown) => {
                mark.replace_token(self.after_now());
                Need::Primary
            }
            Some(position) => Need::At(position),
            None if mark.is_empty() => Need::Nothing,
            None => Need::Primary,
        })
    }

    /// A server that serves it now. `None`: a replica may in a moment. Errors: ROUTE-002, ROUTE-003.
    pub(crate) fn find(self: &Arc<Self>, freshness: &Freshness) -> Result<Option<Db>> {
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
        let mut all: Vec<usize> = (0..self.nodes.len()).filter(fresh).collect();
        let free = |at: &usize| !self.nodes[*at].is_passed_over(now);
        if self.settings.primary_reads || all.iter().any(free) {
            all.retain(free);
        }
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
    pub(crate) async fn wait_for(self: &Arc<Self>, freshness: &Freshness) -> Result<Db> {
        let clock = &self.settings.clock;
        let until = clock.now() + self.settings.wait;
        let need = self.need(freshness)?;
        let asked = self.samples.now();
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
            if let (Need::At(position), Freshness::Own) = (&need, freshness) {
                self.give_up_beyond(position, asked);
            }
        }
        Ok(self.primary_within(self.settings.failover_wait).await?.1)
    }

    /// A position that the primary itself has not come to is of no use to anybody, and would have each read wait: it was
    /// made up, or is of a line that was given up in a failover.
    fn give_up_beyond(self: &Arc<Self>, position: &Position, asked: u64) {
        let beyond = self.samples.since(asked).is_some_and(|own| !own.covers(position));
        if beyond {
            tracing::debug!(cluster = %self.name, %position, "a token is beyond the primary, and given up");
            self.mark(|mark| {
                // Something may have been written meanwhile.
                if mark.known().is_some_and(|token| token.position() == position) {
                    mark.replace_token(self.after_now());
                }
            });
        }
    }

    /// See [`Cluster::token`](super::Cluster::token).
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Option<Token>> {
        let told = || {
            self.mark(|mark| match mark.known().cloned() {
                Some(token) => Some(Some(token)),
                None if mark.is_unsure() => Some(Some(self.token_at(Position::Unknown))),
                None => mark.is_empty().then_some(None),
            })
        };
        let limit = self.settings.failover_wait;
        let until = self.settings.clock.now() + limit;
        let mut news = self.news.subscribe();
        loop {
            if let Some(told) = told() {
                return Ok(told);
            }
            self.ask_primary();
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
        let position = position.and_then(|p| match inner.engine {
            Engine::Postgres => Position::lsn(p),
            _ => Position::gtid(p),
        });
        match position {
            // Nothing was logged, now or before on that connection: there is nothing to see.
            Some(Position::Gtid(all)) if all.is_empty() => {}
            Some(position) => {
                let token = inner.token_at(position);
                inner.mark(|mark| mark.observe(&token));
            }
            None => {
                let after = inner.after_now();
                inner.mark(|mark| mark.wrote(after));
            }
        }
    }

    fn unsure(&self, work: Work<'_>) {
        if !self.reads(work) {
            self.inner.unsure();
        }
    }

    fn cluster(&self) -> Option<u64> {
        Some(self.inner.id)
    }

    fn fresh(&self) -> Option<Arc<dyn Route>> {
        Some(Arc::new(Router { inner: Arc::clone(&self.inner), freshness: Freshness::Fresh }))
    }

    /// A read is safe to run again, whatever became of it. A server that does not answer is out, and looked at at once;
    /// one whose connections are all taken is passed over for a while, and goes on with what it has.
    fn again(&self, work: Work<'_>, on: &Db, error: &Error) -> bool {
        let inner = &self.inner;
        if !self.reads(work) || error.retryability() == Retry::Never {
            return false;
        }
        let Some(at) = inner.node_of(on) else { return false };
        match error.code() {
            // It took too long: so it would elsewhere.
            Code::Deadline | Code::StatementCancelled => return false,
            Code::Unreachable | Code::ConnectionLost | Code::Protocol | Code::PoolDown => {
                let why = Error::new(error.code(), error.what().to_owned());
                inner.heard(at, 0, Err(why));
                inner.kicks[at].notify_one();
            }
            // What was cancelled in favour of replication fails on a server that is well.
            _ if error.retryability() == Retry::Transaction => {}
            _ => inner.nodes[at].pass_over(inner.settings.clock.now()),
        }
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
