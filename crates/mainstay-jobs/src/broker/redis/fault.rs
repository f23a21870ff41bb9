//! What Redis' and the client's errors mean to a caller. It repeats the server's words, which name
//! commands and users, never a message or a password.

use mainstay_core::{Code, Error, Retry};
use redis::{ErrorKind, RedisError};

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another connection: whether it was done is not known.
    Reconnect,
    /// To be tried again on the same one: it was not done.
    Wait,
    /// The queue is not there.
    Missing,
    /// The key of the queue holds something else.
    Kind,
    /// For good.
    Refused,
}

pub(super) fn verdict(error: &RedisError) -> Verdict {
    if error.is_io_error() || error.is_unrecoverable_error() {
        return Verdict::Reconnect;
    }
    let words = error.to_string();
    match error.code() {
        // A replica that was the master before: the name may lead to the new one.
        Some("READONLY") => Verdict::Reconnect,
        Some("LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "NOREPLICAS") => {
            Verdict::Wait
        }
        // The second is said to those who wait at a queue that is removed.
        Some("NOGROUP" | "UNBLOCKED") => Verdict::Missing,
        Some("WRONGTYPE") => Verdict::Kind,
        // Older servers wrap what went wrong in a script.
        _ if words.contains("NOGROUP") => Verdict::Missing,
        _ if words.contains("WRONGTYPE") => Verdict::Kind,
        _ => Verdict::Refused,
    }
}

/// A connection could not be made.
pub(super) fn down(place: &str, error: &RedisError) -> Error {
    let login = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if login {
        return Error::new(Code::BrokerDown, format!("{place} refuses the user"))
            .why(words(error))
            .fix("correct the user and the password in the URL")
            .retry(Retry::Never);
    }
    let told = Error::new(Code::BrokerDown, format!("{place} can't be reached")).why(words(error));
    // Such as a database that is not there.
    match verdict(error) {
        Verdict::Refused if !words(error).contains("max number of clients") => {
            told.retry(Retry::Never)
        }
        _ => told,
    }
}

/// A question about `queue` was answered with an error.
pub(super) fn queue(place: &str, queue: &str, error: &RedisError) -> Error {
    match verdict(error) {
        Verdict::Missing => missing(place, queue),
        Verdict::Kind => {
            let what = format!("the key of the queue `{queue}` of {place} holds something else");
            Error::new(Code::BrokerQueue, what).fix("remove the key, or use another name")
        }
        Verdict::Refused => {
            Error::new(Code::BrokerRefused, format!("{place} refuses this for the queue `{queue}`"))
                .why(words(error))
        }
        Verdict::Reconnect | Verdict::Wait => lost(place).why(words(error)),
    }
}

/// There is no such queue.
pub(super) fn missing(place: &str, queue: &str) -> Error {
    Error::new(Code::BrokerQueue, format!("{place} has no queue `{queue}`"))
        .fix("declare it, or correct its name")
}

/// The connection was lost, or was not there in time.
pub(super) fn lost(place: &str) -> Error {
    Error::new(Code::BrokerDown, format!("{place} did not answer in time"))
}

/// In the server's words.
pub(super) fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// The same error once more.
pub(super) fn copy(error: &Error) -> Error {
    let copy = Error::new(error.code(), error.what().to_owned())
        .fix(error.advice().to_owned())
        .retry(error.retryability());
    match error.reason() {
        Some(why) => copy.why(why.to_owned()),
        None => copy,
    }
}
