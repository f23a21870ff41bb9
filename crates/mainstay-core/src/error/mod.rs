//! The one error of Mainstay: a code, what went wrong, why, what to do next, and where.
//!
//! It never carries a password or a bound value: whoever builds one leaves them out.

#[macro_use]
mod findings;
#[macro_use]
mod routing;
mod code;
mod place;

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

pub use code::{Code, Kind};
pub use place::Place;

/// A result with Mainstay's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether the same thing may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// The whole transaction may be run again; the one statement may not.
    Transaction,
    /// Nothing was done: it may be tried again after a while.
    Later,
    /// Nobody knows whether it was done: look before trying again.
    Unknown,
}

/// What went wrong, by [code](Code).
///
/// `Display` is one line, for a log; [`report`](Error::report) and `Debug` are the whole story, for
/// a person.
///
/// ```
/// use mainstay_core::{Code, Error};
///
/// let e = Error::new(Code::PoolTimeout, "no connection within 5 s").why("8 are held");
/// assert_eq!(e.to_string(), "POOL-002: no connection within 5 s");
/// assert!(e.report().contains("why: 8 are held"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    what: Cow<'static, str>,
    why: Option<Cow<'static, str>>,
    fix: Option<Cow<'static, str>>,
    place: Option<Place>,
    retry: Retry,
    rolls_back: bool,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    detail: Option<Box<dyn Any + Send + Sync>>,
}

impl Error {
    /// An error with `code`; `what` says what went wrong in a line.
    pub fn new(code: Code, what: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            what: what.into(),
            why: None,
            fix: None,
            place: None,
            retry: code.retry(),
            rolls_back: true,
            cause: None,
            detail: None,
        }))
    }

    /// The program's own refusal, of the kind its user can do something about. It rolls a
    /// transaction back and passes through Mainstay unchanged.
    pub fn user(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::User, what)
    }

    /// As [`user`](Self::user), carrying the program's own error, which [`detail`](Self::detail)
    /// gives back.
    pub fn wrap<E: fmt::Display + Send + Sync + 'static>(error: E) -> Self {
        Self::user(error.to_string()).with_detail(error)
    }

    /// Why it went wrong.
    #[must_use]
    pub fn why(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.0.why = Some(why.into());
        self
    }

    /// One more line of why it went wrong.
    #[must_use]
    pub fn note(mut self, line: impl AsRef<str>) -> Self {
        let why = self.0.why.take().map_or_else(String::new, |why| why.into_owned() + "\n");
        self.0.why = Some((why + line.as_ref()).into());
        self
    }

    /// What to do next, where the code's own advice can be made more exact.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }

    /// Where the program asked for what failed; the first place given stays.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// Whether it may be tried again, where that differs from the code's own answer.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Says that the transaction which this error leaves may commit all the same, as where a refusal
    /// is to be written down: the caller gets the error, and the work stays. What the database
    /// itself gave up can't be committed even so.
    #[must_use]
    pub fn commit_anyway(mut self) -> Self {
        self.0.rolls_back = false;
        self
    }

    /// The error that led to this one. It is printed, so it must hold nothing secret.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Something for a program to read, such as the constraint that was violated.
    #[must_use]
    pub fn with_detail<D: Send + Sync + 'static>(mut self, detail: D) -> Self {
        self.0.detail = Some(Box::new(detail));
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What went wrong, without the code.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Why, if it was said.
    pub fn reason(&self) -> Option<&str> {
        self.0.why.as_deref()
    }

    /// What to do next: its own advice, or else the code's.
    pub fn advice(&self) -> &str {
        self.0.fix.as_deref().unwrap_or(self.0.code.fix())
    }

    /// Where, if known.
    pub fn place(&self) -> Option<Place> {
        self.0.place
    }

    /// Whether it may be tried again.
    pub fn retryability(&self) -> Retry {
        self.0.retry
    }

    /// Whether it rolls back the transaction that it leaves: unless
    /// [`commit_anyway`](Self::commit_anyway) was said.
    pub fn rolls_back(&self) -> bool {
        self.0.rolls_back
    }

    /// What was attached with [`with_detail`](Self::with_detail), if it is a `D`.
    pub fn detail<D: 'static>(&self) -> Option<&D> {
        self.0.detail.as_deref()?.downcast_ref()
    }

    /// The whole story, several lines: code, what, why, where, the chain of causes, the fix.
    pub fn report(&self) -> String {
        let inner = &*self.0;
        let mut out = format!("error[{}]: {}\n", inner.code, inner.what);
        let mut line = |label: &str, text: &str| {
            for (i, part) in text.lines().enumerate() {
                let label = if i == 0 { label } else { "" };
                let gap = if i == 0 && !label.is_empty() { ": " } else { "  " };
                out += &format!("  {label:>3}{gap}{part}\n");
            }
        };
        if let Some(why) = &inner.why {
            line("why", why);
        }
        if let Some(place) = inner.place {
            line("at", &place.to_string());
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            line("by", &error.to_string());
            cause = error.source();
        }
        line("fix", self.advice());
        if inner.code != Code::User {
            line("see", &format!("mainstay explain {}", inner.code));
        }
        out.pop();
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code {
            Code::User => f.write_str(&self.0.what),
            code => write!(f, "{code}: {}", self.0.what),
        }
    }
}

/// The report, so that `fn main() -> mainstay::Result<()>` prints something a person can use.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests;
