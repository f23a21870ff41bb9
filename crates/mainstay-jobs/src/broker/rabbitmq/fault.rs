//! What lapin's errors mean to a caller. It repeats the broker's words, which name queues and users,
//! never a message or a password.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use mainstay_core::{Code, Error, Retry};

use super::url::Target;

/// A connection could not be made.
pub(super) fn down(target: &Target, error: &lapin::Error) -> Error {
    let place = &target.place;
    let told = Error::new(Code::BrokerDown, format!("{place} can't be reached")).why(words(error));
    match refusal(error) {
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => {
            Error::new(Code::BrokerDown, format!("{place} refuses the user"))
                .why(words(error))
                .fix("correct the user and the password in the URL")
                .retry(Retry::Never)
        }
        Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => {
            Error::new(Code::BrokerDown, format!("{place} refuses the virtual host"))
                .why(words(error))
                .fix("create the virtual host and let the user in, or correct the URL")
                .retry(Retry::Never)
        }
        _ if words(error).contains("certificate") => told.fix(
            "trust whoever issued it with `?cacertfile=PATH`, and use the host it was issued for",
        ),
        _ => told,
    }
}

/// A question about `queue` was answered with an error.
pub(super) fn queue(place: &str, queue: &str, error: &lapin::Error) -> Error {
    let wrong = |what: String| Error::new(Code::BrokerQueue, what).why(words(error));
    match refusal(error) {
        // Its node is away: it comes back.
        Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
            if !words(error).contains("inaccessible") =>
        {
            wrong(format!("{place} has no queue `{queue}`")).fix("create it, or correct its name")
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)) => {
            wrong(format!("the queue `{queue}` of {place} has other properties"))
                .fix("remove it there, use another name, or mark it as foreign")
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)) => {
            wrong(format!("the queue `{queue}` of {place} belongs to another connection alone"))
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => {
            wrong(format!("{place} does not let this user use the queue `{queue}`"))
                .fix("give the user the permissions configure, write and read on it")
        }
        _ => lost(place).why(words(error)),
    }
}

/// The connection was lost, or was not there in time.
pub(super) fn lost(place: &str) -> Error {
    Error::new(Code::BrokerDown, format!("{place} did not answer in time"))
}

/// Whether the broker refused it for good, the connection being well.
pub(super) fn is_refusal(error: &lapin::Error) -> bool {
    matches!(refusal(error), Some(AMQPErrorKind::Soft(_)))
}

/// In the broker's words.
pub(super) fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

fn refusal(error: &lapin::Error) -> Option<AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind().clone()),
        _ => None,
    }
}
