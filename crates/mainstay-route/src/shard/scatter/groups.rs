//! Groups: each shard gives its part of each, and the parts are put together here.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Decimal, Engine};
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArguments, Ident, ObjectName, OrderByExpr,
};

use super::cell::{Cell, Collation, comparable};
use super::order;
use super::plan::{By, Reader, Window, item, same};
use super::refuse::{Found, MERGED, is_aggregate, name, refuse};

/// What a statement's groups are made of.
#[derive(Debug)]
pub(crate) struct Groups {
    engine: Engine,
    columns: Vec<(Column, String)>,
    /// Those that the caller gets; after them come the hidden ones.
    visible: usize,
    order: Vec<By>,
}

#[derive(Clone, Copy, Debug)]
enum Column {
    Key(Collation),
    Sum,
    Min(Collation),
    Max(Collation),
    /// The hidden columns with its sum and count.
    Average {
        sum: usize,
        count: usize,
    },
}

impl Groups {
    /// With the hidden columns. Errors: ROUTE-028.
    pub(crate) fn new(reader: &Reader<'_>, order: &[OrderByExpr]) -> Result<(Vec<String>, Self)> {
        let mut making = Making::new(reader)?;
        let mut all = Vec::new();
        for by in order {
            let (at, expr) = making.ordered(&by.expr)?;
            all.push(reader.by(by, at, &expr)?);
        }
        let Making { columns, hidden, visible, .. } = making;
        Ok((hidden, Self { engine: reader.engine, columns, visible, order: all }))
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns[..self.visible].iter().map(|(_, name)| name.clone()).collect()
    }

    /// Puts the shards' parts together. Errors: ROUTE-028, DB-002 (a sum is too large).
    pub(crate) fn merge(
        &self,
        parts: impl IntoIterator<Item = Vec<Cell>>,
        window: Window,
    ) -> Result<Vec<Vec<Cell>>> {
        let mut by_key: HashMap<Vec<u8>, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut groups: Vec<Vec<Cell>> = Vec::new();
        for part in parts {
            let mut key = Vec::new();
            for ((column, name), cell) in self.columns.iter().zip(&part) {
                self.check(cell, *column, name)?;
                if let Column::Key(collation) = column {
                    cell.group_key(*collation, &mut key);
                }
            }
            match by_key.get(&key) {
                Some(at) => self.add(&mut groups[*at], part)?,
                None => {
                    by_key.insert(key, groups.len());
                    groups.push(part);
                }
            }
        }
        for group in &mut groups {
            self.finish(group)?;
        }
        order::sort(&mut groups, &self.order, self.engine, |group, by| &group[by.at])?;
        let mut groups = window.of(groups);
        for group in &mut groups {
            group.truncate(self.visible);
        }
        Ok(groups)
    }

    /// Refuses what would be compared otherwise on the engine, of one shard's part too: whether it is refused must
    /// not depend on the rows. PostgreSQL groups texts by their bytes whatever their order is, and so does
    /// SQLite unless a column says otherwise.
    fn check(&self, cell: &Cell, column: Column, name: &str) -> Result<()> {
        let collation = match column {
            Column::Key(_) if self.engine != Engine::MySql => Collation::Bytes,
            Column::Key(collation) | Column::Min(collation) | Column::Max(collation) => collation,
            Column::Sum | Column::Average { .. } => return Ok(()),
        };
        comparable(cell, collation, name, Reader::like(self.engine))
    }

    fn add(&self, group: &mut [Cell], part: Vec<Cell>) -> Result<()> {
        for (((column, name), own), new) in self.columns.iter().zip(group).zip(part) {
            let (wins, collation) = match column {
                Column::Key(_) | Column::Average { .. } => continue,
                Column::Sum => {
                    *own = sum(std::mem::replace(own, Cell::Null), new, name)?;
                    continue;
                }
                Column::Min(collation) => (std::cmp::Ordering::Less, *collation),
                Column::Max(collation) => (std::cmp::Ordering::Greater, *collation),
            };
            let better = *own == Cell::Null || new.compare(own, collation) == wins;
            if new != Cell::Null && better {
                *own = new;
            }
        }
        Ok(())
    }

    fn finish(&self, group: &mut [Cell]) -> Result<()> {
        for (at, (column, name)) in self.columns.iter().enumerate() {
            if let Column::Average { sum, count } = column {
                group[at] = self.average(&group[*sum], &group[*count], name)?;
            }
        }
        Ok(())
    }

    fn average(&self, sum: &Cell, count: &Cell, name: &str) -> Result<Cell> {
        let n = match count {
            Cell::Int(0) | Cell::Null => return Ok(Cell::Null),
            count => count,
        };
        let exact = sum.to_decimal().zip(n.to_decimal()).filter(|_| self.engine != Engine::Sqlite);
        let exact = exact.and_then(|(sum, n)| sum.checked_div(*n));
        match (exact, sum.to_f64().zip(n.to_f64())) {
            (Some(average), _) => Ok(Cell::Decimal(Decimal(average))),
            (None, Some((sum, n))) => Ok(Cell::Float(sum / n)),
            (None, None) => unsummable(sum, name),
        }
    }
}

fn unsummable<T>(cell: &Cell, name: &str) -> Result<T> {
    let of = match cell {
        Cell::Other(of) => of.clone(),
        _ => "another type".to_owned(),
    };
    refuse(
        "what is no number can't be added up here",
        format!("{name}, of {of}"),
        "cast it to a number",
    )
}

/// NULL is what there is nothing to add up of.
fn sum(a: Cell, b: Cell, name: &str) -> Result<Cell> {
    let large = || Error::new(Code::Data, format!("{name} is too large to be added up"));
    match (&a, &b) {
        (Cell::Null, _) => Ok(b),
        (_, Cell::Null) => Ok(a),
        (Cell::Int(a), Cell::Int(b)) => a.checked_add(*b).map(Cell::Int).ok_or_else(large),
        (Cell::Float(_), _) | (_, Cell::Float(_)) => match (a.to_f64(), b.to_f64()) {
            (Some(a), Some(b)) => Ok(Cell::Float(a + b)),
            _ => unsummable(&b, name),
        },
        _ => match (a.to_decimal(), b.to_decimal()) {
            (Some(a), Some(b)) => {
                a.checked_add(*b).map(|sum| Cell::Decimal(Decimal(sum))).ok_or_else(large)
            }
            _ => unsummable(&b, name),
        },
    }
}

/// The columns, while they are found out.
struct Making<'r> {
    reader: &'r Reader<'r>,
    columns: Vec<(Column, String)>,
    hidden: Vec<String>,
    visible: usize,
}

impl<'r> Making<'r> {
    fn new(reader: &'r Reader<'r>) -> Result<Self> {
        let projection = &reader.select.projection;
        let visible = projection.len();
        let mut making = Self { reader, columns: Vec::new(), hidden: Vec::new(), visible };
        let mut averages = Vec::new();
        for (at, of) in projection.iter().enumerate() {
            let Some((expr, alias)) = item(of) else {
                return refuse("a star can't be grouped", of, "name the columns");
            };
            let column = match function(expr, reader.engine) {
                Some(function) => {
                    if aggregate(function)? == "AVG" {
                        averages.push((at, function));
                    }
                    making.column(function)
                }
                None => making.key(at, expr)?,
            };
            making.columns.push((column, called(expr, alias)));
        }
        for (at, function) in averages {
            making.columns[at].0 = making.average(function);
        }
        for key in reader.group_by() {
            if making.selected(key)?.is_none() {
                making.hide(Column::Key(reader.collation(key)), key.to_string());
            }
        }
        Ok(making)
    }

    fn hide(&mut self, column: Column, sql: String) -> usize {
        self.columns.push((column, sql.clone()));
        self.hidden.push(sql);
        self.columns.len() - 1
    }

    /// The sum and the count that an average is made of.
    fn average(&mut self, function: &Function) -> Column {
        let renamed = |name: &str| {
            let name = ObjectName::from(vec![Ident::new(name)]);
            Function { name, ..function.clone() }.to_string()
        };
        let sum = self.hide(Column::Sum, renamed("SUM"));
        Column::Average { sum, count: self.hide(Column::Sum, renamed("COUNT")) }
    }

    /// Of an aggregate that was looked at; an average is made later, of two.
    fn column(&self, function: &Function) -> Column {
        let argument = match &function.args {
            FunctionArguments::List(list) => {
                list.args.first().map(|arg| arg_collation(self.reader, arg))
            }
            _ => None,
        };
        let collation = argument.unwrap_or(Collation::Unsaid);
        match name(function).as_str() {
            "MIN" => Column::Min(collation),
            "MAX" => Column::Max(collation),
            _ => Column::Sum,
        }
    }

    fn key(&self, at: usize, expr: &Expr) -> Result<Column> {
        if let Some(inner) = Found::in_expr(expr, self.reader.engine).aggregate {
            let fix = "select the aggregate by itself, and reckon with what comes back";
            return refuse("an aggregate is part of an expression", inner, fix);
        }
        for key in self.reader.group_by() {
            if self.selected(key)? == Some(at) || alike(key, expr) {
                return Ok(Column::Key(self.reader.collation(expr)));
            }
        }
        refuse("the column is neither grouped by nor an aggregate", expr, "GROUP BY it")
    }

    /// The column of the SELECT that one of GROUP BY is.
    fn selected(&self, key: &Expr) -> Result<Option<usize>> {
        if let Some((at, _)) = self.reader.ordinal(key)? {
            return Ok(Some(at));
        }
        let alias = self.reader.alias(key).map(|(at, _)| at);
        let projection = self.reader.select.projection.iter();
        Ok(alias.or_else(|| {
            let mut all = projection.enumerate().filter_map(|(at, of)| Some((at, item(of)?.0)));
            all.find(|(_, expr)| alike(key, expr)).map(|(at, _)| at)
        }))
    }

    /// The column that one of ORDER BY is, hidden if need be, and the expression that says its collation.
    fn ordered(&mut self, expr: &Expr) -> Result<(usize, Expr)> {
        let plain = plain(expr);
        let known = match self.reader.ordinal(plain)? {
            Some(found) => Some(found),
            None => self.reader.alias(plain),
        };
        if let Some((at, of)) = known {
            let says = if plain == expr { of } else { expr };
            return Ok((at, says.clone()));
        }
        let projection = self.reader.select.projection.iter();
        let mut all = projection.enumerate().filter_map(|(at, of)| Some((at, item(of)?.0)));
        if let Some((at, of)) = all.find(|(_, of)| alike(of, plain)) {
            let says = if plain == expr { of } else { expr };
            return Ok((at, says.clone()));
        }
        if let Some(at) = self.columns.iter().position(|(_, sql)| *sql == plain.to_string()) {
            return Ok((at, expr.clone()));
        }
        let Some(function) = function(plain, self.reader.engine) else {
            return refuse(
                "it is neither grouped by nor an aggregate",
                expr,
                "order by what is selected",
            );
        };
        let column = if aggregate(function)? == "AVG" {
            self.average(function)
        } else {
            self.column(function)
        };
        Ok((self.hide(column, plain.to_string()), expr.clone()))
    }
}

fn arg_collation(reader: &Reader<'_>, arg: &sqlparser::ast::FunctionArg) -> Collation {
    use sqlparser::ast::{FunctionArg, FunctionArgExpr};
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => reader.collation(expr),
        _ => Collation::Unsaid,
    }
}

/// Without COLLATE and parentheses.
fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Collate { expr, .. } | Expr::Nested(expr) => plain(expr),
        _ => expr,
    }
}

/// The aggregate that an expression is.
fn function(expr: &Expr, engine: Engine) -> Option<&Function> {
    match expr {
        Expr::Function(function) if is_aggregate(function, engine) => Some(function),
        _ => None,
    }
}

/// The name of an aggregate that can be put together. Errors: ROUTE-028.
fn aggregate(function: &Function) -> Result<String> {
    let name = name(function);
    if !MERGED.contains(&name.as_str()) {
        let fix = "use COUNT, SUM, MIN, MAX and AVG, or ask each shard with each()";
        return refuse("the aggregate can't be put together from parts", function, fix);
    }
    let plain = match &function.args {
        FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) =>
        {
            let fix = "GROUP BY the column, and count the groups";
            return refuse("DISTINCT can't be put together from parts", function, fix);
        }
        FunctionArguments::List(list) => list.clauses.is_empty(),
        _ => false,
    };
    if plain && function.within_group.is_empty() {
        return Ok(name);
    }
    refuse("the aggregate can't be put together from parts", function, "write it plainly")
}

/// What the caller names it by.
fn called(expr: &Expr, alias: Option<&Ident>) -> String {
    match (alias, expr) {
        (Some(alias), _) => alias.value.clone(),
        (None, Expr::Identifier(name)) => name.value.clone(),
        (None, Expr::CompoundIdentifier(names)) => {
            names.last().map(|name| name.value.clone()).unwrap_or_default()
        }
        (None, other) => other.to_string(),
    }
}

/// Whether both are the same column or expression; a table may be said in one of them alone.
fn alike(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Identifier(a), Expr::Identifier(b)) => same(a, b),
        (Expr::Identifier(name), Expr::CompoundIdentifier(names))
        | (Expr::CompoundIdentifier(names), Expr::Identifier(name)) => {
            names.last().is_some_and(|last| same(last, name))
        }
        (Expr::CompoundIdentifier(a), Expr::CompoundIdentifier(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}
