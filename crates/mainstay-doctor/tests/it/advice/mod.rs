//! Advice and plans on real servers.

mod advise;
mod bad;
mod judged;
mod labelled;
mod plans;
mod statements;
mod support;
