//! W3C trace context: which trace a piece of work belongs to, so that calls pass it on. It records
//! no spans and exports nothing.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_core::rng::Rng;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What vendors add is passed on up to this length, as the standard asks for at least.
const STATE_MAX: usize = 512;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A place in a distributed trace: `traceparent`, and `tracestate` as it came.
///
/// It belongs to a task, as a [`Scope`](mainstay_core::scope::Scope) does, and does not cross
/// `tokio::spawn` by itself.
///
/// ```
/// use mainstay_http::service::Trace;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// assert_eq!(Trace::parse(text).unwrap().to_string(), text);
/// ```
#[derive(Clone, Debug)]
pub struct Trace {
    id: u128,
    span: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl Trace {
    /// The first of a new trace, to be recorded.
    pub fn begin(rng: &Rng) -> Self {
        let id = u128::from(number(rng)) << 64 | u128::from(number(rng));
        Self { id, span: number(rng), flags: 1, state: None }
    }

    /// What a `traceparent` says; `None` if it is not valid.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let (version, id, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        // A later version may say more; ours has no more to say.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (id, span, flags) = (hex(id, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let valid = id != 0 && span != 0;
        valid.then_some(Self { id, span: span as u64, flags: flags as u8 & 1, state: None })
    }

    /// What a request's headers say, if they say something valid and say it once.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let (Some(text), None) = (all.next(), all.next()) else { return None };
        let mut trace = Self::parse(text.to_str().ok()?)?;
        trace.state = headers.get(TRACESTATE).filter(|s| s.len() <= STATE_MAX).cloned();
        Some(trace)
    }

    /// The trace of the running task, if it has one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Trace::clone).ok()
    }

    /// Runs `work` in this trace.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Runs `work`, which does not wait, in this trace.
    pub(super) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// A part of the same trace, under this one.
    pub fn child(&self, rng: &Rng) -> Self {
        Self { span: number(rng), ..self.clone() }
    }

    /// The trace's number, the same in all its parts.
    pub fn id(&self) -> u128 {
        self.id
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

fn number(rng: &Rng) -> u64 {
    rng.u64(1..u64::MAX)
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let valid = text.len() == digits && text.bytes().all(lower);
    if valid { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.id, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_a_trace() {
        let (id, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let valid = |text: String| Trace::parse(&text).is_some();
        assert!(valid(format!("00-{id}-{span}-00")));
        assert!(valid(format!("01-{id}-{span}-01-more")));
        for wrong in [
            format!("00-{id}-{span}-01-more"),
            format!("ff-{id}-{span}-01"),
            format!("00-{}-{span}-01", id.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{id}-{span}"),
            format!("00-{id}-{span}-1"),
            String::new(),
        ] {
            assert!(!valid(wrong.clone()), "{wrong}");
        }
    }

    #[test]
    fn a_child_is_of_the_same_trace() {
        let trace = Trace::begin(&Rng::seeded(1));
        let child = trace.child(&Rng::seeded(2));
        assert_eq!(child.id(), trace.id());
        assert_ne!(child.to_string(), trace.to_string());
    }
}
