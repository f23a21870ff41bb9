//! The command on real databases, and what it prints.

#![allow(missing_docs, reason = "a test binary has no readers outside")]

mod command;
mod doctor;
mod jobs;
mod lab;
mod lab_failures;
mod lab_indexes;
mod lab_routes;
mod migrate;
mod route;
mod shards;
mod versions;
