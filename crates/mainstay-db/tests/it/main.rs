//! The handle against real databases: one suite, run on each engine.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod bulk;
mod cancel;
mod connect;
mod errors;
mod executor;
mod listen;
mod network;
mod observe;
mod pooling;
mod session;
mod stream;
mod support;
mod transactions;
mod tx;
mod types;
