//! The order of rows that came from several shards.

use std::cmp::Ordering;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::cell::{Cell, Keyed, comparable};
use super::plan::{By, Reader};

fn compare(a: &Cell, b: &Cell, by: &By) -> Ordering {
    let nulls = |first: bool| if first { Ordering::Less } else { Ordering::Greater };
    match (a, b) {
        (Cell::Null, Cell::Null) => Ordering::Equal,
        (Cell::Null, _) => nulls(by.nulls_first),
        (_, Cell::Null) => nulls(!by.nulls_first),
        _ => {
            let order = a.compare(b, by.collation);
            if by.descending { order.reverse() } else { order }
        }
    }
}

fn whole<T>(a: &T, b: &T, order: &[By], cell: impl for<'c> Fn(&'c T, &By) -> &'c Cell) -> Ordering {
    let mut each = order.iter().map(|by| compare(cell(a, by), cell(b, by), by));
    each.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Puts `rows` in order; equal ones stay as they are. Errors: ROUTE-028 (what can't be compared).
pub(crate) fn sort<T>(
    rows: &mut [T],
    order: &[By],
    engine: Engine,
    cell: impl for<'c> Fn(&'c T, &By) -> &'c Cell,
) -> Result<()> {
    for by in order {
        for row in rows.iter() {
            comparable(cell(row, by), by.collation, &by.what, Reader::like(engine))?;
        }
    }
    rows.sort_by(|a, b| whole(a, b, order, &cell));
    Ok(())
}

/// Merges what each shard gave in order, of equal rows those of the first shard first. Errors: ROUTE-028 where a shard has another
/// order than this, as by a collation that is a column's own: the first rows of it would not be the first of all.
pub(crate) fn merge<T>(
    shards: Vec<(String, Vec<Keyed<T>>)>,
    order: &[By],
    engine: Engine,
) -> Result<Vec<Keyed<T>>> {
    fn key<'c, T>(row: &'c Keyed<T>, by: &By) -> &'c Cell {
        &row.keys[by.at]
    }
    let mut all = Vec::with_capacity(shards.iter().map(|(_, rows)| rows.len()).sum());
    for (name, rows) in shards {
        let out_of_order = |pair: &[Keyed<T>]| match pair {
            [a, b] => whole(a, b, order, key).is_gt(),
            _ => false,
        };
        for by in order {
            for row in &rows {
                comparable(key(row, by), by.collation, &by.what, Reader::like(engine))?;
            }
        }
        if rows.windows(2).any(out_of_order) {
            let by: Vec<_> = order.iter().map(|by| by.what.as_str()).collect();
            return Err(Error::new(
                Code::ShardMerge,
                format!("the rows of the shard {name} are in another order"),
            )
            .why(format!("here: ORDER BY {}; texts are in the order of their bytes", by.join(", ")))
            .fix(format!("write the texts with {}", Reader::like(engine))));
        }
        all.extend(rows);
    }
    // It finds that these are runs in order, and merges them.
    all.sort_by(|a, b| whole(a, b, order, key));
    Ok(all)
}
