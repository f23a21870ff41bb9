//! What can't be asked of several shards at once, and the place of it in the statement.

use std::fmt::Display;
use std::ops::ControlFlow;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, JoinOperator, Query, Select, SetExpr,
    Statement, TableFactor, Visit, Visitor,
};

use crate::shard::handle::Shards;

/// Aggregates that are put together here.
pub(crate) const MERGED: [&str; 5] = ["AVG", "COUNT", "MAX", "MIN", "SUM"];

/// Those of the three engines that are not. One that a user has defined is not known.
const OTHERS: [&str; 37] = [
    "ANY_VALUE",
    "ARRAY_AGG",
    "BIT_AND",
    "BIT_OR",
    "BIT_XOR",
    "BOOL_AND",
    "BOOL_OR",
    "CORR",
    "COVAR_POP",
    "COVAR_SAMP",
    "EVERY",
    "GROUPING",
    "GROUP_CONCAT",
    "JSONB_AGG",
    "JSONB_GROUP_ARRAY",
    "JSONB_GROUP_OBJECT",
    "JSONB_OBJECT_AGG",
    "JSON_AGG",
    "JSON_ARRAYAGG",
    "JSON_GROUP_ARRAY",
    "JSON_GROUP_OBJECT",
    "JSON_OBJECTAGG",
    "JSON_OBJECT_AGG",
    "MEDIAN",
    "MODE",
    "PERCENTILE_CONT",
    "PERCENTILE_DISC",
    "RANGE_AGG",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STRING_AGG",
    "TOTAL",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
];

/// Errors: ROUTE-028, with the place.
pub(crate) fn refuse<T>(what: &'static str, place: impl Display, fix: &'static str) -> Result<T> {
    Err(Error::new(Code::ShardMerge, what).why(format!("here: {place}")).fix(fix))
}

/// The name of a function, in capitals.
pub(crate) fn name(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map(|ident| ident.value.to_uppercase()).unwrap_or_default()
}

/// Whether it is an aggregate. SQLite's MIN and MAX of several values are not.
pub(crate) fn is_aggregate(function: &Function, engine: Engine) -> bool {
    let name = name(function);
    let several = matches!(&function.args, FunctionArguments::List(list) if list.args.len() > 1);
    if engine == Engine::Sqlite && several && matches!(name.as_str(), "MIN" | "MAX") {
        return false;
    }
    MERGED.contains(&name.as_str())
        || OTHERS.binary_search(&name.as_str()).is_ok()
        || name.starts_with("REGR_")
}

/// The SELECT of a statement that all shards can be asked. Errors: ROUTE-028.
pub(crate) fn select(statement: &Statement) -> Result<(&Query, &Select)> {
    const WRITES: &str = "run it on each shard, with each() or everywhere()";
    let Statement::Query(query) = statement else {
        return refuse("a question to all shards is a SELECT", first_words(statement), WRITES);
    };
    let SetExpr::Select(select) = &*query.body else {
        return match &*query.body {
            SetExpr::SetOperation { op, .. } => {
                refuse("sets can't be put together over shards", op, "ask each SELECT by itself")
            }
            other => refuse("a question to all shards is a SELECT", first_words(other), WRITES),
        };
    };
    let mut writes = false;
    let _ = sqlparser::ast::visit_statements(&**query, |_| {
        writes = true;
        ControlFlow::<()>::Continue(())
    });
    if writes || select.into.is_some() {
        return refuse("a question to all shards does not write", "WITH or INTO", WRITES);
    }
    if let Some(lock) = query.locks.first() {
        return refuse(
            "a question to all shards takes no locks",
            lock,
            "lock rows on the shard of a key",
        );
    }
    if let Some(fetch) = &query.fetch {
        return refuse("FETCH is not understood", fetch, "write LIMIT");
    }
    if select.from.is_empty() {
        return refuse("it reads no table", "no FROM", "ask any shard, with any()");
    }
    Ok((query, select))
}

fn first_words(text: impl Display) -> String {
    text.to_string().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// What a SELECT may not have here. Errors: ROUTE-028.
pub(crate) fn clauses(select: &Select) -> Result<()> {
    if let Some(distinct) = &select.distinct {
        return refuse(
            "DISTINCT can't be put together over shards",
            distinct,
            "write GROUP BY those columns",
        );
    }
    if let Some(having) = &select.having {
        let fix = "leave HAVING out, and filter what comes back";
        return refuse("HAVING would see a part of each group", format!("HAVING {having}"), fix);
    }
    if select.qualify.is_some() || !select.named_window.is_empty() {
        return refuse("a window would see the rows of one shard alone", "WINDOW", "leave it out");
    }
    match &select.group_by {
        GroupByExpr::Expressions(_, modifiers) if modifiers.is_empty() => Ok(()),
        other => {
            refuse("these groups can't be put together over shards", other, "GROUP BY the columns")
        }
    }
}

/// Aggregates, windows, and what a subquery counts or cuts off of its own shard's rows.
pub(crate) struct Found {
    engine: Engine,
    /// 1 in the statement itself, more in its subqueries.
    depth: u32,
    pub(crate) aggregate: Option<String>,
    window: Option<String>,
    inner: Option<String>,
}

impl Found {
    pub(crate) fn in_query(query: &Query, engine: Engine) -> Self {
        Self::of(query, 0, engine)
    }

    pub(crate) fn in_expr(expr: &Expr, engine: Engine) -> Self {
        Self::of(expr, 1, engine)
    }

    fn of(part: &impl Visit, depth: u32, engine: Engine) -> Self {
        let mut found = Self { engine, depth, aggregate: None, window: None, inner: None };
        let _ = part.visit(&mut found);
        found
    }

    /// Errors: ROUTE-028.
    pub(crate) fn check(self, colocated: bool) -> Result<Self> {
        if let Some(window) = &self.window {
            return refuse(
                "a window would see the rows of one shard alone",
                window,
                "leave it out",
            );
        }
        match &self.inner {
            Some(inner) if !colocated => refuse(
                "a subquery would see the rows of one shard alone",
                inner,
                "where rows that belong together share a key that is right: say colocated()",
            ),
            _ => Ok(self),
        }
    }
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        let cuts = match &*query.body {
            SetExpr::Select(select) => {
                let grouped =
                    !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
                grouped || select.distinct.is_some()
            }
            _ => true,
        };
        // The first is the statement itself.
        if self.depth > 1 && (cuts || query.limit_clause.is_some() || query.fetch.is_some()) {
            self.inner.get_or_insert_with(|| query.to_string());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let found = if function.over.is_some() {
            &mut self.window
        } else if !is_aggregate(function, self.engine) {
            return ControlFlow::Continue(());
        } else if self.depth > 1 {
            &mut self.inner
        } else {
            &mut self.aggregate
        };
        found.get_or_insert_with(|| expr.to_string());
        ControlFlow::Continue(())
    }
}

/// Reference tables are whole on each shard: without another table they would be counted once a shard, and so would
/// their rows in an outer join that keeps them. Errors: ROUTE-028.
pub(crate) fn references(query: &Query, select: &Select, shards: &Shards) -> Result<()> {
    const FIX: &str = "ask any shard, with any()";
    let (mut all, mut reference) = (0, None);
    let _ = sqlparser::ast::visit_relations(query, |name| {
        all += 1;
        let last = name.0.last().and_then(|part| part.as_ident());
        if let Some(ident) = last.filter(|ident| shards.is_reference(&ident.value)) {
            all -= 1;
            reference = Some(ident.value.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    if let (0, Some(table)) = (all, &reference) {
        return refuse("it reads reference tables alone, which each shard has whole", table, FIX);
    }
    let is = |factor: &TableFactor| match factor {
        TableFactor::Table { name, .. } => {
            let last = name.0.last().and_then(|part| part.as_ident());
            last.is_some_and(|ident| shards.is_reference(&ident.value))
        }
        _ => false,
    };
    for from in &select.from {
        for join in &from.joins {
            use JoinOperator as J;
            let keeps = match &join.join_operator {
                J::Left(_) | J::LeftOuter(_) => is(&from.relation),
                J::Right(_) | J::RightOuter(_) => is(&join.relation),
                J::FullOuter(_) => is(&from.relation) || is(&join.relation),
                _ => false,
            };
            if keeps {
                let what = "the join keeps rows of a reference table, once on each shard";
                return refuse(what, join, "write an inner join, or ask any shard for the rest");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_names_are_in_order_to_be_searched() {
        assert!(super::OTHERS.is_sorted());
    }
}
