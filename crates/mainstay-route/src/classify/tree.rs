//! Whether a query only reads, by its grammar, which a library parses: what it calls, what it computes with, what it
//! reads from. What a query can have and is not known here is not understood.

use std::ops::ControlFlow;

use mainstay_db::Engine;
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectFlavor, SetExpr, Statement,
    TableFactor, Visit, Visitor,
};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use sqlparser::parser::{Parser, ParserError};

use super::safe::Safe;
use super::{functions, relations};

/// PostgreSQL's operators, and those of extensions that are met everywhere: pg_trgm, pgvector, hstore, ltree, PostGIS.
const OPERATORS: &[&str] = &[
    "!!", "##", "%>", "%>>", "&&&", "&/&", "*<", "*<=", "*<>", "*=", "*>", "*>=", "-|-", "<#>",
    "<%", "<+>", "<->", "<->>", "<<%", "<<->>", "<<->", "<<=", ">>=", "<=>", "<~>", "?<@", "?@",
    "?@>", "?~", "@-@", "@@@", "^?", "^@", "^~", "|=|", "~<=~", "~<~", "~>=~", "~>~", "=", "<>",
    "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "||", "~", "~*", "!~", "!~*", "~~", "!~~",
    "~~*", "!~~*", "@>", "<@", "&&", "@@", "->", "->>", "#>", "#>>", "#-", "?", "?|", "?&", "@?",
    "&", "|", "#", "<<", ">>", "^", "&<", "&>", "<<|", "|>>", "&<|", "|&>", "<^", ">^", "~=",
    "<->", "?#", "?-", "?-|", "?||", "@",
];

/// Whether `sql`, one query, only reads; an error says why not. None where it has more than so many levels.
pub(super) fn judge(
    sql: &str,
    engine: Engine,
    safe: &Safe,
    levels: usize,
) -> Option<Result<(), String>> {
    let dialect: &dyn Dialect = match engine {
        Engine::MySql => &MySqlDialect {},
        Engine::Postgres | Engine::Sqlite => &PostgreSqlDialect {},
    };
    let parser = Parser::new(dialect).with_recursion_limit(levels);
    let statements = match parser.try_with_sql(sql).and_then(|mut p| p.parse_statements()) {
        Ok(statements) => statements,
        Err(ParserError::RecursionLimitExceeded) => return None,
        // The parser's message would tell of a text that nobody has written.
        Err(_) => return Some(Err("it can't be parsed".to_owned())),
    };
    let [Statement::Query(query)] = statements.as_slice() else {
        return Some(Err("it is no query".to_owned()));
    };
    let mut judge = Judge { engine, safe, why: String::new() };
    Some(match query.visit(&mut judge) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(judge.why),
    })
}

struct Judge<'s> {
    engine: Engine,
    safe: &'s Safe,
    why: String,
}

impl Judge<'_> {
    fn hear(&mut self, judged: Result<(), String>) -> ControlFlow<()> {
        match judged {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                self.why = why;
                ControlFlow::Break(())
            }
        }
    }

    fn call(&self, name: &ObjectName) -> Result<(), String> {
        let shown = || functions::unknown(&name.to_string());
        let parts = self.path(name).ok_or_else(shown)?;
        if self.safe.has(&parts) {
            return Ok(());
        }
        let quoted = name.0.iter().any(|p| p.as_ident().is_some_and(|i| i.quote_style.is_some()));
        match (self.engine, parts.as_slice()) {
            // A quoted name is looked for in the schema.
            (Engine::MySql, [name]) if !quoted => functions::judge(name, self.engine),
            (Engine::MySql, _) => Err(shown()),
            (_, [name]) => functions::judge(name, self.engine),
            (_, [schema, name]) if schema == "pg_catalog" => functions::judge(name, self.engine),
            _ => Err(shown()),
        }
    }

    fn path(&self, name: &ObjectName) -> Option<Vec<String>> {
        name.0.iter().map(|part| part.as_ident().map(|ident| self.ident(ident))).collect()
    }

    /// A name as the engine keeps it. In ASCII alone: no other letter may become one of a name that is known.
    fn ident(&self, ident: &Ident) -> String {
        match self.engine {
            Engine::Postgres if ident.quote_style.is_some() => ident.value.clone(),
            _ => ident.value.to_ascii_lowercase(),
        }
    }

    fn relation(&self, name: &ObjectName) -> Result<(), String> {
        let path = self.path(name).ok_or_else(not_understood)?;
        relations::judge(&path, self.engine)
    }

    fn expr(&self, expr: &Expr) -> Result<(), String> {
        match expr {
            Expr::Function(function) => self.call(&function.name),
            Expr::BinaryOp { op, .. } => operator(op),
            Expr::AnyOp { compare_op, .. } | Expr::AllOp { compare_op, .. } => operator(compare_op),
            Expr::Struct { .. }
            | Expr::Named { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::OuterJoin(_)
            | Expr::Prior(_)
            | Expr::JsonAccess { .. }
            | Expr::Lambda(_) => Err(not_understood()),
            _ => Ok(()),
        }
    }

    fn factor(&self, factor: &TableFactor) -> Result<(), String> {
        match factor {
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => {
                Err("TABLESAMPLE is volatile".to_owned())
            }
            TableFactor::Table { version: Some(_), .. } => Err(not_understood()),
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.call(name)
            }
            TableFactor::Table { name, .. } => self.relation(name),
            TableFactor::Derived { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::NestedJoin { .. } => Ok(()),
            _ => Err(not_understood()),
        }
    }
}

fn query(query: &Query) -> Result<(), String> {
    if !query.locks.is_empty() {
        return Err("it locks rows".to_owned());
    }
    let known = query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty();
    if known { body(&query.body) } else { Err(not_understood()) }
}

/// `TABLE t` is told to the parser as a SELECT; here its name could not be looked at.
fn body(set: &SetExpr) -> Result<(), String> {
    match set {
        SetExpr::SetOperation { left, right, .. } => {
            body(left)?;
            body(right)
        }
        SetExpr::Table(_) => Err(not_understood()),
        _ => Ok(()),
    }
}

fn operator(op: &BinaryOperator) -> Result<(), String> {
    match op {
        BinaryOperator::Assignment => Err(":= sets a variable".to_owned()),
        BinaryOperator::Custom(name) => known_operator(name),
        BinaryOperator::PGCustomBinaryOperator(path) => match path.as_slice() {
            [name] => known_operator(name),
            [schema, name] if schema.eq_ignore_ascii_case("pg_catalog") => known_operator(name),
            path => Err(format!("the operator {} is not known", path.join("."))),
        },
        _ => Ok(()),
    }
}

fn known_operator(name: &str) -> Result<(), String> {
    if OPERATORS.contains(&name) {
        return Ok(());
    }
    Err(format!("the operator {name} is not known to only read"))
}

fn not_understood() -> String {
    "it is not understood".to_owned()
}

fn select(select: &Select) -> Result<(), String> {
    if select.into.is_some() {
        return Err("INTO writes".to_owned());
    }
    let known = matches!(select.flavor, SelectFlavor::Standard) && select.lateral_views.is_empty();
    if known { Ok(()) } else { Err(not_understood()) }
}

impl Visitor for Judge<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, read: &Query) -> ControlFlow<()> {
        self.hear(query(read))
    }

    fn pre_visit_select(&mut self, read: &Select) -> ControlFlow<()> {
        self.hear(select(read))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let judged = self.factor(factor);
        self.hear(judged)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let judged = self.expr(expr);
        self.hear(judged)
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let what = match statement {
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::Merge(_) => "MERGE",
            Statement::Query(_) => return ControlFlow::Continue(()),
            _ => "a statement",
        };
        self.hear(Err(format!("{what} inside of it writes")))
    }
}
