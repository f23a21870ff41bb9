//! What there is: the map, the moves, and the rows that are elsewhere.

use mainstay_core::{Code, Error, Result};
use mainstay_route::Databases;
use mainstay_route::shard::moves::{Move, Mover, Strays};
use serde_json::json;

use super::{json, tables};
use crate::jobs::print::table;

pub(super) async fn status(databases: &Databases, mover: &Mover, as_json: bool) -> Result<()> {
    let (map, moves) = (databases.shards().map(), mover.moves(false).await?);
    let names: Vec<String> = map.names().map(str::to_owned).collect();
    let slots = |name: &str| (4096..8192).filter(|n| map.owner(*n) == Some(name)).count();
    let spare: Vec<&str> =
        databases.names().into_iter().skip(1).filter(|name| map.shard(name).is_none()).collect();
    if as_json {
        let shard = |name: &String| {
            json!({ "name": name, "logical": map.logical_count(name), "slots": slots(name),
                "region": map.shard(name).and_then(|s| s.region.clone()) })
        };
        let shards: Vec<_> = names.iter().map(shard).collect();
        return json(
            &json!({ "epoch": map.epoch(), "shards": shards, "not_in_the_map": spare, "moves": moves }),
        );
    }
    println!("map of epoch {}", map.epoch());
    tell_shards(databases, &names, &spare, slots)?;
    tell_moves(&moves);
    Ok(())
}

/// Those of the map, and those that are configured alone.
fn tell_shards(
    databases: &Databases,
    names: &[String],
    spare: &[&str],
    slots: impl Fn(&str) -> usize,
) -> Result<()> {
    let map = databases.shards().map();
    let mut rows = Vec::new();
    for name in names {
        let place = databases.shards().shard(name)?.place();
        let region = map.shard(name).and_then(|s| s.region.clone()).unwrap_or_default();
        rows.push(vec![
            name.clone(),
            map.logical_count(name).to_string(),
            slots(name).to_string(),
            region,
            place,
        ]);
    }
    for name in spare {
        let place = databases.primary(name)?.place();
        let row = [*name, "-", "-", "not in the map", place.as_str()];
        rows.push(row.map(str::to_owned).to_vec());
    }
    print!("{}", table(&["shard", "logical", "slots", "region", "place"], &rows));
    Ok(())
}

fn tell_moves(moves: &[Move]) {
    if moves.is_empty() {
        println!("\nno moves are open");
        return;
    }
    let row = |of: &Move| {
        vec![
            of.logical.to_string(),
            of.from.clone(),
            of.to.clone(),
            of.state.name().to_owned(),
            of.rows.to_string(),
        ]
    };
    println!();
    print!(
        "{}",
        table(
            &["moves", "from", "to", "state", "rows"],
            &moves.iter().map(row).collect::<Vec<_>>()
        )
    );
}

/// Errors: CFG-003 where no tables are named; ROUTE-051 where there are such rows that no move accounts for.
pub(super) async fn verify(databases: &Databases, mover: &Mover, as_json: bool) -> Result<()> {
    let count = tables(databases)?;
    let strays = mover.strays().await?;
    if as_json {
        json(&strays)?;
    } else if strays.is_empty() {
        println!("all rows of {count} tables are where the map has them");
    } else {
        let row = |s: &Strays| {
            let logical = s.logical.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let home = s.home.clone().unwrap_or_else(|| "nowhere".to_owned());
            let why = if s.of_a_move { "of an open move" } else { "" };
            vec![
                s.shard.clone(),
                s.table.clone(),
                logical,
                home,
                s.rows.to_string(),
                s.there_too.to_string(),
                s.keys.join(", "),
                why.to_owned(),
            ]
        };
        let head = ["on", "table", "logical", "belongs on", "rows", "there too", "such as", ""];
        print!("{}", table(&head, &strays.iter().map(row).collect::<Vec<_>>()));
    }
    let astray: u64 = strays.iter().filter(|s| !s.of_a_move).map(|s| s.rows).sum();
    if astray == 0 {
        return Ok(());
    }
    Err(Error::new(Code::MoveVerify, format!("{astray} rows are not where the map has them"))
        .why("a client with an old map wrote them, or a move left them behind; those not there too are here alone")
        .fix("delete those that are there too; bring the others over, then delete them"))
}
