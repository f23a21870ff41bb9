//! `mainstay doctor`.

mod exam;
mod replay;
