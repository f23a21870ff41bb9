//! Reads a statement scope by scope: which tables each SELECT, UPDATE or DELETE has, what its conditions compare, and
//! what it sorts by. A column that is none of the scope's is a value there: it comes from outside.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use mainstay_db::Engine;
use sqlparser::ast::{
    Expr, FromTable, Function, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint,
    JoinOperator, LimitClause, ObjectName, OrderByExpr, OrderByKind, OrderBySort, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, TableWithJoins,
    UpdateTableFromKind, Value, Visit, Visitor,
};

use super::facts::{Access, Facts, conjuncts, ident};
use super::index::{Key, Term};
use super::table::Table;

/// The tables that are in sight, with what is asked of each.
pub(crate) struct Scope {
    pub(crate) accesses: Vec<Access>,
}

pub(crate) struct Reader<'a> {
    pub(crate) tables: &'a [Table],
    pub(crate) engine: Engine,
    pub(crate) facts: Facts,
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.query(query, None);
        ControlFlow::Continue(())
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(tables: &'a [Table], engine: Engine) -> Self {
        Self { tables, engine, facts: Facts::default() }
    }

    pub(crate) fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Update(update) => {
                let mut from = vec![&update.table];
                match &update.from {
                    Some(
                        UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more),
                    ) => from.extend(more),
                    None => {}
                }
                self.change(&from, update.selection.as_ref());
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) =
                    &delete.from;
                let from: Vec<_> = from.iter().chain(delete.using.iter().flatten()).collect();
                self.change(&from, delete.selection.as_ref());
            }
            _ => {}
        }
        let _ = statement.visit(self);
    }

    /// Rows that are changed are read whole.
    fn change(&mut self, from: &[&TableWithJoins], selection: Option<&Expr>) {
        let mut scope = self.scope(from);
        self.joins(from, &mut scope);
        if let Some(expr) = selection {
            self.condition(expr, &mut scope);
        }
        self.finish(scope);
    }

    /// A query whose rows are compared with something, if `joined`, by its only column.
    fn query(&mut self, query: &Query, joined: Option<()>) {
        let limited = self.limit(query);
        let order = match &query.order_by {
            Some(order) => match &order.kind {
                OrderByKind::Expressions(all) => all.as_slice(),
                OrderByKind::All(_) => &[],
            },
            None => &[],
        };
        let locked = !query.locks.is_empty();
        self.body(&query.body, order, limited, locked, joined.is_some());
    }

    fn body(
        &mut self,
        body: &SetExpr,
        order: &[OrderByExpr],
        limited: bool,
        locked: bool,
        joined: bool,
    ) {
        match body {
            SetExpr::Select(select) => self.select(select, order, limited, locked, joined),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, &[], false, locked, joined);
                self.body(right, &[], false, locked, joined);
            }
            SetExpr::Update(statement) | SetExpr::Delete(statement) => self.statement(statement),
            _ => {}
        }
    }

    fn limit(&mut self, query: &Query) -> bool {
        let placeholder = |expr: &Expr| placeholder(expr);
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                self.facts.limits.extend(limit.as_ref().and_then(placeholder));
                self.facts.offsets.extend(offset.as_ref().and_then(|o| placeholder(&o.value)));
                limit.is_some()
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.facts.limits.extend(placeholder(limit));
                self.facts.offsets.extend(placeholder(offset));
                true
            }
            None => query.fetch.is_some(),
        }
    }

    fn select(
        &mut self,
        select: &Select,
        order: &[OrderByExpr],
        limited: bool,
        locked: bool,
        joined: bool,
    ) {
        let from: Vec<_> = select.from.iter().collect();
        let mut scope = self.scope(&from);
        if scope.accesses.is_empty() {
            return;
        }
        self.joins(&from, &mut scope);
        if let Some(expr) = &select.selection {
            self.condition(expr, &mut scope);
        }
        if joined
            && let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
                select.projection.as_slice()
            && let Some((at, term)) = self.term(expr, &scope)
        {
            scope.accesses[at].joins.push(term);
        }
        let grouped = !matches!(&select.group_by, sqlparser::ast::GroupByExpr::Expressions(all, _) if all.is_empty());
        if !grouped {
            self.sort(select, order, limited, &mut scope);
            self.extreme(select, &mut scope);
        }
        if !locked {
            self.needed(select, order, &mut scope);
        }
        self.finish(scope);
    }

    fn finish(&mut self, scope: Scope) {
        for access in scope.accesses {
            self.facts.mentioned.push((access.alias.clone(), access.table));
            // The visitor comes by a subquery that was read already.
            if access.asks() {
                self.facts.accesses.push(access);
            }
        }
    }

    fn scope(&self, from: &[&TableWithJoins]) -> Scope {
        let mut scope = Scope { accesses: Vec::new() };
        for item in from {
            self.factor(&item.relation, &mut scope);
            item.joins.iter().for_each(|join| self.factor(&join.relation, &mut scope));
        }
        scope
    }

    fn factor(&self, factor: &TableFactor, scope: &mut Scope) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let called = self.called(name);
                let own = called.rsplit('.').next().unwrap_or_default().to_owned();
                let alias = alias.as_ref().map_or(own, |a| ident(&a.name, self.engine));
                let table = self.tables.iter().position(|t| t.called.contains(&called));
                if let Some(table) = table {
                    scope.accesses.push(Access { table, alias, ..Access::default() });
                }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                let inner = self.scope(&[table_with_joins]);
                scope.accesses.extend(inner.accesses);
            }
            _ => {}
        }
    }

    fn called(&self, name: &ObjectName) -> String {
        let parts: Vec<_> =
            name.0.iter().filter_map(|p| p.as_ident()).map(|i| ident(i, self.engine)).collect();
        parts[parts.len().saturating_sub(2)..].join(".")
    }

    fn joins(&mut self, from: &[&TableWithJoins], scope: &mut Scope) {
        for join in from.iter().flat_map(|item| &item.joins) {
            match constraint(&join.join_operator) {
                Some(JoinConstraint::On(expr)) => self.condition(expr, scope),
                Some(JoinConstraint::Using(columns)) => {
                    for column in columns {
                        let name = self.called(column);
                        for access in &mut scope.accesses {
                            if self.tables[access.table].column(&name).is_some() {
                                access.joins.push(Term::Column(name.clone()));
                            }
                        }
                    }
                }
                _ => {}
            }
            if let TableFactor::NestedJoin { table_with_joins, .. } = &join.relation {
                self.joins(&[table_with_joins], scope);
            }
        }
    }

    fn condition(&mut self, expr: &Expr, scope: &mut Scope) {
        for part in conjuncts(expr) {
            self.conjunct(part, scope);
        }
    }

    /// A subquery whose rows are compared with the outer ones: it may be looked up for each of them.
    pub(crate) fn semi_join(&mut self, query: &Query) {
        self.query(query, Some(()));
    }

    /// What is sorted by, as far as it is one table's.
    fn sort(&self, select: &Select, order: &[OrderByExpr], limited: bool, scope: &mut Scope) {
        let mut of = None;
        let mut keys = Vec::new();
        for by in order {
            let expr = self.projected(&by.expr, select);
            let Some((at, term)) = self.term(expr, scope) else { return };
            if *of.get_or_insert(at) != at {
                return;
            }
            let descending = matches!(by.options.sort, Some(OrderBySort::Desc));
            keys.push(Key { descending, nulls_first: by.options.nulls_first, ..Key::of(term) });
        }
        if let Some(at) = of {
            scope.accesses[at].sort = keys;
            scope.accesses[at].limited = limited && select.distinct.is_none();
        }
    }

    /// What a name or number of ORDER BY stands for in the list of what is selected.
    fn projected<'e>(&self, expr: &'e Expr, select: &'e Select) -> &'e Expr {
        let item = |at: usize| match select.projection.get(at) {
            Some(SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) => Some(e),
            _ => None,
        };
        match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(n, _) => {
                    n.parse::<usize>().ok().and_then(|n| item(n.checked_sub(1)?)).unwrap_or(expr)
                }
                _ => expr,
            },
            Expr::Identifier(name) => {
                let aliased = select.projection.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias }
                        if ident(alias, self.engine) == ident(name, self.engine) =>
                    {
                        Some(expr)
                    }
                    _ => None,
                });
                aliased.unwrap_or(expr)
            }
            other => other,
        }
    }

    /// `SELECT max(x)`: the last of an order.
    fn extreme(&self, select: &Select, scope: &mut Scope) {
        let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_slice()
        else {
            return;
        };
        let Expr::Function(function) = expr else { return };
        let name = function.name.to_string().to_lowercase();
        if !matches!(name.as_str(), "min" | "max") || function.filter.is_some() {
            return;
        }
        let Some(argument) = only_argument(function) else { return };
        if let Some((at, term)) = self.term(argument, scope) {
            let descending = name == "max";
            scope.accesses[at].sort = vec![Key { descending, ..Key::of(term) }];
            scope.accesses[at].limited = true;
        }
    }

    fn needed(&self, select: &Select, order: &[OrderByExpr], scope: &mut Scope) {
        let mut all: Vec<Option<BTreeSet<String>>> =
            vec![Some(BTreeSet::new()); scope.accesses.len()];
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => all.iter_mut().for_each(|needed| *needed = None),
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => {
                    let called = self.called(name);
                    for (access, needed) in scope.accesses.iter().zip(&mut all) {
                        if access.alias == called {
                            *needed = None;
                        }
                    }
                }
                _ => {}
            }
        }
        let mut note = |expr: &Expr| {
            if let Some((at, column)) = self.column(expr, scope)
                && let Some(needed) = &mut all[at]
            {
                needed.insert(column);
            }
            ControlFlow::<()>::Continue(())
        };
        let _ = sqlparser::ast::visit_expressions(select, &mut note);
        for by in order {
            let _ = sqlparser::ast::visit_expressions(by, &mut note);
        }
        for (access, needed) in scope.accesses.iter_mut().zip(all) {
            access.needed = needed;
        }
    }

    /// The column of the scope that `expr` is.
    pub(crate) fn column(&self, expr: &Expr, scope: &Scope) -> Option<(usize, String)> {
        let (qualifier, name) = match expr {
            Expr::Identifier(name) => (None, ident(name, self.engine)),
            Expr::CompoundIdentifier(parts) => {
                let [.., qualifier, name] = parts.as_slice() else { return None };
                (Some(ident(qualifier, self.engine)), ident(name, self.engine))
            }
            _ => return None,
        };
        let same = |a: &str, b: &str| match self.engine {
            Engine::Postgres => a == b,
            _ => a.eq_ignore_ascii_case(b),
        };
        scope.accesses.iter().enumerate().find_map(|(at, access)| {
            if qualifier.as_ref().is_some_and(|q| !same(q, &access.alias)) {
                return None;
            }
            let columns = &self.tables[access.table].columns;
            Some((at, columns.iter().find(|c| same(&c.name, &name))?.name.clone()))
        })
    }

    /// The accesses whose columns are in `expr`, and whether there is anything in it that an index can't have.
    pub(crate) fn mentions(
        &self,
        expr: &Expr,
        scope: &Scope,
    ) -> (BTreeSet<usize>, Vec<String>, bool) {
        let (mut at, mut columns, mut open) = (BTreeSet::new(), Vec::new(), false);
        let _ = sqlparser::ast::visit_expressions(expr, |e| {
            match e {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => match self.column(e, scope) {
                    Some((access, column)) => {
                        at.insert(access);
                        if !columns.contains(&column) {
                            columns.push(column);
                        }
                    }
                    None => open = true,
                },
                Expr::Subquery(_) | Expr::Exists { .. } => open = true,
                Expr::Value(value) => open |= matches!(value.value, Value::Placeholder(_)),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        (at, columns, open)
    }

    /// `expr` as what an index can be on, if it is made of one table's columns alone.
    pub(crate) fn term(&self, expr: &Expr, scope: &Scope) -> Option<(usize, Term)> {
        if let Expr::Nested(inner) = expr {
            return self.term(inner, scope);
        }
        if let Some((at, column)) = self.column(expr, scope) {
            return Some((at, Term::Column(column)));
        }
        let (at, columns, open) = self.mentions(expr, scope);
        let at = *at.iter().next().filter(|_| at.len() == 1 && !open)?;
        if self.engine == Engine::MySql {
            return None;
        }
        Some((at, Term::Expression { sql: unqualified(expr), columns }))
    }
}

/// `expr` without the tables' names before its columns.
pub(crate) fn unqualified(expr: &Expr) -> String {
    let mut expr = expr.clone();
    let _ = sqlparser::ast::visit_expressions_mut(&mut expr, |e| {
        if let Expr::CompoundIdentifier(parts) = e
            && let Some(last) = parts.pop()
        {
            *e = Expr::Identifier(last);
        }
        ControlFlow::<()>::Continue(())
    });
    expr.to_string()
}

pub(crate) fn placeholder(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => text.trim_start_matches('$').parse().ok(),
            _ => None,
        },
        // To MySQL's parser a dollar begins a name.
        Expr::Identifier(name) if name.quote_style.is_none() => {
            name.value.strip_prefix('$')?.parse().ok()
        }
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => placeholder(inner),
        _ => None,
    }
}

fn only_argument(function: &Function) -> Option<&Expr> {
    match &function.args {
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some(expr),
            _ => None,
        },
        _ => None,
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::CrossJoin(c)
        | JoinOperator::StraightJoin(c) => Some(c),
        _ => None,
    }
}
