//! Migrations against real databases: one suite, run on each engine.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod apply;
mod bad;
mod copy;
mod crash;
mod flyway;
mod lint;
mod liquibase;
mod online;
mod resume;
mod support;
mod takeover;
