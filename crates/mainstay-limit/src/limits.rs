//! Several policies, decided together: all of them allow a call and count it, or none counts it. In this
//! process, or on Redis for a fleet.

use std::ops::Deref;
use std::sync::Arc;
#[cfg(feature = "redis")]
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::inspect::{Inspect, Snapshot};
use mainstay_core::{Code, Error, Result};

#[cfg(feature = "redis")]
use crate::decision::{By, Decision};
use crate::decision::{STACK_MAX, Verdict};
use crate::limiter::{KEYS_MAX, Limiter, Permit};
#[cfg(feature = "redis")]
use crate::policy::OnFailure;
use crate::policy::Policy;
#[cfg(feature = "redis")]
use crate::redis::{Held, RedisStore};

/// What is asked of a store: may `key` have so many units of what `policy` allows?
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The limit.
    pub policy: &'a Policy,
    /// Whose units.
    pub key: &'a str,
    /// How many.
    pub cost: u32,
}

/// Policies that are decided together. Cheap to clone; clones share.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use mainstay_limit::{Limits, Policy};
///
/// let limits = Limits::local(vec![
///     "10/s".parse::<Policy>()?.named("user"),
///     "12/s".parse::<Policy>()?.named("all"),
/// ])?;
/// assert!(limits.decide(&["alice", ""], 10).await.allowed());
/// let denied = limits.decide(&["bob", ""], 3).await;
/// assert!(!denied.allowed());
/// assert_eq!(denied.decisions()[0].remaining, 10, "nothing of bob's was counted");
/// # Ok::<(), mainstay_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Limits(Arc<Stack>);

#[derive(Debug)]
struct Stack {
    policies: Vec<Policy>,
    /// Who decides, or who does where Redis does not.
    local: Vec<Limiter>,
    #[cfg(feature = "redis")]
    redis: Option<RedisStore>,
}

/// Makes [`Limits`].
#[derive(Debug)]
pub struct Builder {
    policies: Vec<Policy>,
    keys_max: usize,
    clock: Clock,
    #[cfg(feature = "redis")]
    redis: Option<RedisStore>,
}

/// A verdict, and the units of concurrency limits that it holds until it is dropped.
#[derive(Debug)]
#[must_use = "what it holds is given back when it is dropped"]
pub struct Admission {
    verdict: Verdict,
    permits: [Option<Permit>; STACK_MAX],
    #[cfg(feature = "redis")]
    held: Option<Held>,
}

impl Limits {
    /// In this process, with the defaults of [`builder`](Self::builder).
    ///
    /// Errors: LIMIT-003.
    pub fn local(policies: Vec<Policy>) -> Result<Self> {
        Self::builder(policies).build()
    }

    /// For up to 100,000 keys a policy, in this process.
    pub fn builder(policies: Vec<Policy>) -> Builder {
        Builder {
            policies,
            keys_max: KEYS_MAX,
            clock: Clock::system(),
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    /// The policies, in their order.
    pub fn policies(&self) -> &[Policy] {
        &self.0.policies
    }

    /// A call of `cost` units of each policy, with one key a policy, in their order. It is allowed if all
    /// allow it, and is then counted by all; a policy in shadow mode never denies. In this process it never
    /// waits. On Redis it is one round trip, none where a denial is known, and within the store's timeout
    /// (5 ms): where Redis does not answer in time, each policy decides as its
    /// [`OnFailure`](crate::OnFailure) says.
    ///
    /// While two stacks that share nothing but one policy are decided at the same time, units of the one that
    /// is denied by another policy may be missing to the other for some microseconds: never too many are
    /// given, and rarely one too few.
    ///
    /// Panics where there is not one key a policy. Cancel safe: dropped, the units may have been counted;
    /// those of a concurrency limit are given back.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "Redis is waited for")
    )]
    pub async fn decide(&self, keys: &[&str], cost: u32) -> Admission {
        #[cfg(feature = "redis")]
        if let Some(store) = &self.0.redis {
            assert_eq!(keys.len(), self.0.policies.len(), "one key a policy");
            return self.decide_on(store, keys, cost).await;
        }
        self.decided_here(keys, cost)
    }

    /// As [`decide`](Self::decide), where nothing has to be waited for: `None` where they are counted on
    /// Redis, and nothing was decided.
    ///
    /// ```
    /// use mainstay_limit::{Limits, Policy};
    ///
    /// let limits = Limits::local(vec!["1/h".parse::<Policy>()?.named("once")])?;
    /// assert!(limits.decide_now(&["alice"], 1).is_some_and(|admission| admission.allowed()));
    /// assert!(limits.decide_now(&["alice"], 1).is_some_and(|admission| !admission.allowed()));
    /// # Ok::<(), mainstay_core::Error>(())
    /// ```
    #[inline]
    pub fn decide_now(&self, keys: &[&str], cost: u32) -> Option<Admission> {
        #[cfg(feature = "redis")]
        if self.0.redis.is_some() {
            return None;
        }
        Some(self.decided_here(keys, cost))
    }

    #[inline]
    fn decided_here(&self, keys: &[&str], cost: u32) -> Admission {
        assert_eq!(keys.len(), self.0.policies.len(), "one key a policy");
        let (verdict, permits) = self.0.decide(keys, cost, |_| true);
        Admission {
            verdict,
            permits,
            #[cfg(feature = "redis")]
            held: None,
        }
    }

    /// Another policy for one key of the policy called `name`, from the next call on; `None` takes it away.
    /// It is of this process: say it to each. What is decided where the store doesn't answer stays as the
    /// policy has it.
    ///
    /// Errors: LIMIT-003 (no such policy; another algorithm or length of window; more than 100,000 keys).
    pub fn set_override(&self, name: &str, key: &str, policy: Option<Policy>) -> Result<()> {
        let limiter = self.0.local.iter().find(|limiter| limiter.policy().name() == name);
        let limiter = limiter.ok_or_else(|| {
            let known: Vec<_> = self.0.policies.iter().map(Policy::name).collect();
            Error::new(Code::LimitUse, format!("there is no policy `{name}`"))
                .fix(format!("name one of {}", known.join(", ")))
        })?;
        let of = limiter.policy();
        let own = policy.map(|policy| policy.named(of.name.clone()).on_failure(of.on_failure));
        limiter.set_override(key, own)
    }

    #[cfg(feature = "redis")]
    async fn decide_on(&self, store: &RedisStore, keys: &[&str], cost: u32) -> Admission {
        let own: Vec<Option<Policy>> = self.0.own(keys);
        let asks: Vec<Ask<'_>> = (0..keys.len())
            .map(|at| Ask {
                policy: own[at].as_ref().unwrap_or(&self.0.policies[at]),
                key: keys[at],
                cost,
            })
            .collect();
        match store.decide(&asks).await {
            Ok(decided) => Admission {
                verdict: decided.verdict,
                permits: [const { None }; STACK_MAX],
                held: decided.held,
            },
            Err(error) => {
                tracing::debug!(code = %error.code(), "a limit is decided without its store: {error}");
                let (verdict, permits) = self.0.decide_without(&asks, keys, cost);
                Admission { verdict, permits, held: None }
            }
        }
    }
}

impl Stack {
    /// By those of the policies that are `wanted`; the others allow.
    fn decide(
        &self,
        keys: &[&str],
        cost: u32,
        wanted: impl Fn(usize) -> bool,
    ) -> (Verdict, [Option<Permit>; STACK_MAX]) {
        let mut decisions = [const { None }; STACK_MAX];
        let mut permits = [const { None }; STACK_MAX];
        // Of each, the key's hash, and when it was counted.
        let mut counted = [(0, 0); STACK_MAX];
        let mut denied = None;
        for at in (0..keys.len()).filter(|at| wanted(*at)) {
            let limiter = self.local[at].inner();
            let (hash, now) = (limiter.hash(keys[at]), limiter.now());
            counted[at] = (hash, now);
            let decision = limiter.call(hash, now, cost);
            decisions[at] = Some(decision);
            if !decision.allowed {
                denied = Some(at);
                break;
            }
            if limiter.is_held() && !decision.shadowed {
                permits[at] = Some(Permit::of(limiter, hash, cost));
            }
        }
        if let Some(denied) = denied {
            permits = [const { None }; STACK_MAX];
            for at in (0..keys.len()).filter(|at| *at != denied && wanted(*at)) {
                let limiter = self.local[at].inner();
                let (hash, then) = counted[at];
                let is_counted = decisions[at].is_some_and(|d| d.allowed && !d.shadowed);
                if is_counted && !limiter.is_held() {
                    limiter.undo(hash, then, cost);
                }
                let now = limiter.now();
                // As it stands; whether it would have allowed the call.
                let would = limiter.look(limiter.hash(keys[at]), now, cost);
                let stands = limiter.look(limiter.hash(keys[at]), now, 0);
                decisions[at] = Some(crate::Decision { remaining: stands.remaining, ..would });
            }
        }
        let of = |at: usize| {
            let uncounted = crate::Decision::uncounted(self.policies[at].limit(), crate::By::Store);
            decisions[at].unwrap_or(uncounted)
        };
        (Verdict::new((0..keys.len()).map(of)), permits)
    }

    #[cfg(feature = "redis")]
    fn own(&self, keys: &[&str]) -> Vec<Option<Policy>> {
        let own = |(limiter, key): (&Limiter, &&str)| {
            let limiter = limiter.inner();
            limiter.own(limiter.hash(*key))
        };
        self.local.iter().zip(keys).map(own).collect()
    }

    /// As each policy, or that of the key alone, says for a store that does not answer.
    #[cfg(feature = "redis")]
    fn decide_without(
        &self,
        asks: &[Ask<'_>],
        keys: &[&str],
        cost: u32,
    ) -> (Verdict, [Option<Permit>; STACK_MAX]) {
        /// When to come again: by then it is tried anew.
        const AGAIN: Duration = Duration::from_secs(1);
        let fails = |at: usize| asks[at].policy.on_failure;
        let closed =
            (0..asks.len()).any(|at| fails(at) == OnFailure::Closed && !asks[at].policy.shadow);
        // What is denied anyway is not counted.
        let wanted = |at: usize| fails(at) == OnFailure::Local && !closed;
        let (verdict, permits) = self.decide(keys, cost, wanted);
        let decisions = verdict.decisions().iter().enumerate().map(|(at, decision)| {
            let decision = Decision { by: By::Failure, ..*decision };
            match fails(at) {
                OnFailure::Closed => {
                    let denied = Decision {
                        allowed: false,
                        remaining: 0,
                        retry_after: Some(AGAIN),
                        ..decision
                    };
                    denied.in_shadow(asks[at].policy.shadow)
                }
                OnFailure::Open | OnFailure::Local => decision,
            }
        });
        (Verdict::new(decisions), permits)
    }
}

impl Builder {
    /// Keys remembered a policy. Default 100,000.
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys;
        self
    }

    /// Another clock, for tests. Redis decides by its own.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Counts on Redis, for all processes that use it.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, store: RedisStore) -> Self {
        self.redis = Some(store);
        self
    }

    /// Errors: LIMIT-003 (none, more than eight, or two of one name).
    pub fn build(self) -> Result<Limits> {
        let count = self.policies.len();
        if count == 0 || count > STACK_MAX {
            let what = format!("{count} policies can't be decided together");
            return Err(Error::new(Code::LimitUse, what).fix(format!("give 1 to {STACK_MAX}")));
        }
        for (at, policy) in self.policies.iter().enumerate() {
            if self.policies[..at].iter().any(|other| other.name() == policy.name()) {
                let what = format!("two policies are called `{}`", policy.name());
                return Err(Error::new(Code::LimitUse, what).fix("name each with named()"));
            }
        }
        let limiter = |policy: &Policy| {
            Limiter::with_clock(policy.clone(), self.keys_max, self.clock.clone())
        };
        Ok(Limits(Arc::new(Stack {
            local: self.policies.iter().map(limiter).collect(),
            policies: self.policies,
            #[cfg(feature = "redis")]
            redis: self.redis,
        })))
    }
}

impl Admission {
    /// Whether it holds units of a concurrency limit, and so has to live as long as the call.
    pub fn holds(&self) -> bool {
        #[cfg(feature = "redis")]
        if self.held.is_some() {
            return true;
        }
        self.permits.iter().any(Option::is_some)
    }
}

impl Deref for Admission {
    type Target = Verdict;

    fn deref(&self) -> &Verdict {
        &self.verdict
    }
}

impl Inspect for Limits {
    fn inspect(&self) -> Snapshot {
        let names: Vec<_> = self.0.policies.iter().map(Policy::name).collect();
        let all = Snapshot::new("limits", names.join(", "));
        self.0.local.iter().fold(all, |all, limiter| {
            let one = limiter.inspect();
            one.facts.into_iter().fold(all, Snapshot::fact).note(format!(
                "{}: {}",
                one.name,
                limiter.policy()
            ))
        })
    }
}
