//! `mainstay versions`: what `mainstay-http` knows of an API's versions. It compares and counts nothing
//! itself.

mod diff;
mod report;
mod source;

use clap::Subcommand;
use mainstay_core::{Code, Error, Result};
use serde::Serialize;

/// What to say of an API's versions.
#[derive(Debug, Subcommand)]
pub enum Versions {
    /// Lists what changed between two OpenAPI documents, what breaks clients first; fails if anything does
    Diff(diff::Call),
    /// Says who uses which version of which route, and since when
    Report(report::Call),
}

/// Runs what was asked for. Errors: APP-001 where something breaks, APP-003, HTTP-014, HTTP-030 to HTTP-037.
pub async fn run(call: Versions) -> Result<()> {
    match call {
        Versions::Diff(call) => diff::run(&call).await,
        Versions::Report(call) => report::run(&call).await,
    }
}

fn as_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Code::User, "it can't be written as JSON").cause(error))?;
    println!("{text}");
    Ok(())
}
