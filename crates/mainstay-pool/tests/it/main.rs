//! The pool through its public interface, over a manager that records what happens to it.

mod cancel;
mod close;
mod connect;
mod fake;
mod order;
mod upkeep;
