//! A table that moves with its key, as both sides have it; and its statements.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Value;
use mainstay_db::sea_query::ArrayType;

use super::column::Column;
use super::dialect::{Dialect, hex};

/// What the caller names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// One column, or the two of a pair.
    pub(super) key: Vec<String>,
}

/// As it is on one side. Both have the same columns.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// Quoted, with its schema.
    pub(super) full: String,
    /// Those that are moved: without generated ones.
    pub(super) columns: Vec<Column>,
    /// The primary key's places among them.
    pub(super) primary: Vec<usize>,
    pub(super) keys: Vec<Column>,
    /// What the server thinks.
    pub(super) rows_estimate: u64,
}

/// A primary key, as texts.
pub(super) type Pk = Vec<String>;

/// A row: its values as texts.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) values: Vec<Option<String>>,
}

/// A statement with what is bound to it.
pub(super) type Bound = (String, Vec<Value>);

impl Table {
    pub(super) fn pk_columns(&self) -> impl Iterator<Item = &Column> {
        self.primary.iter().filter_map(|at| self.columns.get(*at))
    }

    pub(super) fn pk_texts(&self, d: Dialect, of: &str) -> Vec<String> {
        self.pk_columns().map(|c| c.text(d, of)).collect()
    }

    fn key_texts(&self, d: Dialect) -> Vec<String> {
        self.keys.iter().map(|c| c.key_text(d, "t")).collect()
    }

    /// The next primary keys after `cursor` up to `end`, with their rows' keys.
    pub(super) fn scan(
        &self,
        d: Dialect,
        cursor: Option<&Pk>,
        end: Option<&Pk>,
        limit: usize,
    ) -> Bound {
        let mut shown = self.pk_texts(d, "t");
        shown.extend(self.key_texts(d));
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        for (pk, not) in cursor.map(|pk| (pk, "")).into_iter().chain(end.map(|pk| (pk, "NOT "))) {
            conditions.push(format!("{not}{}", self.after(d, pk, &mut values)));
        }
        let within = if conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", conditions.join(" AND "))
        };
        let sql = format!(
            "SELECT {} FROM {} t {within} ORDER BY {} LIMIT {limit}",
            shown.join(", "),
            self.full,
            self.order(d, "")
        );
        (sql, values)
    }

    /// The last primary key.
    pub(super) fn last(&self, d: Dialect) -> String {
        format!(
            "SELECT {} FROM {} t ORDER BY {} LIMIT 1",
            self.pk_texts(d, "t").join(", "),
            self.full,
            self.order(d, " DESC")
        )
    }

    fn order(&self, d: Dialect, way: &str) -> String {
        self.pk_columns().map(|c| format!("{}{way}", c.raw(d, "t"))).collect::<Vec<_>>().join(", ")
    }

    /// That a row comes after this primary key, in a form that the engine uses an index for.
    fn after(&self, d: Dialect, pk: &Pk, bound: &mut Vec<Value>) -> String {
        let raw: Vec<String> = self.pk_columns().map(|c| c.raw(d, "t")).collect();
        let values: Vec<String> =
            self.pk_columns().zip(pk).map(|(c, value)| c.value(&one(d, value, bound))).collect();
        if d == Dialect::Postgres {
            return format!("(({}) > ({}))", raw.join(", "), values.join(", "));
        }
        let term = |n: usize| {
            let same = (0..n).map(|at| format!("{} = {}", raw[at], values[at]));
            same.chain([format!("{} > {}", raw[n], values[n])]).collect::<Vec<_>>().join(" AND ")
        };
        let terms: Vec<String> = (0..raw.len()).map(|n| format!("({})", term(n))).collect();
        format!("({})", terms.join(" OR "))
    }

    /// The whole rows of these primary keys: first the columns, then the key.
    pub(super) fn rows(&self, d: Dialect, pks: &[Pk]) -> Bound {
        let mut shown: Vec<String> = self.columns.iter().map(|c| c.text(d, "t")).collect();
        shown.extend(self.key_texts(d));
        self.of_pks(d, pks, |those| {
            format!("SELECT {} FROM {} t WHERE {those}", shown.join(", "), self.full)
        })
    }

    /// The primary keys of those of `pks` that are there, the rows' keys, and a digest of each row.
    pub(super) fn digests(&self, d: Dialect, pks: &[Pk]) -> Bound {
        let mut shown = self.pk_texts(d, "t");
        shown.extend(self.key_texts(d));
        let values: Vec<String> = self.columns.iter().map(|c| c.text(d, "t")).collect();
        shown.push(match d {
            Dialect::Postgres => format!("md5(ROW({})::text)", values.join(", ")),
            Dialect::MariaDb => format!("MD5(JSON_ARRAY({}))", values.join(", ")),
        });
        self.of_pks(d, pks, |those| {
            format!("SELECT {} FROM {} t WHERE {those}", shown.join(", "), self.full)
        })
    }

    /// How many of these primary keys there are.
    pub(super) fn present(&self, d: Dialect, pks: &[Pk]) -> Bound {
        self.of_pks(d, pks, |those| format!("SELECT COUNT(*) FROM {} t WHERE {those}", self.full))
    }

    /// Deletes those of these primary keys for which `which` holds.
    pub(super) fn delete(&self, d: Dialect, pks: &[Pk], which: &str) -> Bound {
        self.of_pks(d, pks, |those| match d {
            Dialect::Postgres => format!("DELETE FROM {} t WHERE {those} AND {which}", self.full),
            // Its DELETE knows no other name of a table unless it is one of several.
            Dialect::MariaDb => format!("DELETE t FROM {} t WHERE {those} AND {which}", self.full),
        })
    }

    fn of_pks(&self, d: Dialect, pks: &[Pk], sql: impl FnOnce(&str) -> String) -> Bound {
        let raw: Vec<String> = self.pk_columns().map(|c| c.raw(d, "t")).collect();
        if d == Dialect::Postgres {
            let names: Vec<String> = (0..raw.len()).map(|at| format!("c{at}")).collect();
            let cast: Vec<String> = self
                .pk_columns()
                .zip(&names)
                .map(|(c, name)| c.value(&format!("u.{name}")))
                .collect();
            let those = format!(
                "({}) IN (SELECT {} FROM {} AS u({}))",
                raw.join(", "),
                cast.join(", "),
                unnest(raw.len()),
                names.join(", ")
            );
            let column = |at: usize| texts(pks.iter().map(|pk| pk.get(at).cloned()));
            return (sql(&those), (0..raw.len()).map(column).collect());
        }
        let value = |column: &Column, text: &String| column.value(&literal(Some(text)));
        let columns: Vec<&Column> = self.pk_columns().collect();
        let those = if let ([raw], [column]) = (raw.as_slice(), columns.as_slice()) {
            let all: Vec<String> = pks.iter().flatten().map(|text| value(column, text)).collect();
            format!("{raw} IN ({})", all.join(", "))
        } else {
            // Not a list of rows: it uses no index for that.
            let one = |pk: &Pk| {
                let parts = raw.iter().zip(&columns).zip(pk);
                let parts =
                    parts.map(|((raw, column), text)| format!("{raw} = {}", value(column, text)));
                format!("({})", parts.collect::<Vec<_>>().join(" AND "))
            };
            let all: Vec<String> = pks.iter().map(one).collect();
            format!("({})", all.join(" OR "))
        };
        (sql(&those), Vec::new())
    }

    pub(super) fn insert(&self, d: Dialect, lines: &[Line]) -> Bound {
        let names: Vec<String> = self.columns.iter().map(|c| d.name(&c.name)).collect();
        let (full, names) = (&self.full, names.join(", "));
        if d == Dialect::Postgres {
            let own: Vec<String> = (0..self.columns.len()).map(|at| format!("c{at}")).collect();
            let cast: Vec<String> = self
                .columns
                .iter()
                .zip(&own)
                .map(|(c, name)| c.value(&format!("u.{name}")))
                .collect();
            let sql = format!(
                "INSERT INTO {full} ({names}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS u({})",
                cast.join(", "),
                unnest(own.len()),
                own.join(", ")
            );
            let column =
                |at: usize| texts(lines.iter().map(|line| line.values.get(at).cloned().flatten()));
            return (sql, (0..own.len()).map(column).collect());
        }
        let row = |line: &Line| {
            let all = self.columns.iter().zip(&line.values);
            let all = all.map(|(column, value)| column.value(&literal(value.as_deref())));
            format!("({})", all.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = lines.iter().map(row).collect();
        (format!("INSERT INTO {full} ({names}) VALUES {}", rows.join(", ")), Vec::new())
    }

    /// Errors: ROUTE-050 where the other side's differs.
    pub(super) fn same(&self, other: &Self, there: &str) -> Result<()> {
        if self.columns == other.columns && self.primary == other.primary {
            return Ok(());
        }
        let differs = self.columns.iter().find(|c| !other.columns.contains(c));
        let why = match differs.or_else(|| other.columns.iter().find(|c| !self.columns.contains(c)))
        {
            Some(column) => format!("the column {:?} is not the same on both", column.name),
            None => "the primary key or the order of the columns is not the same".to_owned(),
        };
        let what = format!("the table {:?} is another one on {there}", self.name);
        Err(Error::new(Code::MoveRefused, what)
            .why(why)
            .fix("bring both to the same migration first"))
    }
}

/// A text, bound on PostgreSQL.
fn one(d: Dialect, text: &str, bound: &mut Vec<Value>) -> String {
    if d == Dialect::MariaDb {
        return literal(Some(text));
    }
    bound.push(Value::from(text));
    format!("${}::text", bound.len())
}

/// A text as MariaDB's literal, of hexadecimal digits alone. Nothing is bound there: what is prepared for once costs the
/// next statement a delayed acknowledgement, 40 ms each.
fn literal(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| format!("_utf8mb4 X'{}'", hex(text.as_bytes())))
}

fn unnest(columns: usize) -> String {
    let all: Vec<String> = (1..=columns).map(|at| format!("${at}::text[]")).collect();
    format!("unnest({})", all.join(", "))
}

fn texts(all: impl Iterator<Item = Option<String>>) -> Value {
    Value::Array(ArrayType::String, Some(Box::new(all.map(Value::from).collect())))
}
