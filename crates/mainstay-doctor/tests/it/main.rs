//! The doctor against labelled traces and real databases.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod advice;
mod exam;
mod guides;
mod live;
mod planner;
mod strict;
mod support;
mod traces;
