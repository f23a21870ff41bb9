//! The layers around real axum routers: what a caller sees, and what a handler does.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

#[cfg(feature = "client")]
mod backend;
mod body;
mod client;
mod cors;
mod headers;
mod idempotency;
mod keys;
mod limit;
mod openapi;
mod openapi_diff;
mod problem;
mod scope;
#[cfg(feature = "client")]
mod service;
#[cfg(feature = "client")]
mod service_load;
#[cfg(feature = "client-tls")]
mod service_tls;
mod shed;
mod support;
mod version;
mod version_brownout;
mod version_changes;
mod version_cost;
mod version_life;
mod version_rfc;
mod version_start;
mod version_usage;
