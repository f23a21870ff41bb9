//! What a statement asks of each of its tables: what it compares by =, by range, joins and sorts by, and what else it
//! reads. Found in its syntax, which a library parses.
//!
//! Whether an index on that would help is not known here: the planner is asked later. What is not understood is left
//! out, so that no advice comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use mainstay_db::Engine;
use sqlparser::ast::{Expr, Query, Statement, Visit, Visitor};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::index::{Key, Predicate, Term};
use super::scope::Reader;
use super::table::Table;

/// Deeper than people nest.
const DEPTH_MAX: usize = 60;

/// How rows are chosen by a term.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) term: Term,
    pub(crate) how: How,
    /// The test itself, where its value is always the same one, so that an index may have it as its condition.
    pub(crate) constant: Option<Predicate>,
    /// The constant that is compared with, where it is one.
    pub(crate) value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Equal,
    /// One of several values: the index gives no order of what follows.
    Among,
    Null,
    NotNull,
    NotEqual,
    Range,
    /// The beginning of a text.
    Prefix,
}

/// What is looked for inside of values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inside {
    pub(crate) term: Term,
    pub(crate) class: Option<&'static str>,
}

/// What one mention of a table asks of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) table: usize,
    /// The name that the statement gives it.
    pub(crate) alias: String,
    pub(crate) tests: Vec<Test>,
    pub(crate) joins: Vec<Term>,
    pub(crate) inside: Vec<Inside>,
    pub(crate) sort: Vec<Key>,
    /// Whether only the first rows are asked for.
    pub(crate) limited: bool,
    /// The arms of each OR whose arms all ask something of this table.
    pub(crate) arms: Vec<Access>,
    /// Its columns that are read; none where all are, or rows are changed or locked.
    pub(crate) needed: Option<BTreeSet<String>>,
}

impl Access {
    pub(crate) fn asks(&self) -> bool {
        !self.tests.is_empty()
            || !self.joins.is_empty()
            || !self.inside.is_empty()
            || !self.arms.is_empty()
            || (!self.sort.is_empty() && self.limited)
    }
}

/// What a placeholder is compared with.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) table: usize,
    pub(crate) column: String,
    /// Whether it is an array of such values.
    pub(crate) array: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) accesses: Vec<Access>,
    /// All tables by the names that the statement gives them, also those of which nothing is asked.
    pub(crate) mentioned: Vec<(String, usize)>,
    pub(crate) compared: BTreeMap<usize, Compared>,
    /// Placeholders that say how many rows are asked for, and how many are left out.
    pub(crate) limits: BTreeSet<usize>,
    pub(crate) offsets: BTreeSet<usize>,
}

/// Parses one statement. Fails with what a person is told.
pub(crate) fn parse(sql: &str, engine: Engine) -> Result<Statement, String> {
    let dialect: &dyn Dialect = match engine {
        Engine::Postgres => &PostgreSqlDialect {},
        Engine::MySql => &MySqlDialect {},
        Engine::Sqlite => &SQLiteDialect {},
    };
    let parser = Parser::new(dialect).with_recursion_limit(DEPTH_MAX);
    let mut statements = parser
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| format!("it can't be parsed: {e}"))?;
    match (statements.pop(), statements.is_empty()) {
        (
            Some(
                statement @ (Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)),
            ),
            true,
        ) => Ok(statement),
        _ => Err("it is no SELECT, INSERT, UPDATE or DELETE".to_owned()),
    }
}

/// Whether it only reads, so that it may be run.
pub(crate) fn only_reads(statement: &Statement) -> bool {
    let Statement::Query(query) = statement else { return false };
    let mut writes = false;
    let _ = sqlparser::ast::visit_statements(&**query, |_| {
        writes = true;
        ControlFlow::<()>::Continue(())
    });
    !writes && query.locks.is_empty()
}

/// The tables that it names, with a schema where it says one; what WITH defines is left out.
pub(crate) fn relations(statement: &Statement, engine: Engine) -> Vec<Name> {
    let mut defined = Defined { engine, names: BTreeSet::new() };
    let _ = statement.visit(&mut defined);
    let own = defined.names;
    let mut names = Vec::new();
    let _ = sqlparser::ast::visit_relations(statement, |name| {
        let parts: Vec<_> =
            name.0.iter().filter_map(|p| p.as_ident()).map(|i| ident(i, engine)).collect();
        let name = match parts.as_slice() {
            [name] if !own.contains(name) => Some(Name { schema: None, name: name.clone() }),
            [.., schema, name] => Some(Name { schema: Some(schema.clone()), name: name.clone() }),
            _ => None,
        };
        names.extend(name.filter(|name| !names.contains(name)));
        ControlFlow::<()>::Continue(())
    });
    names
}

/// What WITH defines.
struct Defined {
    engine: Engine,
    names: BTreeSet<String>,
}

impl Visitor for Defined {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names.extend(with.map(|cte| ident(&cte.alias.name, self.engine)));
        ControlFlow::Continue(())
    }
}

/// A table as a statement calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn key(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A name as the engine takes it.
pub(crate) fn ident(ident: &sqlparser::ast::Ident, engine: Engine) -> String {
    match engine {
        Engine::Postgres if ident.quote_style.is_none() => ident.value.to_lowercase(),
        _ => ident.value.clone(),
    }
}

/// What `statement` asks of `tables`.
pub(crate) fn facts(statement: &Statement, tables: &[Table], engine: Engine) -> Facts {
    let mut reader = Reader::new(tables, engine);
    reader.statement(statement);
    reader.facts
}

/// The conjuncts of a condition.
pub(crate) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    use sqlparser::ast::BinaryOperator::And;
    match expr {
        Expr::BinaryOp { left, op: And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        Expr::Nested(inner) => conjuncts(inner),
        other => vec![other],
    }
}

/// The arms of an OR; one where it is none.
pub(crate) fn disjuncts(expr: &Expr) -> Vec<&Expr> {
    use sqlparser::ast::BinaryOperator::Or;
    match expr {
        Expr::BinaryOp { left, op: Or, right } => {
            let mut all = disjuncts(left);
            all.extend(disjuncts(right));
            all
        }
        Expr::Nested(inner) => disjuncts(inner),
        other => vec![other],
    }
}
