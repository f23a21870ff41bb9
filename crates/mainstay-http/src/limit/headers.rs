//! What callers are told of their limits: draft-ietf-httpapi-ratelimit-headers, and the older
//! `X-RateLimit-*`.

use std::io::{self, Write};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_core::{Code, Error, Result};
use mainstay_limit::{Decision, Policy, Verdict};

use super::is_blind;
use crate::problem::whole_seconds;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Which headers tell what is left.
///
/// The standard ones list every policy: `RateLimit-Policy: "api";q=100;w=60` and
/// `RateLimit: "api";r=50;t=30`, with `t` the seconds until all of it is back or, on a refusal, until
/// this request would be allowed. A concurrency limit has no window: `"api";q=10;qu="concurrent-requests"`.
/// Layers within each other add to the lists.
///
/// The older ones tell of the policy that matters most: `X-RateLimit-Limit`, `-Remaining`, and `-Reset` in
/// seconds from now. Of layers within each other the innermost is told.
///
/// Retry-After is on every refusal that ends by itself, whatever is chosen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// Neither.
    None,
    /// `RateLimit-Policy` and `RateLimit`.
    #[default]
    Standard,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    Legacy,
    /// Both.
    Both,
}

impl Families {
    fn standard(self) -> bool {
        matches!(self, Families::Standard | Families::Both)
    }

    fn legacy(self) -> bool {
        matches!(self, Families::Legacy | Families::Both)
    }

    /// For `Access-Control-Expose-Headers`.
    pub(super) fn exposed(self) -> &'static str {
        match self {
            Families::None => "Retry-After",
            Families::Standard => "RateLimit, RateLimit-Policy, Retry-After",
            Families::Legacy => {
                "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
            }
            Families::Both => {
                "RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, \
                 X-RateLimit-Reset, Retry-After"
            }
        }
    }
}

/// A line that is longer is written on the heap.
const LINE: usize = 128;

/// What an answer is to tell.
#[derive(Debug, Default)]
pub(super) struct Left {
    policies: Option<HeaderValue>,
    units: Option<HeaderValue>,
    /// The limit, what remains, and the seconds: of the policy that matters most.
    binding: Option<[u64; 3]>,
}

impl Left {
    /// Onto an answer, beside what layers within have told.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        for (name, value) in [(POLICY, self.policies), (LEFT, self.units)] {
            if let Some(value) = value {
                headers.append(name, value);
            }
        }
        for (name, number) in
            [X_LIMIT, X_REMAINING, X_RESET].into_iter().zip(self.binding.into_iter().flatten())
        {
            headers.entry(name).or_insert(HeaderValue::from(number));
        }
    }
}

/// What never changes of it, written once.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) families: Families,
    /// The names as structured fields write them, one a policy.
    names: Vec<String>,
    /// The policies that callers are told of.
    policies: Option<HeaderValue>,
}

impl Told {
    pub(super) fn new(policies: &[Policy]) -> Result<Self> {
        let printable =
            |name: &str| !name.is_empty() && name.bytes().all(|b| matches!(b, b' '..=b'~'));
        if let Some(policy) = policies.iter().find(|policy| !printable(policy.name())) {
            let what = format!("a header can't tell of a policy called {:?}", policy.name());
            return Err(Error::new(Code::HttpOption, what).fix("name it in printable ASCII"));
        }
        let quoted =
            |p: &Policy| format!("\"{}\"", p.name().replace('\\', "\\\\").replace('"', "\\\""));
        let names: Vec<_> = policies.iter().map(quoted).collect();
        let items = names.iter().zip(policies).filter(|(_, policy)| !policy.is_shadow());
        let items = items.map(|(name, policy)| quota(name, policy, policy.limit()));
        let policies = value(&items.collect::<Vec<_>>().join(", "));
        Ok(Self { families: Families::default(), names, policies })
    }

    /// What an answer is to tell.
    pub(super) fn left(&self, policies: &[Policy], decisions: &[Decision]) -> Left {
        let mut told = Left::default();
        let known = || {
            let all = policies.iter().zip(decisions).zip(&self.names);
            all.filter(|((policy, d), _)| !policy.is_shadow() && !is_blind(policy, d))
        };
        if self.families.standard() {
            told.policies = self.quotas(policies, decisions);
            told.units = list(|line| {
                known().try_fold(false, |more, ((policy, decision), name)| {
                    if more {
                        line.write_all(b", ")?;
                    }
                    left(line, name, policy, decision)?;
                    Ok(true)
                })
            });
        }
        if self.families.legacy() {
            let binding = Verdict::new(known().map(|((_, decision), _)| *decision)).binding();
            told.binding = binding.and_then(|at| known().nth(at)).map(|((policy, decision), _)| {
                let reset = until(policy, decision).unwrap_or_default();
                [u64::from(decision.limit), u64::from(decision.remaining), reset]
            });
        }
        told
    }

    /// As written once, unless a key has a limit of its own.
    fn quotas(&self, policies: &[Policy], decisions: &[Decision]) -> Option<HeaderValue> {
        if policies.iter().zip(decisions).all(|(policy, d)| d.limit == policy.limit()) {
            return self.policies.clone();
        }
        let items = policies.iter().zip(decisions).zip(&self.names);
        let items = items.filter(|((policy, _), _)| !policy.is_shadow());
        let items = items.map(|((policy, decision), name)| quota(name, policy, decision.limit));
        value(&items.collect::<Vec<_>>().join(", "))
    }
}

/// An item of `RateLimit-Policy`. Windows are told in whole seconds and never 0: a shorter one is rounded
/// up, which promises less than is allowed.
fn quota(name: &str, policy: &Policy, limit: u32) -> String {
    match policy.quota() {
        None => format!("{name};q={limit};qu=\"concurrent-requests\""),
        // An override's window is not known here.
        Some(_) if limit != policy.limit() => format!("{name};q={limit}"),
        Some((units, window)) => format!("{name};q={units};w={}", whole_seconds(window).max(1)),
    }
}

/// An item of `RateLimit`.
fn left(line: &mut dyn Write, name: &str, policy: &Policy, decision: &Decision) -> io::Result<()> {
    line.write_all(name.as_bytes())?;
    line.write_all(b";r=")?;
    number(line, decision.remaining.into())?;
    if let Some(seconds) = until(policy, decision) {
        line.write_all(b";t=")?;
        number(line, seconds)?;
    }
    Ok(())
}

fn number(line: &mut dyn Write, mut number: u64) -> io::Result<()> {
    let mut digits = [b'0'; 20];
    let mut from = digits.len() - 1;
    loop {
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return line.write_all(&digits[from..]);
        }
        from -= 1;
    }
}

/// The value that `write` writes, if it is something: on the stack, unless it is longer than most.
fn list(write: impl Fn(&mut dyn Write) -> io::Result<bool>) -> Option<HeaderValue> {
    let mut stack = [0; LINE];
    let mut rest = &mut stack[..];
    match write(&mut rest) {
        Ok(false) => None,
        Ok(true) => {
            let left = rest.len();
            HeaderValue::from_bytes(&stack[..LINE - left]).ok()
        }
        Err(_) => {
            let mut heap = Vec::with_capacity(2 * LINE);
            write(&mut heap).ok()?;
            HeaderValue::from_bytes(&heap).ok()
        }
    }
}

/// The seconds until this request would be allowed, where it was not, and else until all is back; `None`
/// where no time brings it.
fn until(policy: &Policy, decision: &Decision) -> Option<u64> {
    policy.quota()?;
    let time: Option<Duration> =
        if decision.allowed { Some(decision.reset) } else { decision.retry_after };
    time.map(whole_seconds)
}

fn value(text: &str) -> Option<HeaderValue> {
    if text.is_empty() { None } else { HeaderValue::from_str(text).ok() }
}
