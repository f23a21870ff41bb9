//! Locks: of rows (`FOR UPDATE`), by a version column, and by name.

mod advisory;
mod files;
mod rows;
mod versioned;

pub use advisory::{AdvisoryLock, LockRequest};
pub(crate) use files::{LocalNames, Named};
pub(crate) use rows::RowLock;
pub use versioned::{Conflict, Versioned};
