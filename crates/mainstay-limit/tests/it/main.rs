//! Rate limits against serial oracles, from many threads, and on Redis.

mod allocations;
mod bounds;
mod oracle;
mod redis;
mod threads;
