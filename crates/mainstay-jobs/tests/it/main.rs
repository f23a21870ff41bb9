//! Jobs and events on real databases and brokers: one suite, run on each.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod admin;
mod basics;
mod careful;
mod crash;
mod events;
mod faults;
mod keyed;
mod matrix;
mod nats;
mod rabbitmq;
mod redis;
mod saga;
mod streams;
mod support;
