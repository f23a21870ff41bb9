//! What one part of a condition asks of a table: the forms of comparison that an index serves.

use mainstay_db::Engine;
use sqlparser::ast::{BinaryOperator as Op, Expr, InTarget, UnaryOperator, Value};

use super::facts::{Access, Compared, How, Inside, Test, conjuncts, disjuncts};
use super::index::{Predicate, Term};
use super::scope::{Reader, Scope, placeholder, unqualified};

/// What is compared with.
struct Other {
    /// Whether it has columns of the scope in it, so that it differs from row to row.
    joins: bool,
    /// The constant that it is.
    constant: Option<String>,
}

impl Reader<'_> {
    pub(crate) fn conjunct(&mut self, expr: &Expr, scope: &mut Scope) {
        match expr {
            Expr::Nested(inner) => self.conjunct(inner, scope),
            Expr::BinaryOp { op: Op::Or, .. } => self.either(expr, scope),
            Expr::BinaryOp { left, op, right } => self.compare(expr, left, op, right, scope),
            Expr::Between { expr: tested, negated: false, low, high }
                if !self.other(low, scope).joins && !self.other(high, scope).joins =>
            {
                self.compared(tested, low, false, scope);
                self.compared(tested, high, false, scope);
                self.test(tested, How::Range, None, expr, scope);
            }
            Expr::In { expr: tested, target, negated: false, .. } => match target {
                InTarget::List(items) => {
                    if items.iter().all(|item| !self.other(item, scope).joins) {
                        for item in items {
                            self.compared(tested, item, false, scope);
                        }
                        let constant =
                            items.iter().all(|item| self.other(item, scope).constant.is_some());
                        let only = match items.as_slice() {
                            [one] => self.other(one, scope).constant,
                            _ => None,
                        };
                        let how = if items.len() == 1 { How::Equal } else { How::Among };
                        self.test_if(tested, how, only, constant.then_some(expr), scope);
                    }
                }
                InTarget::Subquery(query) => {
                    if let Some((at, term)) = self.term(tested, scope) {
                        scope.accesses[at].joins.push(term);
                    }
                    self.semi_join(query);
                }
                InTarget::Unnest(_) | InTarget::Table { .. } => {}
            },
            Expr::AnyOp { left, compare_op: Op::Eq, right, .. }
                if !self.other(right, scope).joins =>
            {
                self.compared(left, right, true, scope);
                self.test_if(left, How::Among, None, None, scope);
            }
            Expr::IsNull(tested) => self.test(tested, How::Null, None, expr, scope),
            Expr::IsNotNull(tested) => self.test(tested, How::NotNull, None, expr, scope),
            Expr::IsTrue(tested) => self.test(tested, How::Equal, Some("true"), expr, scope),
            Expr::IsFalse(tested) => self.test(tested, How::Equal, Some("false"), expr, scope),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                self.test(expr, How::Equal, Some("true"), expr, scope);
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr: tested }
                if self.column(tested, scope).is_some() =>
            {
                self.test(tested, How::Equal, Some("false"), expr, scope);
            }
            Expr::Like { negated: false, any: false, expr: tested, pattern, .. } => {
                self.like(tested, pattern, false, scope);
            }
            Expr::ILike { negated: false, any: false, expr: tested, pattern, .. } => {
                self.like(tested, pattern, true, scope);
            }
            _ => {}
        }
    }

    fn compare(&mut self, whole: &Expr, left: &Expr, op: &Op, right: &Expr, scope: &mut Scope) {
        match op {
            Op::Eq => {
                for (tested, with) in [(left, right), (right, left)] {
                    self.equal(whole, tested, with, scope);
                }
            }
            Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
                for (tested, with) in [(left, right), (right, left)] {
                    self.ordered(whole, tested, with, scope);
                }
            }
            Op::NotEq => {
                if let Some(value) = self.other(right, scope).constant {
                    self.test(left, How::NotEqual, Some(&value), whole, scope);
                }
            }
            Op::AtArrow => self.inside(left, right, Some("jsonb_path_ops"), scope),
            Op::Question | Op::QuestionAnd | Op::QuestionPipe | Op::PGOverlap | Op::AtAt => {
                self.inside(left, right, None, scope);
            }
            Op::PGRegexMatch | Op::PGRegexIMatch => {
                self.inside(left, right, Some("gin_trgm_ops"), scope);
            }
            _ => {}
        }
    }

    fn equal(&mut self, whole: &Expr, tested: &Expr, with: &Expr, scope: &mut Scope) {
        if let (Expr::Tuple(all), Expr::Tuple(values)) = (tested, with) {
            for (tested, with) in all.iter().zip(values) {
                self.equal(whole, tested, with, scope);
            }
            return;
        }
        let Some((at, term)) = self.term(tested, scope) else { return };
        let (mentioned, ..) = self.mentions(with, scope);
        if mentioned.contains(&at) {
            return;
        }
        if !mentioned.is_empty() {
            scope.accesses[at].joins.push(term);
            return;
        }
        let constant = self.other(with, scope).constant;
        self.compared(tested, with, false, scope);
        let always = constant.is_some().then_some(whole);
        self.test_if(tested, How::Equal, constant, always, scope);
    }

    fn ordered(&mut self, whole: &Expr, tested: &Expr, with: &Expr, scope: &mut Scope) {
        if let (Expr::Tuple(all), Expr::Tuple(values)) = (tested, with) {
            // Of a row comparison the first decides where the range begins.
            if let (Some(first), Some(value)) = (all.first(), values.first()) {
                self.ordered(first, first, value, scope);
            }
            return;
        }
        if self.other(with, scope).joins {
            return;
        }
        self.compared(tested, with, false, scope);
        let constant = self.other(with, scope).constant.is_some() && whole != tested;
        self.test_if(tested, How::Range, None, constant.then_some(whole), scope);
    }

    /// An OR helps only if each of its arms can be looked up.
    fn either(&mut self, expr: &Expr, scope: &mut Scope) {
        let mut arms: Vec<(usize, Access)> = Vec::new();
        for arm in disjuncts(expr) {
            let blank = |access: &Access| Access {
                table: access.table,
                alias: access.alias.clone(),
                ..Access::default()
            };
            let mut inner = Scope { accesses: scope.accesses.iter().map(blank).collect() };
            for part in conjuncts(arm) {
                self.conjunct(part, &mut inner);
            }
            let asked: Vec<_> =
                inner.accesses.into_iter().enumerate().filter(|(_, a)| a.asks()).collect();
            if asked.is_empty() {
                return;
            }
            arms.extend(asked);
        }
        for (at, arm) in arms {
            scope.accesses[at].arms.push(arm);
        }
    }

    fn like(&mut self, tested: &Expr, pattern: &Expr, any_case: bool, scope: &mut Scope) {
        let Some((at, term)) = self.term(tested, scope) else { return };
        let text = match pattern {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let anchored = text.as_deref().is_some_and(|t| !t.starts_with(['%', '_']));
        // What a placeholder will be is taken for the beginning of a word, unless the samples say otherwise.
        if !any_case && (anchored || placeholder(pattern).is_some()) {
            let test = Test { term: term.clone(), how: How::Prefix, constant: None, value: None };
            scope.accesses[at].tests.push(test);
        }
        let long =
            text.as_deref().is_none_or(|t| t.split(['%', '_']).any(|w| w.chars().count() >= 3));
        if self.engine == Engine::Postgres && (any_case || !anchored) && long {
            scope.accesses[at].inside.push(Inside { term, class: Some("gin_trgm_ops") });
        }
        self.compared(tested, pattern, false, scope);
    }

    fn inside(
        &mut self,
        left: &Expr,
        right: &Expr,
        class: Option<&'static str>,
        scope: &mut Scope,
    ) {
        let Some((at, term)) = self.term(left, scope) else { return };
        if self.other(right, scope).joins || self.engine != Engine::Postgres {
            return;
        }
        // Of arrays and documents of words `@>` and `@@` take the usual class.
        let column = match &term {
            Term::Column(name) => self.tables[scope.accesses[at].table].column(name),
            Term::Expression { .. } => None,
        };
        let kind = column.map(|c| c.kind.as_str());
        let class = match (class, kind) {
            (Some("jsonb_path_ops"), Some(kind)) if kind.ends_with("[]") => None,
            (Some("jsonb_path_ops"), None | Some("jsonb")) => class,
            (Some("jsonb_path_ops"), _) => return,
            (class, _) => class,
        };
        scope.accesses[at].inside.push(Inside { term, class });
    }

    fn test(&self, tested: &Expr, how: How, value: Option<&str>, whole: &Expr, scope: &mut Scope) {
        let always = (how != How::Range).then_some(whole);
        self.test_if(tested, how, value.map(str::to_owned), always, scope);
    }

    fn test_if(
        &self,
        tested: &Expr,
        how: How,
        value: Option<String>,
        always: Option<&Expr>,
        scope: &mut Scope,
    ) {
        let Some((at, term)) = self.term(tested, scope) else { return };
        let constant = always
            .map(|expr| Predicate { sql: unqualified(expr), columns: term.columns().to_vec() });
        let test = Test { term, how, constant, value };
        if !scope.accesses[at].tests.contains(&test) {
            scope.accesses[at].tests.push(test);
        }
    }

    /// Remembers what a placeholder is compared with, so that a value can be found for it.
    fn compared(&mut self, tested: &Expr, with: &Expr, array: bool, scope: &Scope) {
        let (Some(n), Some((at, term))) = (placeholder(with), self.term(tested, scope)) else {
            return;
        };
        let Some(column) = term.columns().first().cloned() else { return };
        let table = scope.accesses[at].table;
        self.facts.compared.entry(n).or_insert(Compared { table, column, array });
    }

    fn other(&self, expr: &Expr, scope: &Scope) -> Other {
        let (at, ..) = self.mentions(expr, scope);
        Other { joins: !at.is_empty(), constant: constant(expr) }
    }
}

/// The value of a literal; nothing for what is another one tomorrow.
fn constant(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => constant(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", constant(expr)?)),
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.clone()),
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Boolean(yes) => Some(yes.to_string()),
            _ => None,
        },
        _ => None,
    }
}
