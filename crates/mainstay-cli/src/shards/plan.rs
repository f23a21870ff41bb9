//! What a change of the map would move.

use std::collections::BTreeMap;

use clap::Args;
use mainstay_core::Result;
use mainstay_route::Databases;
use serde_json::json;

use super::json;
use crate::jobs::print::table;

/// A shard more, or one less.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Plan {
    /// One more shard of this name
    #[arg(long, value_name = "SHARD")]
    with: Option<String>,
    /// Without this shard
    #[arg(long, value_name = "SHARD")]
    without: Option<String>,
}

/// Errors: ROUTE-021, ROUTE-023.
pub(super) fn run(plan: &Plan, databases: &Databases, as_json: bool) -> Result<()> {
    let map = databases.shards().map();
    let other = match (&plan.with, &plan.without) {
        (Some(name), _) => map.with(name)?,
        (_, Some(name)) => map.without(name)?,
        _ => map.clone(),
    };
    let moves = map.moves_to(&other);
    let mut groups: BTreeMap<(&str, &str), Vec<u16>> = BTreeMap::new();
    for (logical, from, to) in &moves {
        groups.entry((from, to)).or_default().push(*logical);
    }
    if as_json {
        let group = |((from, to), logical): (&(&str, &str), &Vec<u16>)| json!({ "from": from, "to": to, "logical": logical });
        return json(
            &json!({ "epoch": map.epoch(), "moves": groups.iter().map(group).collect::<Vec<_>>() }),
        );
    }
    if moves.is_empty() {
        println!("nothing moves");
        return Ok(());
    }
    let row = |((from, to), logical): (&(&str, &str), &Vec<u16>)| {
        vec![(*from).to_owned(), (*to).to_owned(), logical.len().to_string(), ranges(logical)]
    };
    print!(
        "{}",
        table(&["from", "to", "logical", "which"], &groups.iter().map(row).collect::<Vec<_>>())
    );
    println!(
        "\n{} of 4096 logical shards move: mainstay shards move N --to SHARD, for each",
        moves.len()
    );
    Ok(())
}

/// Numbers in order, as ranges; the first few.
fn ranges(all: &[u16]) -> String {
    const SHOWN: usize = 4;
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for n in all {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *n => *last = *n,
            _ => ranges.push((*n, *n)),
        }
    }
    let one = |(a, b): &(u16, u16)| if a == b { a.to_string() } else { format!("{a} to {b}") };
    let mut shown: Vec<String> = ranges.iter().take(SHOWN).map(one).collect();
    if ranges.len() > SHOWN {
        shown.push("...".to_owned());
    }
    shown.join(", ")
}
