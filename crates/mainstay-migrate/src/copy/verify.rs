//! Reads both sides again and compares them, row for row by a hash over every value.

use std::collections::{HashMap, HashSet};

use mainstay_core::{Code, Error, Result};
use sha2::{Digest, Sha256};

use super::pair::{Pair, Which};
use super::read::{self, KeyPart, Read};
use super::side::Side;
use super::value::{Raw, text};

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

/// What both sides add up to. Errors: COPY-002 with the first row that differs.
pub(super) async fn same(
    source: &mut Side,
    target: &mut Side,
    pair: &Pair,
    rows: usize,
) -> Result<Sum> {
    let one = sum(source, pair, Which::Source, rows).await?;
    let other = sum(target, pair, Which::Target, rows).await?;
    if one == other {
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
    loop {
        let batch = read::batch(side, pair, which, after.as_deref(), rows).await?;
        let ends = batch.len() < rows;
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
        .map(|(_, (raw, joined))| match joined.way.cell(raw.clone()) {
            Ok(cell) => cell.map(|cell| cell.form().to_owned()),
            Err(_) => text(raw.clone()).map(|text| format!("unfit {text}")),
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
        let form = match joined.way.cell(row.get(*n)?.clone()) {
            Ok(cell) => cell.map(|cell| cell.text),
            Err(_) => text(row.get(*n)?.clone()),
        };
        Some(format!("{} = {}", joined.target.name, form.as_deref().unwrap_or("NULL")))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The key of the first row that is not the same on both sides, and what is wrong with it.
async fn first_difference(
    source: &mut Side,
    target: &mut Side,
    pair: &Pair,
    rows: usize,
) -> Result<Option<(String, &'static str)>> {
    let key_of = |row: &[Raw]| {
        let places = (!pair.key.is_empty()).then_some(pair.key.as_slice());
        hash_of(&forms(pair, row, places))
    };
    // Two numbers for each row, of the target first.
    let mut left: HashMap<u128, u128> = HashMap::new();
    each(target, pair, Which::Target, rows, |row| {
        left.insert(key_of(&row), hash(pair, &row));
    })
    .await?;
    let (mut first, mut number) = (None, 0);
    let mut seen: HashSet<u128> = HashSet::with_capacity(left.len());
    each(source, pair, Which::Source, rows, |row| {
        number += 1;
        let key = key_of(&row);
        seen.insert(key);
        let how = match left.get(&key) {
            Some(hash_there) if *hash_there == hash(pair, &row) => return,
            Some(_) => "the row is another in the target where",
            None => "the target lacks the row with",
        };
        first.get_or_insert_with(|| (named(pair, &row, number), how));
    })
    .await?;
    if first.is_some() {
        return Ok(first);
    }
    number = 0;
    each(target, pair, Which::Target, rows, |row| {
        number += 1;
        if !seen.contains(&key_of(&row)) {
            let how = "the target has a row too many, with";
            first.get_or_insert_with(|| (named(pair, &row, number), how));
        }
    })
    .await?;
    Ok(first)
}
