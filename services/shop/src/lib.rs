//! The reference system of Mainstay: what a service on it looks like.
//!
//! One module a resource; each handler takes the handle from the state, and what must happen
//! together happens in one transaction. Errors of any kind leave as RFC 9457 problems.

pub mod accounts;
pub mod config;
pub mod events;
pub mod extract;
pub mod health;
pub mod mail;
pub mod observed;
pub mod orders;
pub mod page;
pub mod problem;
pub mod products;
pub mod schema;
pub mod seed;
pub mod server;
pub mod users;
pub mod worker;
