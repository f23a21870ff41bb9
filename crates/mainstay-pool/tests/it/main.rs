//! The pool through its public interface, over a manager that records what happens to it.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod beside;
mod cancel;
mod close;
mod connect;
mod control;
mod events;
mod fake;
mod holders;
mod load;
mod order;
mod upkeep;
