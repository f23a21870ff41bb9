//! The indexes that might serve a statement: equality, then sort, then the first range; parts of tables, covering,
//! expressions, and GIN.
//!
//! More are made than are any good: the planner chooses among them, and `search` takes the smallest that does as well.

use mainstay_db::Engine;

use super::facts::{Access, Facts, How, Test};
use super::index::{Index, Key, Method, Predicate, Term};
use super::table::Table;

/// Candidates of one mention of a table.
const EACH_MAX: usize = 40;
/// The part of a table that an index may be for, at most.
const PART_MAX: f64 = 0.25;
/// Values that a column may have for its value to be a state of the row, and not its identity.
const STATES_MAX: f64 = 24.0;
/// A test that keeps more than this is none that an index helps with.
const SHARE_MAX: f64 = 0.6;
/// Columns, and bytes of them, that an index may hold beside its key.
const INCLUDE_MAX: usize = 3;
const INCLUDE_BYTES_MAX: f64 = 64.0;
/// Pages that an index-only scan needs not look at, of all.
const VISIBLE_MIN: f64 = 0.5;

/// What may be made on an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    pub(crate) engine: Engine,
    pub(crate) partial: bool,
    pub(crate) include: bool,
    pub(crate) trigrams: bool,
    pub(crate) descending: bool,
    /// Whether texts are compared byte by byte, so that a common index finds beginnings.
    pub(crate) bytewise: bool,
}

/// The candidates for all that a statement asks.
pub(crate) fn candidates(facts: &Facts, tables: &[Table], able: Abilities) -> Vec<Index> {
    let mut out: Vec<Index> = Vec::new();
    for access in &facts.accesses {
        let table = &tables[access.table];
        if !table.plain || table.is_small() {
            continue;
        }
        let mut own = Maker { access, table, able, out: Vec::new() };
        own.all();
        for index in own.out.into_iter().take(EACH_MAX) {
            if !out.iter().any(|known| known.same(&index)) && !exists(&index, table, able.engine) {
                out.push(index);
            }
        }
    }
    out
}

struct Maker<'a> {
    access: &'a Access,
    table: &'a Table,
    able: Abilities,
    out: Vec<Index>,
}

impl Maker<'_> {
    fn all(&mut self) {
        self.inside();
        let equal = self.equal(self.access);
        self.family(&equal, self.access, None);
        for (at, part) in self.parts() {
            let rest: Vec<Test> =
                equal.iter().filter(|test| **test != self.access.tests[at]).cloned().collect();
            self.family(&rest, self.access, Some((at, part)));
        }
        for arm in &self.access.arms {
            let equal = self.equal(arm);
            self.family(&equal, arm, None);
            self.inside_of(arm);
        }
        self.joined(&equal);
        self.covering();
    }

    /// What is compared by =, the most telling first, without what tells next to nothing.
    fn equal(&self, access: &Access) -> Vec<Test> {
        let mut all: Vec<(f64, Test)> = Vec::new();
        for test in &access.tests {
            let by_value = matches!(test.how, How::Equal | How::Among | How::Null);
            let known = all.iter().any(|(_, other)| other.term == test.term);
            let share = self.share(test);
            if by_value && !known && share.is_none_or(|share| share <= SHARE_MAX) {
                all.push((share.unwrap_or(0.1), test.clone()));
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        // One of several values gives no order, so it comes after those of one.
        all.sort_by_key(|(_, test)| test.how == How::Among);
        all.into_iter().map(|(_, test)| test).collect()
    }

    /// The share of the rows that a test keeps, as far as it is known.
    fn share(&self, test: &Test) -> Option<f64> {
        let Term::Column(name) = &test.term else { return None };
        let column = self.table.column(name)?;
        match (test.how, &test.value) {
            (How::Null, _) => Some(column.nulls),
            (How::NotNull, _) => Some(1.0 - column.nulls),
            (How::Equal, Some(value)) => column.share(value),
            (How::NotEqual, Some(value)) => {
                column.share(value).map(|share| (1.0 - share - column.nulls).max(0.0))
            }
            (How::Equal, None) => column.distinct.filter(|n| *n >= 1.0).map(|n| 1.0 / n),
            _ => None,
        }
    }

    /// Tests that are always the same and keep few rows: an index may be of those rows alone.
    fn parts(&self) -> Vec<(usize, Predicate)> {
        if !self.able.partial {
            return Vec::new();
        }
        let tests = self.access.tests.iter().enumerate();
        let good = |test: &Test| {
            let Term::Column(name) = &test.term else { return None };
            let column = self.table.column(name)?;
            let state = match test.how {
                How::Null | How::NotNull => true,
                How::Equal | How::NotEqual => column.distinct.is_some_and(|n| n <= STATES_MAX),
                _ => false,
            };
            let few = self.share(test).is_some_and(|share| share <= PART_MAX);
            test.constant.clone().filter(|_| state && few)
        };
        // Of several states the rarest.
        let rarest = tests.filter_map(|(at, test)| Some((self.share(test)?, at, good(test)?)));
        let rarest = rarest.min_by(|a, b| a.0.total_cmp(&b.0));
        rarest.map(|(_, at, part)| (at, part)).into_iter().collect()
    }

    /// The keys by equality, sort and range, and what is left of them.
    fn family(&mut self, equal: &[Test], access: &Access, part: Option<(usize, Predicate)>) {
        let one: Vec<Key> = equal.iter().filter(|t| t.how != How::Among).map(key).collect();
        let all: Vec<Key> = equal.iter().map(key).collect();
        let part_test = part.as_ref().map(|(at, _)| &access.tests[*at]);
        let ranges: Vec<Key> = access
            .tests
            .iter()
            .filter(|t| matches!(t.how, How::Range | How::Prefix) && Some(*t) != part_test)
            .map(|t| self.ranged(t))
            .collect();
        let sort = self.sorted(access, &one);
        let part = part.map(|(at, predicate)| (predicate, access.tests[at].term.clone()));
        let mut add = |keys: Vec<Key>, equal: usize| self.add(keys, equal, part.as_ref());
        add(all.clone(), all.len());
        add(one.clone(), one.len());
        if !sort.is_empty() {
            add([&one[..], &sort].concat(), one.len());
            for range in &ranges {
                add([&one[..], &sort, std::slice::from_ref(range)].concat(), one.len());
            }
            add(sort.clone(), 0);
        }
        for range in &ranges {
            add([&all[..], std::slice::from_ref(range)].concat(), all.len());
            add([&one[..], std::slice::from_ref(range)].concat(), one.len());
            for single in &all {
                add(vec![single.clone(), range.clone()], 1);
            }
            add(vec![range.clone()], 0);
        }
        for (at, single) in all.iter().enumerate() {
            add(vec![single.clone()], 1);
            all[at + 1..].iter().for_each(|next| add(vec![single.clone(), next.clone()], 2));
        }
        add(Vec::new(), 0);
    }

    /// What is sorted by after what is the same in all rows; nothing where no order is gained.
    fn sorted(&self, access: &Access, equal: &[Key]) -> Vec<Key> {
        let fixed = |key: &&Key| !equal.iter().any(|e| e.term == key.term);
        let mut sort: Vec<Key> = access.sort.iter().filter(fixed).cloned().collect();
        if equal.is_empty() && !access.limited {
            return Vec::new();
        }
        if !self.able.descending {
            for key in &mut sort {
                key.descending = false;
            }
        }
        sort
    }

    fn ranged(&self, test: &Test) -> Key {
        let postgres = self.able.engine == Engine::Postgres;
        let class = (test.how == How::Prefix && postgres && !self.able.bytewise)
            .then_some("text_pattern_ops");
        Key { class, ..Key::of(test.term.clone()) }
    }

    fn joined(&mut self, equal: &[Test]) {
        let keys: Vec<Key> = equal.iter().map(key).collect();
        let ranges: Vec<Key> = self
            .access
            .tests
            .iter()
            .filter(|t| t.how == How::Range)
            .map(|t| self.ranged(t))
            .collect();
        let joins: Vec<Key> = self.access.joins.iter().cloned().map(Key::of).collect();
        for join in &joins {
            let only = vec![join.clone()];
            let sort = self.sorted(self.access, &only);
            self.add(only.clone(), 1, None);
            self.add([&only[..], &keys].concat(), 1 + keys.len(), None);
            self.add([&keys[..], &only].concat(), 1 + keys.len(), None);
            for range in &ranges {
                self.add(
                    [&only[..], &keys, std::slice::from_ref(range)].concat(),
                    1 + keys.len(),
                    None,
                );
            }
            if !sort.is_empty() {
                self.add([&only[..], &sort].concat(), 1, None);
            }
            for (at, part) in self.parts() {
                let tested = self.access.tests[at].term.clone();
                let rest: Vec<Key> = keys.iter().filter(|k| k.term != tested).cloned().collect();
                let all = [&only[..], &rest].concat();
                let count = all.len();
                self.add(all, count, Some(&(part, tested)));
            }
        }
        if joins.len() > 1 {
            let count = joins.len();
            self.add(joins, count, None);
        }
    }

    /// An index of a part is on something else than what all of its rows have in common, where there is anything.
    fn add(&mut self, keys: Vec<Key>, equal: usize, part: Option<&(Predicate, Term)>) {
        let mut seen: Vec<Key> = Vec::new();
        for key in keys {
            if !seen.iter().any(|known| known.term == key.term) {
                seen.push(key);
            }
        }
        let predicate = part.map(|(predicate, _)| predicate.clone());
        if let Some((_, term)) = part {
            seen.retain(|key| key.term != *term);
            if seen.is_empty() {
                seen.push(Key::of(term.clone()));
            }
        }
        if seen.is_empty() {
            return;
        }
        let equal = equal.min(seen.len());
        let index = Index { predicate, ..Index::btree(self.access.table, seen, equal) };
        if !self.out.iter().any(|known| known.same(&index)) {
            self.out.push(index);
        }
    }

    /// The best keys with what else is read, where that is little and most pages need not be looked at.
    fn covering(&mut self) {
        let Some(needed) = &self.access.needed else { return };
        if !self.able.include || self.table.visible < VISIBLE_MIN {
            return;
        }
        let mut covering = Vec::new();
        for index in self.out.iter().filter(|index| index.method == Method::Btree) {
            let plain = index.keys.iter().all(|key| matches!(key.term, Term::Column(_)));
            let held: Vec<&String> = index
                .keys
                .iter()
                .flat_map(|key| key.term.columns())
                .chain(index.predicate.iter().flat_map(|p| &p.columns))
                .collect();
            let more: Vec<String> =
                needed.iter().filter(|name| !held.contains(name)).cloned().collect();
            let width: f64 =
                more.iter().filter_map(|n| self.table.column(n)).map(|c| c.width).sum();
            if plain && !more.is_empty() && more.len() <= INCLUDE_MAX && width <= INCLUDE_BYTES_MAX
            {
                covering.push(Index { include: more, ..index.clone() });
            }
        }
        self.out.extend(covering);
    }

    fn inside(&mut self) {
        self.inside_of(self.access);
    }

    fn inside_of(&mut self, access: &Access) {
        for inside in &access.inside {
            if inside.class == Some("gin_trgm_ops") && !self.able.trigrams {
                continue;
            }
            let key = Key { class: inside.class, ..Key::of(inside.term.clone()) };
            let index = Index { method: Method::Gin, ..Index::btree(access.table, vec![key], 0) };
            if !self.out.iter().any(|known| known.same(&index)) {
                self.out.push(index);
            }
        }
    }
}

fn key(test: &Test) -> Key {
    Key::of(test.term.clone())
}

/// Whether an index that is there does the same already: its key begins as this one. That it could hold more columns
/// beside its key is no reason for another one.
fn exists(index: &Index, table: &Table, engine: Engine) -> bool {
    if index.method == Method::Gin {
        let own = index.keys.first().map(|key| plain(&key.term, engine)).unwrap_or_default();
        let same = |key: &String| bare(key).starts_with(&own);
        return table.indexes.iter().any(|i| !i.btree && !i.partial && i.keys.iter().any(same));
    }
    let names: Vec<String> = index.keys.iter().map(|key| plain(&key.term, engine)).collect();
    table.indexes.iter().any(|existing| {
        existing.btree
            && !existing.partial
            && existing.keys.len() >= names.len()
            && names.iter().zip(&existing.keys).all(|(name, key)| same_key(name, key))
            // A direction or a class of its own is another order.
            && index.keys.iter().all(|key| !key.descending && key.class.is_none())
    })
}

/// As an existing index's key is written, without quotes and parentheses.
pub(crate) fn plain(term: &Term, engine: Engine) -> String {
    bare(&term.sql(engine))
}

pub(crate) fn same_key(name: &str, key: &str) -> bool {
    let key = bare(key);
    let key = key.strip_suffix(" desc").unwrap_or(&key);
    *name == *key
}

/// For comparison: what people and servers write differently is the same here.
pub(crate) fn bare(sql: &str) -> String {
    let kept: String = sql.chars().filter(|c| !matches!(c, '"' | '`' | '(' | ')')).collect();
    kept.replace("::text", "").split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
