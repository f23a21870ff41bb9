//! The shop as its users meet it: the binary for what a person sees, the routes over real sockets
//! for what a program sees, on every engine.

mod cli;
mod client;
mod faults;
mod five;
mod load;
mod openapi;
mod routes;
mod services;
mod sharded;
