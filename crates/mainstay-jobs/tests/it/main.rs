//! Jobs and events on real databases and brokers: one suite, run on each.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod basics;
mod events;
mod keyed;
mod saga;
mod support;
