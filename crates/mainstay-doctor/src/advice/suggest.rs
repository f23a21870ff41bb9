//! What was found, measured with all of it together, and put into words.

use std::collections::HashMap;

use mainstay_core::Result;
use mainstay_db::Engine;

use super::candidate::{bare, plain, same_key};
use super::ground::{Asked, Ground, lost};
use super::index::{Index, Key, Method, Term};
use super::said::{Change, Column, Served, Suggestion, WriteCost};
use super::search::{Found, HALF, Search};
use super::table::Table;
use super::workload::Query;

/// Bytes of an entry beside its columns: the header of a tuple and its pointer.
const ENTRY_BYTES: f64 = 16.0;
/// How full a page of an index is.
const FILL: f64 = 0.9;

/// A statement's figures, by its place in the workload.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    statements: HashMap<usize, Figures>,
}

#[derive(Clone, Debug)]
struct Figures {
    cost: Change,
    buffers: Option<Change>,
    /// Which of the indexes it uses.
    used: Vec<usize>,
}

impl Measured {
    /// What each statement costs with `all`, and which of them it uses.
    pub(crate) async fn costs(
        search: &mut Search<'_>,
        all: &[Index],
        found: &[Found],
        asked: &[Asked],
    ) -> Result<Self> {
        let mut measured = Self::default();
        let with_gin = |f: &Found| f.indexes.iter().any(|i| i.method == Method::Gin);
        let plain: Vec<Index> = all.iter().filter(|i| i.method != Method::Gin).cloned().collect();
        let place = |index: &Index| all.iter().position(|known| known.same(index));
        let mut before = HashMap::new();
        for asked in asked {
            if let Ok(seen) = search.before(asked).await {
                before.insert(asked.at, seen.cost);
            }
        }
        let refused = search.ground.set(&plain, search.tables).await?;
        let made: Vec<&Index> = plain
            .iter()
            .enumerate()
            .filter(|(at, _)| !refused.contains(at))
            .map(|(_, i)| i)
            .collect();
        for asked in asked {
            let own = found.iter().find(|f| f.asked == asked.at);
            if let Some(own) = own.filter(|f| with_gin(f)) {
                // HypoPG knows nothing of them: what the copy said counts.
                let used = own.indexes.iter().filter_map(place).collect();
                let cost = Change { before: own.before, after: own.after };
                measured.statements.insert(asked.at, Figures { cost, buffers: None, used });
                continue;
            }
            let Some(before) = before.get(&asked.at) else { continue };
            match search.ground.cost(asked).await {
                Ok(seen) => {
                    let used = seen.used.iter().filter_map(|at| place(made[*at])).collect();
                    let cost = Change { before: *before, after: seen.cost };
                    measured.statements.insert(asked.at, Figures { cost, buffers: None, used });
                }
                Err(error) if lost(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(measured)
    }

    /// The pages that statements read without `all` and with them, really built. Those of which less than half are
    /// spared count as not served.
    pub(crate) async fn buffers(
        &mut self,
        ground: &mut Ground,
        all: &[Index],
        tables: &[Table],
        asked: &[Asked],
    ) -> Result<()> {
        let served: Vec<&Asked> = asked
            .iter()
            .filter(|a| self.statements.get(&a.at).is_some_and(Figures::is_served))
            .collect();
        ground.set(&[], tables).await?;
        let mut before = HashMap::new();
        for asked in &served {
            if let Some(pages) = ground.buffers(asked).await? {
                before.insert(asked.at, pages);
            }
        }
        ground.set(all, tables).await?;
        for asked in &served {
            let (Some(before), Some(after)) =
                (before.get(&asked.at).copied(), ground.buffers(asked).await?)
            else {
                continue;
            };
            if let Some(figures) = self.statements.get_mut(&asked.at) {
                figures.buffers = Some(Change { before, after });
            }
        }
        Ok(())
    }
}

impl Figures {
    fn is_served(&self) -> bool {
        let halved = |change: Change| change.after <= change.before * HALF;
        !self.used.is_empty() && halved(self.cost) && self.buffers.is_none_or(halved)
    }
}

/// The indexes that serve something, in words.
pub(crate) fn suggestions(
    all: &[Index],
    measured: &Measured,
    tables: &[Table],
    queries: &[Query],
    engine: Engine,
    by: &str,
) -> Vec<Suggestion> {
    let mut out: Vec<Suggestion> = Vec::new();
    for (at, index) in all.iter().enumerate() {
        let mut serves: Vec<Served> = measured
            .statements
            .iter()
            .filter(|(_, figures)| figures.used.contains(&at) && figures.is_served())
            .map(|(statement, figures)| Served {
                statement: statement + 1,
                line: queries[*statement].line,
                sql: queries[*statement].sql.clone(),
                cost: figures.cost,
                buffers: figures.buffers,
            })
            .collect();
        if serves.is_empty() {
            continue;
        }
        serves.sort_by_key(|served| served.statement);
        let table = &tables[index.table];
        let taken = |name: &str, out: &[Suggestion]| {
            table.indexes.iter().any(|i| i.name == name) || out.iter().any(|s| s.name == name)
        };
        let base = index.name(table);
        let mut name = base.clone();
        let mut number = 2;
        while taken(&name, &out) {
            name = format!("{base}_{number}");
            number += 1;
        }
        out.push(suggestion(index, name, table, serves, engine, by));
    }
    out
}

fn suggestion(
    index: &Index,
    name: String,
    table: &Table,
    serves: Vec<Served>,
    engine: Engine,
    by: &str,
) -> Suggestion {
    let sum = |changes: &[Change]| Change {
        before: changes.iter().map(|c| c.before).sum(),
        after: changes.iter().map(|c| c.after).sum(),
    };
    let costs: Vec<Change> = serves.iter().map(|s| s.cost).collect();
    let buffers: Vec<Change> = serves.iter().filter_map(|s| s.buffers).collect();
    let verified_by = match (index.method, buffers.is_empty()) {
        (Method::Gin, _) => "a scratch copy",
        (Method::Btree, true) if by.starts_with("HypoPG") => "HypoPG",
        _ => by,
    };
    let expressions = index.keys.iter().filter_map(|key| match &key.term {
        Term::Expression { sql, .. } => Some(sql.clone()),
        Term::Column(_) => None,
    });
    Suggestion {
        schema: table.schema.clone(),
        table: table.name.clone(),
        columns: index.keys.iter().map(column).collect(),
        expressions: expressions.collect(),
        predicate: index.predicate.as_ref().map(|p| p.sql.clone()),
        included: index.include.clone(),
        method: index.method,
        cost: sum(&costs),
        buffers: (!buffers.is_empty()).then(|| sum(&buffers)),
        serves,
        verified_by: verified_by.to_owned(),
        write_cost: write_cost(index, table),
        wrong_order: wrong_order(index, table, engine),
        replaces: replaced(index, table, engine),
        ddl: index.ddl(&name, table, engine),
        name,
    }
}

fn column(key: &Key) -> Column {
    let (name, expression) = match &key.term {
        Term::Column(name) => (name.clone(), false),
        Term::Expression { sql, .. } => (sql.clone(), true),
    };
    let nulls = key.nulls_first.filter(|first| *first != key.descending);
    Column {
        name,
        direction: if key.descending { "desc" } else { "asc" },
        nulls: nulls.map(|first| if first { "first" } else { "last" }),
        operator_class: key.class,
        expression,
    }
}

fn write_cost(index: &Index, table: &Table) -> WriteCost {
    let keys = index.keys.iter().flat_map(|key| key.term.columns());
    let width: f64 = keys
        .chain(&index.include)
        .map(|name| table.column(name).map_or(16.0, |column| column.width))
        .sum();
    let part = index.predicate.as_ref().map_or(1.0, |predicate| {
        let columns = predicate.columns.iter().filter_map(|name| table.column(name));
        columns.map(part_of).fold(1.0, f64::min)
    });
    let days = table.writes.days.max(1.0);
    let written = table.writes.inserted + table.writes.updated - table.writes.hot;
    // An update that changes none of its columns stays free of it: how many do, nobody counts.
    let lost = table.writes.hot;
    WriteCost {
        bytes: (table.rows * part * (width + ENTRY_BYTES) / FILL) as u64,
        entries_per_day: written * part / days,
        hot_updates_lost_per_day: lost * part / days,
        indexes_there: table.indexes.len(),
    }
}

/// The part of the rows that a condition on the column keeps, at a guess: it was chosen for being small.
fn part_of(column: &super::table::Column) -> f64 {
    let rarest = column.common.iter().map(|(_, share)| *share).fold(0.3, f64::min);
    rarest.max(0.01)
}

/// Indexes on the same columns whose order is another.
fn wrong_order(index: &Index, table: &Table, engine: Engine) -> Vec<String> {
    let own: Vec<String> = index.keys.iter().map(|key| plain(&key.term, engine)).collect();
    let mut sorted = own.clone();
    sorted.sort();
    let same_columns = |keys: &[String]| {
        let mut keys: Vec<String> =
            keys.iter().map(|key| bare(key).trim_end_matches(" desc").to_owned()).collect();
        let other_order = keys != own;
        keys.sort();
        other_order && own.len() > 1 && keys == sorted
    };
    let existing = table.indexes.iter().filter(|i| i.btree && same_columns(&i.keys));
    existing.map(|i| i.name.clone()).collect()
}

/// Indexes that are the beginning of this one.
fn replaced(index: &Index, table: &Table, engine: Engine) -> Vec<String> {
    if index.predicate.is_some() || index.method != Method::Btree {
        return Vec::new();
    }
    let own: Vec<String> = index.keys.iter().map(|key| plain(&key.term, engine)).collect();
    let begins = |keys: &[String]| {
        keys.len() < own.len() && keys.iter().zip(&own).all(|(key, name)| same_key(name, key))
    };
    let existing = table.indexes.iter();
    let spare = existing.filter(|i| i.btree && !i.unique && !i.partial && begins(&i.keys));
    let names = spare.map(|i| i.name.clone());
    names.collect()
}
