//! Limits counted on Redis, for all processes that use it: one round trip for any number of limits, by the
//! server's clock. What a policy says for a store that does not answer is not decided here: that is an error.
//!
//! Redis from 6.2 on, or a server that speaks its language and runs its scripts. The keys are fit for a
//! cluster; this client speaks to one node, and leaves the way to the right one to a proxy.

mod answer;
mod held;
mod keys;
mod known;
mod lease;
mod link;
mod script;
mod url;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use mainstay_core::clock::{Clock, Tick};
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};

pub use self::held::Held;
use self::known::Known;
use self::lease::{Leases, Step};
use self::link::Link;
use crate::decision::STACK_MAX;
use crate::{Ask, By, Decision, Rule, Verdict};

const PREFIX: &str = "mainstay";
const TIMEOUT: Duration = Duration::from_millis(5);
/// By which a timer may be late: it is of whole milliseconds, and fires after the one that it is for.
const LATE: Duration = Duration::from_millis(2);

/// Limits on Redis. Cheap to clone; clones share the connection, what is known of denials (2.5 MB) and leases.
///
/// - **Together**: a call's limits are looked at and counted in one script: all, or none.
/// - **Time** is the server's. Where its clock is set back, by more than a window at once, what was counted is
///   forgotten or cut to a full limit.
/// - **Memory**: every key expires when it means nothing any more. Set `maxmemory-policy` to `noeviction`, or a
///   full server forgets limits; with it, a full server is one that does not decide (LIMIT-002).
/// - **Known denials**: until the time at which a denied call may come again, it is denied without a round trip.
/// - **Leases**: see [`Policy::lease`](crate::Policy::lease). A key with more than 100 decisions a second takes
///   units at once; up to 4096 keys do. Only where it is asked alone, one unit a call.
/// - **A server that fails** is left alone for 100 ms, in which every call is an error at once; then one call
///   tries. The connection is made anew meanwhile.
/// - **Keys** are `{mainstay}:LETTER:POLICY:KEY`, all in one slot of a cluster. Keys that begin with a `{tag}`
///   of their own are in the tag's: give all keys of a call the same.
///
/// ```no_run
/// use mainstay_limit::redis::RedisStore;
/// use mainstay_limit::{Limits, Policy};
///
/// # async fn example() -> mainstay_core::Result<()> {
/// let store = RedisStore::connect("redis://:secret@localhost:6379/0").await?;
/// let limits = Limits::builder(vec![Policy::per_second(10)]).redis(store).build()?;
/// assert!(limits.decide(&["alice"], 1).await.allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    prefix: Arc<str>,
    timeout: Duration,
    hasher: RandomState,
    known: Arc<Known>,
    leases: Arc<Leases>,
}

/// A verdict, and the units of concurrency limits that it holds until it is dropped.
#[derive(Debug)]
pub struct Decided {
    /// What was decided.
    pub verdict: Verdict,
    /// `None` where nothing is held.
    pub held: Option<Held>,
}

impl RedisStore {
    /// Connects. The URL is `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, with TLS `rediss://`, and then
    /// `?cacertfile=PATH` names certificates to be trusted in place of the system's. TLS makes ring the
    /// process's rustls provider where none was chosen.
    ///
    /// Errors: MSG-001 where the URL is malformed; LIMIT-002 where the server can't be reached within 2 s, or
    /// at once where it refuses the user.
    pub async fn connect(url: &str) -> Result<Self> {
        let store = Self::lazy(url)?;
        store.link.ready().await?;
        Ok(store)
    }

    /// As [`connect`](Self::connect), but the first decision connects: a service starts while Redis is down.
    ///
    /// Errors: MSG-001.
    pub fn lazy(url: &str) -> Result<Self> {
        Ok(Self {
            link: Arc::new(Link::new(url)?),
            prefix: PREFIX.into(),
            timeout: TIMEOUT,
            hasher: RandomState::default(),
            known: Arc::default(),
            leases: Arc::default(),
        })
    }

    /// What keys begin with. Default `mainstay`; braces and an empty one are left out. To be set before it is
    /// cloned, since clones share what they know.
    pub fn prefix(mut self, prefix: &str) -> Self {
        let prefix = prefix.replace(['{', '}'], "");
        self.prefix = if prefix.is_empty() { PREFIX.into() } else { prefix.into() };
        self
    }

    /// How long a decision may take in all. Default 5 ms. Its timer is set 2 ms earlier, by which it may be
    /// late; to 1 ms at least.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Decides all or nothing. No round trip where a denial is known or a unit is on lease, else one (a second
    /// one to a server that was restarted, or for a lease that was denied).
    ///
    /// Cancel safe: dropped, the units may have been counted; those of concurrency limits are given back.
    ///
    /// Errors: LIMIT-002; LIMIT-003 where there are not one to eight asks.
    pub async fn decide(&self, asks: &[Ask<'_>]) -> Result<Decided> {
        if asks.is_empty() || asks.len() > STACK_MAX {
            let what = format!("{} limits can't be decided together", asks.len());
            return Err(Error::new(Code::LimitUse, what).fix(format!("ask for 1 to {STACK_MAX}")));
        }
        let began = Clock::system().now();
        let within = self.timeout.saturating_sub(LATE).max(Duration::from_millis(1));
        let (now, deadline) = (Tick::from(began), began + within);
        let mut tags = [0; STACK_MAX];
        for (tag, ask) in tags.iter_mut().zip(asks) {
            *tag = self.tag(ask);
        }
        if let Some(verdict) = self.denied(asks, &tags, now) {
            return Ok(Decided { verdict, held: None });
        }
        if let [ask] = asks
            && lease::may(ask)
            && let Some(decision) = self.leased(tags[0], ask, now, deadline).await?
        {
            return Ok(Decided { verdict: Verdict::new([decision]), held: None });
        }
        self.ask(asks, &tags, now, deadline).await
    }

    /// By a hash that nobody outside can foresee.
    fn tag(&self, ask: &Ask<'_>) -> u64 {
        let rule = ask.policy.rule();
        let numbers = script::numbers(rule, 0);
        let whole = (ask.policy.name(), script::letter(rule), numbers, ask.key);
        self.hasher.hash_one(whole).max(1)
    }

    /// Without a round trip, where one of them is known to deny. Of the others nothing is known.
    fn denied(&self, asks: &[Ask<'_>], tags: &[u64; STACK_MAX], now: Tick) -> Option<Verdict> {
        let known = |(ask, tag): (&Ask<'_>, &u64)| {
            if ask.policy.is_shadow() {
                return None;
            }
            self.known.get(*tag, ask.cost, ask.policy.limit(), now)
        };
        let mut found = [None; STACK_MAX];
        for (found, pair) in found.iter_mut().zip(asks.iter().zip(tags)) {
            *found = known(pair);
        }
        found.iter().any(Option::is_some).then(|| {
            let of = |(found, ask): (&Option<Decision>, &Ask<'_>)| {
                found.unwrap_or_else(|| Decision::uncounted(ask.policy.limit(), By::Known))
            };
            Verdict::new(found.iter().zip(asks).map(of))
        })
    }

    /// A unit on lease, of one that is there or that can be had.
    async fn leased(
        &self,
        tag: u64,
        ask: &Ask<'_>,
        now: Tick,
        deadline: Instant,
    ) -> Result<Option<Decision>> {
        let units = match self.leases.step(tag, ask, now, deadline.into()) {
            Step::Given(decision) => return Ok(Some(decision)),
            Step::Ask => return Ok(None),
            Step::Take(units) => units,
        };
        let many = [Ask { cost: units, ..*ask }];
        let keys = self.keys(&many);
        let decisions = self.run(&many, &keys, "", deadline, || ()).await?;
        Ok(decisions.first().and_then(|d| self.leases.came(tag, ask, units, d, now)))
    }

    async fn ask(
        &self,
        asks: &[Ask<'_>],
        tags: &[u64; STACK_MAX],
        now: Tick,
        deadline: Instant,
    ) -> Result<Decided> {
        let keys = self.keys(asks);
        let is_held = |at: &usize| {
            matches!(asks[*at].policy.rule(), Rule::Concurrency { .. }) && asks[*at].cost > 0
        };
        let held: Vec<usize> = (0..asks.len()).filter(is_held).collect();
        let id = if held.is_empty() { String::new() } else { new_id() };
        let mut permit = None;
        // Not before it is really asked: a server that fails is left alone by those who give back, too.
        let begin = || {
            permit = (!held.is_empty()).then(|| {
                let units = held.iter().map(|at| asks[*at].cost).collect();
                let keys = held.iter().map(|at| keys[*at].clone()).collect();
                Held::begin(&self.link, keys, units, &id)
            });
        };
        let decisions = self.run(asks, &keys, &id, deadline, begin).await?;
        for ((ask, tag), decision) in asks.iter().zip(tags).zip(&decisions) {
            if !decision.allowed && !ask.policy.is_shadow() {
                self.known.put(*tag, ask.cost, decision, now);
            }
        }
        let verdict = Verdict::new(decisions);
        let counted = |(bit, at): (usize, &usize)| {
            let counted = verdict.allowed() && !verdict.decisions()[*at].shadowed;
            u8::from(counted) << bit
        };
        let counted: u8 = held.iter().enumerate().map(counted).sum();
        Ok(Decided { verdict, held: permit.and_then(|permit| permit.taken(counted)) })
    }

    async fn run(
        &self,
        asks: &[Ask<'_>],
        keys: &[String],
        id: &str,
        deadline: Instant,
        begin: impl FnOnce() + Send,
    ) -> Result<Vec<Decision>> {
        let work = |wire| {
            begin();
            script::decide(wire, asks, keys, id)
        };
        let answer = self.link.ask(deadline, work).await?;
        answer::decisions(asks, &answer).ok_or_else(|| {
            Error::new(Code::LimitStore, format!("{} gave no decision", self.link.place))
                .why("what the script answered has another length")
        })
    }

    fn keys(&self, asks: &[Ask<'_>]) -> Vec<String> {
        let key = |ask: &Ask<'_>| keys::of(&self.prefix, script::letter(ask.policy.rule()), ask);
        asks.iter().map(key).collect()
    }
}

/// Unlike that of any other permit, in this process or another.
fn new_id() -> String {
    let part = || Rng::system().u64(0..u64::MAX);
    format!("{:016x}{:016x}", part(), part())
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("place", &self.link.place)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
