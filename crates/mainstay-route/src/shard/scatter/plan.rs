//! What a statement becomes on each shard, and how the answers are put together.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Value};
use sqlparser::ast::{
    Expr, Ident, LimitClause, OrderByExpr, OrderByKind, OrderBySort, Query, Select, SelectItem,
    Value as Literal,
};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::cell::{Collation, HIDDEN};
use super::groups::Groups;
use super::refuse::{self, Found, refuse};
use super::text::{self, Source};
use crate::shard::handle::Shards;

/// How deep expressions may be nested: the parser's own stack is bounded by it.
const DEPTH_MAX: usize = 128;

/// A statement for all shards.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For each shard.
    pub(crate) sql: String,
    /// Where its values come from.
    pub(crate) sources: Vec<Source>,
    /// How many values are to be bound.
    bound: usize,
    limit: Option<Count>,
    offset: Option<Count>,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Rows, in the order of hidden columns.
    Rows(Vec<By>),
    /// Groups, of which each shard gives its part.
    Groups(Groups),
}

/// A number in LIMIT or OFFSET, or the value that it is.
#[derive(Clone, Copy, Debug)]
enum Count {
    Number(u64),
    Bound(usize),
}

/// One of ORDER BY.
#[derive(Clone, Debug)]
pub(crate) struct By {
    /// The column: of the hidden ones, or of the groups'.
    pub(crate) at: usize,
    pub(crate) what: String,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
    pub(crate) collation: Collation,
}

/// Which of the rows put together are given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) offset: usize,
    pub(crate) limit: Option<usize>,
}

impl Plan {
    /// Errors: DB-010 (it can't be parsed), ROUTE-028.
    pub(crate) fn new(sql: &str, shards: &Shards, colocated: bool) -> Result<Self> {
        let engine = shards.engine();
        let statement = parse(sql, engine)?;
        let (query, select) = refuse::select(&statement)?;
        refuse::clauses(select)?;
        let found = Found::in_query(query, engine).check(colocated)?;
        refuse::references(query, select, shards)?;
        let (limit, offset) = counts(query)?;
        let order = order(query)?;
        let reader = Reader { engine, select };
        let (hidden, kind) = if found.aggregate.is_some() || !reader.group_by().is_empty() {
            let (hidden, groups) = Groups::new(&reader, order)?;
            (hidden, Kind::Groups(groups))
        } else {
            let (hidden, by) = reader.rows(order)?;
            (hidden, Kind::Rows(by))
        };
        if offset.is_some() && order.is_empty() {
            return refuse("rows are left out, and no order says which", "OFFSET", "add ORDER BY");
        }
        let bound = text::bound(sql, engine);
        let cut = Cut { rows: matches!(kind, Kind::Rows(_)), limit, offset, bound };
        let whole = cut.apply(sql, &hidden, engine)?;
        let (sql, sources) = text::renumbered(&whole, engine, bound);
        Ok(Self { sql, sources, bound, limit, offset, kind })
    }

    /// The values of each shard's statement, and which rows are given. Errors: DB-012, ROUTE-028.
    pub(crate) fn values(&self, bound: &[Value]) -> Result<(Vec<Value>, Window)> {
        if bound.len() != self.bound {
            let what =
                format!("the statement has {} values, and {} are bound", self.bound, bound.len());
            return Err(Error::new(Code::BindCount, what));
        }
        let offset = self.offset.map_or(Ok(0), |count| count.value(bound))?;
        let limit = self.limit.map(|count| count.value(bound)).transpose()?;
        let rows = limit.unwrap_or_default().saturating_add(offset).min(i64::MAX as u64);
        let value = |source: &Source| match source {
            Source::Bound(at) => bound[*at].clone(),
            Source::Rows => Value::BigInt(Some(rows as i64)),
        };
        let as_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let window = Window { offset: as_usize(offset), limit: limit.map(as_usize) };
        Ok((self.sources.iter().map(value).collect(), window))
    }
}

impl Window {
    pub(crate) fn of<T>(self, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

impl Count {
    fn new(expr: &Expr) -> Result<Self> {
        let bound = |name: &str| {
            let n = name.strip_prefix('$')?.parse::<usize>().ok()?;
            Some(Count::Bound(n.saturating_sub(1)))
        };
        let count = match expr {
            // MySQL's names may begin with a dollar, so there it is read as one.
            Expr::Identifier(name) if name.quote_style.is_none() => bound(&name.value),
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => digits.parse().ok().map(Count::Number),
                Literal::Placeholder(name) => bound(name),
                _ => None,
            },
            _ => None,
        };
        if let Some(count) = count {
            return Ok(count);
        }
        refuse("LIMIT and OFFSET are numbers, or values that are bound", expr, "bind the number")
    }

    fn value(self, bound: &[Value]) -> Result<u64> {
        let at = match self {
            Count::Number(n) => return Ok(n),
            Count::Bound(at) => at,
        };
        let n = match bound.get(at) {
            Some(Value::SmallInt(Some(n))) => i64::from(*n).try_into().ok(),
            Some(Value::Int(Some(n))) => i64::from(*n).try_into().ok(),
            Some(Value::BigInt(Some(n))) => (*n).try_into().ok(),
            Some(Value::SmallUnsigned(Some(n))) => Some((*n).into()),
            Some(Value::Unsigned(Some(n))) => Some((*n).into()),
            Some(Value::BigUnsigned(Some(n))) => Some(*n),
            _ => None,
        };
        let place = || {
            refuse(
                "LIMIT and OFFSET are numbers from 0",
                format!("${}", at + 1),
                "bind such a number",
            )
        };
        n.map_or_else(place, Ok)
    }
}

fn parse(sql: &str, engine: Engine) -> Result<sqlparser::ast::Statement> {
    let dialect: &dyn Dialect = match engine {
        Engine::Postgres => &PostgreSqlDialect {},
        Engine::MySql => &MySqlDialect {},
        Engine::Sqlite => &SQLiteDialect {},
    };
    let parser = Parser::new(dialect).with_recursion_limit(DEPTH_MAX);
    let parsed = parser.try_with_sql(sql).and_then(|mut parser| parser.parse_statements());
    let mut all = parsed.map_err(|e| {
        let what = "the statement can't be parsed, so that answers can't be put together";
        Error::new(Code::ShardMerge, what)
            .why(e.to_string())
            .fix("write it in plainer SQL, or ask each shard with each()")
    })?;
    match (all.pop(), all.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => refuse(
            "a question to all shards is one statement",
            "the text",
            "ask one after the other",
        ),
    }
}

fn counts(query: &Query) -> Result<(Option<Count>, Option<Count>)> {
    match &query.limit_clause {
        None => Ok((None, None)),
        Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty() => {
            refuse("LIMIT BY is not understood", "LIMIT BY", "leave it out")
        }
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            let limit = limit.as_ref().map(Count::new).transpose()?;
            Ok((limit, offset.as_ref().map(|o| Count::new(&o.value)).transpose()?))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
            Ok((Some(Count::new(limit)?), Some(Count::new(offset)?)))
        }
    }
}

fn order(query: &Query) -> Result<&[OrderByExpr]> {
    match query.order_by.as_ref().map(|by| &by.kind) {
        None => Ok(&[]),
        Some(OrderByKind::Expressions(all)) => Ok(all),
        Some(OrderByKind::All(_)) => {
            refuse("ORDER BY ALL is not understood", "ORDER BY ALL", "name the columns")
        }
    }
}

/// What is put into the text, and what is cut off.
struct Cut {
    rows: bool,
    limit: Option<Count>,
    offset: Option<Count>,
    bound: usize,
}

impl Cut {
    fn apply(&self, sql: &str, hidden: &[String], engine: Engine) -> Result<String> {
        let Some(marks) = text::marks(sql, engine) else {
            return refuse("it reads no table", "no FROM", "ask any shard, with any()");
        };
        let tail = [
            marks.limit.filter(|_| self.limit.is_some() || self.offset.is_some()),
            marks.offset.filter(|_| self.offset.is_some()),
            // Groups are put in order once they are whole.
            marks.order.filter(|_| !self.rows),
        ];
        let end =
            tail.into_iter().flatten().filter(|at| *at > marks.from).min().unwrap_or(marks.end);
        let mut out = sql[..marks.from].to_owned();
        for (n, expr) in hidden.iter().enumerate() {
            out += &format!(", {expr} AS {HIDDEN}{n} ");
        }
        out += sql[marks.from..end].trim_end();
        if self.rows && self.limit.is_some() {
            // A comment may have come last.
            out += &format!("\nLIMIT ${}", self.bound + 1);
        }
        Ok(out)
    }
}

/// The SELECT, as the clauses after it speak of its columns.
pub(crate) struct Reader<'q> {
    pub(crate) engine: Engine,
    pub(crate) select: &'q Select,
}

impl<'q> Reader<'q> {
    pub(crate) fn group_by(&self) -> &'q [Expr] {
        match &self.select.group_by {
            sqlparser::ast::GroupByExpr::Expressions(all, _) => all,
            sqlparser::ast::GroupByExpr::All(_) => &[],
        }
    }

    /// The column that a number stands for, from 0. Errors: ROUTE-028 where stars hide which it is.
    pub(crate) fn ordinal(&self, expr: &Expr) -> Result<Option<(usize, &'q Expr)>> {
        let Expr::Value(value) = expr else { return Ok(None) };
        let Literal::Number(digits, _) = &value.value else { return Ok(None) };
        let Some(at) = digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1)) else {
            return Ok(None);
        };
        let before = self.select.projection.get(..=at).unwrap_or(&self.select.projection);
        match before.iter().map(item).collect::<Option<Vec<_>>>() {
            Some(items) if items.len() > at => Ok(Some((at, items[at].0))),
            Some(_) => refuse("there is no such column", expr, "name the column"),
            None => {
                refuse("a star comes before the column with that number", expr, "name the column")
            }
        }
    }

    /// The column with that alias.
    pub(crate) fn alias(&self, expr: &Expr) -> Option<(usize, &'q Expr)> {
        let Expr::Identifier(name) = expr else { return None };
        self.select.projection.iter().enumerate().find_map(|(at, of)| {
            let (expr, alias) = item(of)?;
            alias.filter(|alias| same(alias, name)).map(|_| (at, expr))
        })
    }

    /// How the texts of an expression are in order.
    pub(crate) fn collation(&self, expr: &Expr) -> Collation {
        match expr {
            Expr::Nested(inner) => self.collation(inner),
            Expr::Collate { collation, .. } => {
                let name = collation.0.last().and_then(|part| part.as_ident());
                let name = name.map(|ident| ident.value.to_lowercase()).unwrap_or_default();
                match (self.engine, name.as_str()) {
                    (Engine::Postgres, "c" | "posix" | "ucs_basic" | "c.utf8" | "c.utf-8")
                    | (Engine::Sqlite | Engine::MySql, "binary") => Collation::Bytes,
                    (Engine::MySql, name)
                        if name.ends_with("_nopad_bin") || name.ends_with("0900_bin") =>
                    {
                        Collation::Bytes
                    }
                    (Engine::MySql, name) if name.ends_with("_bin") => Collation::Padded,
                    _ => Collation::Unsaid,
                }
            }
            _ if self.engine == Engine::Sqlite => Collation::Bytes,
            _ => Collation::Unsaid,
        }
    }

    /// What a text needs for its order to be that of bytes.
    pub(crate) fn like(engine: Engine) -> &'static str {
        match engine {
            Engine::Postgres => "COLLATE \"C\"",
            Engine::MySql => "COLLATE utf8mb4_bin",
            Engine::Sqlite => "COLLATE BINARY",
        }
    }

    /// One of ORDER BY, on the column `at` with the values of `expr`. Errors: ROUTE-028.
    pub(crate) fn by(&self, order: &OrderByExpr, at: usize, expr: &Expr) -> Result<By> {
        let descending = match &order.options.sort {
            None | Some(OrderBySort::Asc) => false,
            Some(OrderBySort::Desc) => true,
            Some(OrderBySort::Using(_)) => {
                return refuse(
                    "an order by an operator is not understood",
                    order,
                    "write ASC or DESC",
                );
            }
        };
        // NULL is the greatest on PostgreSQL, and the least elsewhere.
        let usual = descending == (self.engine == Engine::Postgres);
        Ok(By {
            at,
            what: expr.to_string(),
            descending,
            nulls_first: order.options.nulls_first.unwrap_or(usual),
            collation: self.collation(expr),
        })
    }

    /// The hidden columns that rows are put in order by.
    fn rows(&self, order: &[OrderByExpr]) -> Result<(Vec<String>, Vec<By>)> {
        let (mut hidden, mut all) = (Vec::new(), Vec::new());
        for by in order {
            let known = match self.ordinal(&by.expr)? {
                Some((_, expr)) => Some(expr),
                None => self.alias(&by.expr).map(|(_, expr)| expr),
            };
            if known.is_none() {
                self.without_aliases(&by.expr)?;
            }
            let expr = known.unwrap_or(&by.expr);
            all.push(self.by(by, hidden.len(), expr)?);
            hidden.push(expr.to_string());
        }
        Ok((hidden, all))
    }

    /// Within an expression an alias means another thing on each engine. Errors: ROUTE-028.
    fn without_aliases(&self, expr: &Expr) -> Result<()> {
        let mut alias = None;
        let _ = sqlparser::ast::visit_expressions(expr, |part| {
            if part != expr && self.alias(part).is_some_and(|(_, of)| of != part) {
                alias = Some(part.to_string());
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        match alias {
            Some(_) => refuse(
                "an alias is part of an expression in ORDER BY",
                expr,
                "give the expression an alias",
            ),
            None => Ok(()),
        }
    }
}

/// The expression of a column, and its alias; none of a star.
pub(crate) fn item(item: &SelectItem) -> Option<(&Expr, Option<&Ident>)> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some((expr, None)),
        SelectItem::ExprWithAlias { expr, alias } => Some((expr, Some(alias))),
        _ => None,
    }
}

/// Quoted names are told apart by case, as little as that happens.
pub(crate) fn same(a: &Ident, b: &Ident) -> bool {
    if a.quote_style.is_some() && b.quote_style.is_some() {
        return a.value == b.value;
    }
    a.value.eq_ignore_ascii_case(&b.value)
}
