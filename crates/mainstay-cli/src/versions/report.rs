//! `mainstay versions report`: who uses which version of which route, of one process or of several
//! together.

use chrono::{DateTime, Utc};
use clap::Args;
use mainstay_core::{Code, Error, Result};
use mainstay_http::{UsageReport, Version};

use super::diff::plain;
use super::source;
use crate::jobs::print;

/// Which reports, and what of them.
#[derive(Debug, Args)]
pub struct Call {
    /// Reports as JSON, one of each replica: files, URLs, or - for standard input
    #[arg(value_name = "FILE|URL", required = true)]
    from: Vec<String>,
    /// Only what used this version
    #[arg(long = "version", value_name = "VERSION", value_parser = version)]
    only: Option<Version>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

fn version(text: &str) -> Result<Version, String> {
    text.parse().map_err(|_| format!("`{text}` is no version: write 2, or 2026-03-01"))
}

/// Errors: APP-003.
pub(super) async fn run(call: &Call) -> Result<()> {
    let mut all: Option<UsageReport> = None;
    for from in &call.from {
        let report: UsageReport = source::read(from).await?;
        match &mut all {
            Some(all) => all.absorb(&report),
            None => all = Some(report),
        }
    }
    let mut all = all.ok_or_else(|| Error::new(Code::Argument, "no report is named"))?;
    if let Some(only) = call.only {
        all.used.retain(|used| used.version == only);
    }
    if call.json {
        return super::as_json(&all);
    }
    println!("counted since {}", told(all.since_s));
    if all.used.is_empty() {
        match call.only {
            Some(only) => println!("nobody used version {only}"),
            None => println!("nobody used any version"),
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .used
        .iter()
        .map(|used| {
            vec![
                used.version.to_string(),
                plain(&used.client),
                plain(&used.route),
                used.requests.to_string(),
                used.refused.to_string(),
                told(used.first_s),
                told(used.last_s),
            ]
        })
        .collect();
    let head = ["version", "client", "route", "requests", "refused", "since", "last"];
    print!("{}", print::table(&head, &rows));
    Ok(())
}

fn told(at_s: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp(at_s, 0);
    at.map_or_else(|| "?".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}
