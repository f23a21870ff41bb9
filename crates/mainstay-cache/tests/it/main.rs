//! Caches on every store: one suite, run on each; and what happens when a store fails.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod board;
mod cache;
mod faults;
mod session;
mod support;
