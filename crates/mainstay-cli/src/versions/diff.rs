//! `mainstay versions diff`: what changed between two OpenAPI documents, and what of it breaks clients.

use clap::Args;
use console::style;
use mainstay_core::{Code, Error, Result};
use mainstay_http::openapi::{Differences, diff};
use serde_json::{Value, json};

use super::source;

/// Which documents.
#[derive(Debug, Args)]
pub struct Call {
    /// The older document: a file or a URL of OpenAPI 3 as JSON
    #[arg(value_name = "OLD")]
    old: String,
    /// The newer document
    #[arg(value_name = "NEW")]
    new: String,
    /// Leaves out what breaks nothing
    #[arg(long)]
    breaking: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Errors: APP-001 where something breaks, APP-003, HTTP-014.
pub(super) async fn run(call: &Call) -> Result<()> {
    let (old, new): (Value, Value) =
        (source::read(&call.old).await?, source::read(&call.new).await?);
    let found = diff(&old, &new)
        .map_err(|error| error.note(format!("OLD is {}, NEW is {}", call.old, call.new)))?;
    let breaking = found.breaking().count();
    if call.json {
        let shown: Vec<_> =
            found.iter().filter(|difference| difference.breaking || !call.breaking).collect();
        super::as_json(&json!({ "breaking": breaking, "differences": shown }))?;
    } else {
        print!("{}", text(&found, call.breaking));
    }
    if breaking == 0 {
        return Ok(());
    }
    let s = if breaking == 1 { "" } else { "s" };
    let what = format!("{breaking} breaking change{s} from {} to {}", call.old, call.new);
    Err(Error::new(Code::User, what)
        .fix("make it a new version, and lift and lower what older ones send and get"))
}

/// A heading for each operation, what breaks first.
fn text(found: &Differences, breaking_alone: bool) -> String {
    let mut out = String::new();
    for breaking in [true, false] {
        if !breaking && breaking_alone {
            continue;
        }
        let mut operation = None;
        for difference in found.iter().filter(|difference| difference.breaking == breaking) {
            if operation.is_none() {
                let title =
                    if breaking { style("breaking").red() } else { style("compatible").green() };
                out += &format!("{}\n", title.bold());
            }
            if operation != Some(&difference.operation) {
                operation = Some(&difference.operation);
                out += &format!("  {}\n", plain(&difference.operation));
            }
            let between = if difference.place.is_empty() { "" } else { ": " };
            let (place, what) = (plain(&difference.place), plain(&difference.what));
            let kind = style(format!("({})", difference.kind)).dim();
            out += &format!("    {place}{between}{what} {kind}\n");
        }
    }
    if out.is_empty() {
        out += "nothing breaks, and nothing else changed\n";
        if breaking_alone {
            "nothing breaks\n".clone_into(&mut out);
        }
    }
    out
}

/// A document may come from anywhere, and this goes to a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
