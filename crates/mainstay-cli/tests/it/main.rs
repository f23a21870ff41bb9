//! The command on real databases, and what it prints.

#![allow(missing_docs, reason = "a test binary has no readers outside")]

mod command;
mod jobs;
mod lab;
mod migrate;
