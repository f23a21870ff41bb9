//! Rows that are on a shard where the map does not have them: written by a client with another map, left behind by a move,
//! or not brought along. It changes nothing.

use std::collections::BTreeMap;

use mainstay_core::Result;
use serde::Serialize;

use super::dialect::Dialect;
use super::journal::{Move, State};
use super::look;
use super::mover::Mover;
use super::side::Side;
use super::table::Pk;
use super::which::{Which, with_key};
use crate::shard::map::Map;
use crate::shard::map::routes::Routes;

/// Of the rows of one kind, so many are looked for where they should be.
const LOOKED_FOR: usize = 1000;
/// Keys that are told.
const NAMED: usize = 3;

/// Rows of one logical shard, in one table of one shard, that do not belong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Strays {
    /// The shard that they are on.
    pub shard: String,
    /// The table.
    pub table: String,
    /// Their logical shard; none where the map has no place for their key, or they have none.
    pub logical: Option<u16>,
    /// The shard that the map has them on.
    pub home: Option<String>,
    /// How many there are.
    pub rows: u64,
    /// Of the first 1,000 of them, those that are on the other shard as well: left behind. The others are here alone.
    pub there_too: u64,
    /// Some primary keys.
    pub keys: Vec<String>,
    /// Whether an open move accounts for them: they are being copied, or kept until it is finished.
    pub of_a_move: bool,
}

impl Mover {
    /// Goes through all rows of the tables on all shards, at the mover's [rate](Self::rate), and tells of those that the map
    /// has elsewhere. What is written while it looks may be told of wrongly; a second look tells.
    ///
    /// Cancel safe. Errors: ROUTE-050 (SQLite, a table that is missing), those of the databases.
    pub async fn strays(&self) -> Result<Vec<Strays>> {
        let (map, _) = self.newest().await?;
        let moves = self.moves(false).await?;
        let names: Vec<String> = map.names().map(str::to_owned).collect();
        let mut out = Vec::new();
        for shard in &names {
            let mut side = self.side(&map, shard).await?;
            for table in 0..side.tables.len() {
                let found = self.look_through(&map, &mut side, table).await?;
                for ((logical, home), (rows, pks)) in found {
                    let mut there_too = 0;
                    if let Some(home) = &home {
                        let mut home = self.side(&map, home).await?;
                        there_too = home.present(table, &pks).await?;
                    }
                    out.push(Strays {
                        shard: shard.clone(),
                        table: side.tables[table].name.clone(),
                        of_a_move: moves.iter().any(|of| accounts(of, logical, shard)),
                        logical,
                        home,
                        rows,
                        there_too,
                        keys: pks.iter().take(NAMED).map(|pk| pk.join(" ")).collect(),
                    });
                }
            }
        }
        Ok(out)
    }

    async fn side(&self, map: &Map, shard: &str) -> Result<Side> {
        let db = self.shards.shard(shard)?;
        let d = Dialect::of(&db)?;
        let tables = look::tables(&db, d, shard, &self.tables).await?;
        // Nothing is deleted: any will do.
        Side::open(shard, db, "0", tables, &Which::new(map, 0)).await
    }

    async fn look_through(&self, map: &Map, side: &mut Side, table: usize) -> Result<Found> {
        let (routes, names) = (Routes::new(map), map.names().collect::<Vec<_>>());
        let mut found = Found::new();
        let Some(end) = side.last(table).await? else { return Ok(found) };
        let integer = side.tables[table].has_integer_key();
        let mut cursor: Option<Pk> = None;
        loop {
            let began = self.clock.now();
            let seen = side.scan(table, cursor.as_ref(), Some(&end), self.chunk).await?;
            let all = seen.len();
            cursor = seen.last().map(|row| row.pk.clone());
            for row in seen {
                let logical = with_key(&row.key, integer, |key| routes.logical_of(key).ok());
                let home =
                    logical.and_then(|logical| names.get(routes.shard_at(logical)?).copied());
                if home == Some(side.name.as_str()) {
                    continue;
                }
                let (rows, pks) = found.entry((logical, home.map(str::to_owned))).or_default();
                *rows += 1;
                if pks.len() < LOOKED_FOR {
                    pks.push(row.pk);
                }
            }
            let least = std::time::Duration::from_secs_f64(all as f64 / f64::from(self.rate));
            self.clock.sleep_until(began + least).await;
            if all < self.chunk {
                return Ok(found);
            }
        }
    }
}

/// By logical shard and the shard that the map has it on: how many, and the first.
type Found = BTreeMap<(Option<u16>, Option<String>), (u64, Vec<Pk>)>;

/// Whether a move has rows of the logical shard on that shard.
fn accounts(of: &Move, logical: Option<u16>, shard: &str) -> bool {
    let on = if of.state == State::Done { &of.from } else { &of.to };
    Some(of.logical) == logical && on == shard
}
