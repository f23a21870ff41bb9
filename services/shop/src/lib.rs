//! The reference system of Mainstay: what a service on it looks like.
//!
//! One module a resource; each handler takes the handle from the state, and what must happen
//! together happens in one transaction. Errors of any kind leave as RFC 9457 problems. It runs in one process
//! or as five, [`part`] says which of them does what.

pub mod accounts;
pub mod analytics;
pub mod api;
pub mod best_sellers;
pub mod config;
pub mod events;
pub mod extract;
mod faults;
mod fresh;
pub mod health;
mod inventory;
mod limits;
pub mod login;
pub mod mail;
mod notifications;
pub mod observed;
pub mod orders;
pub mod page;
pub mod part;
mod payments;
pub mod peers;
pub mod products;
pub mod schema;
pub mod seed;
pub mod server;
pub mod state;
pub mod up;
pub mod users;
pub mod v1;
pub mod worker;
