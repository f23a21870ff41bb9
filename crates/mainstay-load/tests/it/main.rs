//! Loading rows by keys, on every engine.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod rows;
mod support;
