//! Idempotency keys: one effect for each, whatever happens to the requests, their clients and the process.

mod crash;
mod edge;
mod shop;
mod suite;
