//! The way to a Redis server, which caches, sessions and leaderboards share. It knows none of them.

mod link;
mod url;

pub(crate) use link::{ATTEMPT, Again, Link, PAUSE_MAX};
