//! What the client's errors mean to a caller. It repeats the server's words, which name streams and
//! users, never a message or a password.

use std::path::Path;

use async_nats::jetstream::Error as ServerError;
use async_nats::{ConnectError, ConnectErrorKind};
use mainstay_core::{Code, Error, Retry};

use super::url::Target;

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// Whether it was done is not known.
    Lost(String),
    /// Nobody listens on the subject: there is no such stream, or it is not up yet.
    Nobody,
    /// For good.
    Refused(String),
}

/// A connection could not be made.
pub(super) fn down(target: &Target, error: &ConnectError) -> Error {
    let place = &target.place;
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Error::new(Code::BrokerDown, format!("{place} refuses the user"))
                .why(error.to_string())
                .fix("correct the user and the password in the URL")
                .retry(Retry::Never)
        }
        _ => {
            Error::new(Code::BrokerDown, format!("{place} can't be reached")).why(error.to_string())
        }
    }
}

/// A server was reached that does not answer for JetStream.
pub(super) fn no_jetstream(place: &str, fault: Fault) -> Error {
    match fault {
        Fault::Nobody => Error::new(Code::BrokerDown, format!("{place} has no JetStream"))
            .why("nobody answers to it there")
            .fix("start nats-server with -js, or set `jetstream` in its configuration")
            .retry(Retry::Never),
        Fault::Lost(why) | Fault::Refused(why) => lost(place).why(why),
    }
}

/// JetStream is off for the account, or without a leader.
pub(super) fn jetstream_refused(place: &str, answer: &ServerError) -> Error {
    let error = Error::new(Code::BrokerDown, format!("{place} refuses JetStream"));
    let error = error.why(answer.to_string());
    if answer.code() == 503 { error } else { error.retry(Retry::Never) }
}

/// A credentials file holds something else, or can't be read any more.
pub(super) fn credentials(place: &str, path: &Path) -> Error {
    let why = format!("`credentials` {} is no file of a user's JWT and key", path.display());
    Error::new(Code::BrokerDown, format!("{place} can't be reached"))
        .why(why)
        .fix("name a user's .creds file")
        .retry(Retry::Never)
}

/// The connection was lost, or was not there in time.
pub(super) fn lost(place: &str) -> Error {
    Error::new(Code::BrokerDown, format!("{place} did not answer in time"))
}

/// There is no such queue.
pub(super) fn missing(place: &str, queue: &str) -> Error {
    Error::new(Code::BrokerQueue, format!("{place} has no queue `{queue}`"))
        .fix("declare it, or correct its name")
}

/// The server answered a question about `queue` with an error.
pub(super) fn queue(place: &str, queue: &str, answer: &ServerError) -> Error {
    // No leader, or no room: it may be otherwise later.
    if answer.code() == 503 {
        return Error::new(
            Code::BrokerDown,
            format!("{place} can't serve the queue `{queue}` now"),
        )
        .why(answer.to_string());
    }
    Error::new(Code::BrokerQueue, format!("{place} refuses the queue `{queue}`"))
        .why(answer.to_string())
}

/// A message was not taken.
pub(super) fn refused(what: String) -> Error {
    Error::new(Code::BrokerRefused, what)
}
