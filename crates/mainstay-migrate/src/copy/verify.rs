//! Reads both sides again and compares them, row for row by a hash over every value.

use std::cmp::Ordering;
use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};
use sha2::{Digest, Sha256};

use super::pair::{Pair, Which};
use super::read::{self, KeyPart, Read, Size};
use super::side::Side;
use super::value::{Raw, text, unfit};

/// All rows of a table in one number; their order does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    sum: u128,
}

impl Sum {
    pub(super) fn hex(self) -> String {
        format!("{:032x}", self.sum)
    }
}

/// What both sides add up to. Errors: COPY-002 with a row that differs.
pub(super) async fn same(
    source: &mut Side,
    target: &mut Side,
    pair: &Pair,
    rows: usize,
) -> Result<Sum> {
    let one = sum(source, pair, Which::Source, rows).await?;
    let other = sum(target, pair, Which::Target, rows).await?;
    if one == other {
        all_read(source, pair, Which::Source, one).await?;
        all_read(target, pair, Which::Target, other).await?;
        return Ok(one);
    }
    let first = first_difference(source, target, pair, rows).await?;
    let name = pair.name();
    let what = match first {
        Some((key, how)) => format!("{name} differs: {how} {key}"),
        None => format!("{name} differs, or did while it was read"),
    };
    let why = format!("the source has {} rows, the target has {}", one.rows, other.rows);
    Err(Error::new(Code::CopyDiffers, what).why(why))
}

/// Both sides may lack the same rows, where an order passes them over. Errors: COPY-002.
async fn all_read(side: &mut Side, pair: &Pair, which: Which, sum: Sum) -> Result<()> {
    let count = side.count(&pair.table(which).name).await?;
    if count == sum.rows {
        return Ok(());
    }
    let of = match which {
        Which::Source => "the source",
        Which::Target => "the target",
    };
    let what = format!("{} was not read as a whole: {of} has {count} rows", pair.name());
    let why = format!(
        "{} of them were gone through: rows were written meanwhile, or its key's order is no order",
        sum.rows
    );
    Err(Error::new(Code::CopyDiffers, what).why(why))
}

async fn sum(side: &mut Side, pair: &Pair, which: Which, rows: usize) -> Result<Sum> {
    let mut sum = Sum::default();
    each(side, pair, which, rows, |row| {
        sum.rows += 1;
        sum.sum = sum.sum.wrapping_add(hash(pair, &row));
    })
    .await?;
    Ok(sum)
}

/// Hands each row to `on`, in the order of the side's own key.
async fn each(
    side: &mut Side,
    pair: &Pair,
    which: Which,
    rows: usize,
    mut on: impl FnMut(Vec<Raw>) + Send,
) -> Result<()> {
    let mut after: Option<Vec<KeyPart>> = None;
    let mut size = Size::new(rows);
    loop {
        let batch = read::batch(side, pair, which, after.as_deref(), size.rows).await?;
        let ends = batch.len() < size.rows;
        size.learn(&batch);
        for Read { values, key } in batch {
            after = (!key.is_empty()).then_some(key);
            on(values);
        }
        if ends || after.is_none() {
            return Ok(());
        }
    }
}

/// Over the forms of all values, each with its length before it.
fn hash(pair: &Pair, row: &[Raw]) -> u128 {
    hash_of(&forms(pair, row, None))
}

fn hash_of(forms: &[Option<String>]) -> u128 {
    let mut hash = Sha256::new();
    for form in forms {
        match form {
            None => hash.update([0_u8]),
            Some(form) => {
                hash.update([1_u8]);
                hash.update((form.len() as u64).to_le_bytes());
                hash.update(form);
            }
        }
    }
    let bytes = hash.finalize();
    bytes.iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

/// The forms of the values, of `places` alone if they are named. What fits no column is compared by its
/// own text.
fn forms(pair: &Pair, row: &[Raw], places: Option<&[usize]>) -> Vec<Option<String>> {
    let all = row.iter().zip(&pair.columns).enumerate();
    let wanted = all.filter(|(n, _)| places.is_none_or(|places| places.contains(n)));
    wanted
        .map(|(_, (raw, joined))| match joined.way.seen(raw.clone()) {
            Ok(cell) => cell.map(|cell| cell.form().to_owned()),
            Err(_) => unfit(raw.clone()),
        })
        .collect()
}

/// The row as messages name it: by its key, or else by its number.
pub(super) fn named(pair: &Pair, row: &[Raw], number: u64) -> String {
    if pair.key.is_empty() {
        return format!("row {number}");
    }
    let parts = pair.key.iter().filter_map(|n| {
        let joined = pair.columns.get(*n)?;
        let form = match joined.way.seen(row.get(*n)?.clone()) {
            Ok(cell) => cell.map(|cell| cell.text),
            Err(_) => text(row.get(*n)?.clone()),
        };
        Some(format!("{} = {}", joined.target.name, form.as_deref().unwrap_or("NULL")))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The rows are told apart by their keys' hashes in so many parts, so that those of one part are all that
/// is held at once.
const PARTS: u128 = 1024;

/// What one key has on both sides.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The target's rows less the source's: nothing where they are the same.
    left: u128,
    target: u64,
    source: u64,
}

fn key_of(pair: &Pair, row: &[Raw]) -> u128 {
    let places = (!pair.key.is_empty()).then_some(pair.key.as_slice());
    hash_of(&forms(pair, row, places))
}

fn part_of(key: u128) -> usize {
    (key % PARTS) as usize
}

/// The key of a row that is not the same on both sides, the first of its part, and what is wrong with it.
async fn first_difference(
    source: &mut Side,
    target: &mut Side,
    pair: &Pair,
    rows: usize,
) -> Result<Option<(String, &'static str)>> {
    let mine = parts(source, pair, Which::Source, rows).await?;
    let theirs = parts(target, pair, Which::Target, rows).await?;
    let differs = mine.iter().zip(&theirs).position(|(mine, theirs)| mine != theirs);
    let Some(part) = differs else { return Ok(None) };
    let mut seen: HashMap<u128, Seen> = HashMap::new();
    each(target, pair, Which::Target, rows, |row| {
        let key = key_of(pair, &row);
        if part_of(key) == part {
            let seen = seen.entry(key).or_default();
            seen.left = seen.left.wrapping_add(hash(pair, &row));
            seen.target += 1;
        }
    })
    .await?;
    each(source, pair, Which::Source, rows, |row| {
        let key = key_of(pair, &row);
        if part_of(key) == part {
            let seen = seen.entry(key).or_default();
            seen.left = seen.left.wrapping_sub(hash(pair, &row));
            seen.source += 1;
        }
    })
    .await?;
    seen.retain(|_, seen| seen.left != 0 || seen.source != seen.target);
    let first = first_of(source, pair, Which::Source, rows, &seen).await?;
    match first {
        Some(first) => Ok(Some(first)),
        None => first_of(target, pair, Which::Target, rows, &seen).await,
    }
}

/// What the rows of each part add up to.
async fn parts(side: &mut Side, pair: &Pair, which: Which, rows: usize) -> Result<Vec<u128>> {
    let mut parts = vec![0_u128; PARTS as usize];
    each(side, pair, which, rows, |row| {
        if let Some(part) = parts.get_mut(part_of(key_of(pair, &row))) {
            *part = part.wrapping_add(hash(pair, &row));
        }
    })
    .await?;
    Ok(parts)
}

/// The first row of `side` that is among the keys that differ.
async fn first_of(
    side: &mut Side,
    pair: &Pair,
    which: Which,
    rows: usize,
    differing: &HashMap<u128, Seen>,
) -> Result<Option<(String, &'static str)>> {
    let (mut first, mut number) = (None, 0);
    each(side, pair, which, rows, |row| {
        number += 1;
        if first.is_some() {
            return;
        }
        let Some(seen) = differing.get(&key_of(pair, &row)) else { return };
        let how = match seen.source.cmp(&seen.target) {
            Ordering::Greater => "the target lacks the row with",
            Ordering::Equal => "the row is another in the target where",
            Ordering::Less => "the target has a row too many, with",
        };
        first = Some((named(pair, &row, number), how));
    })
    .await?;
    Ok(first)
}
