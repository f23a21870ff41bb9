//! Where statements go: errors over the labelled corpus and nanoseconds of a decision, beside the rules of usual splitters.

use std::hint::black_box;

use mainstay::Engine;
use mainstay::route::{Classifier, Where, classify};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use sqlparser::parser::Parser;

use super::labelled::{Labelled, corpus};
use super::nanos;
use crate::report::{Better, Case};

/// A rule of others: whether a statement goes to a replica.
type Rule = fn(&str, Engine) -> bool;

const RULES: [(&str, Rule); 3] = [
    ("begins with SELECT", |sql, _| begins(sql, "select")),
    ("SELECT and no FOR UPDATE", |sql, _| {
        begins(sql, "select") && !sql.to_lowercase().contains("for update")
    }),
    ("parsed, and a query", is_query),
];

const TEXTS: [(&str, &str); 3] = [
    ("47 characters", "SELECT id, name, email FROM users WHERE id = $1"),
    (
        "a join of 220",
        "SELECT o.id, o.placed_at, sum(i.cents * i.quantity) AS cents FROM orders o JOIN items i ON i.order_id = o.id \
         WHERE o.user_id = $1 AND o.placed_at >= now() - interval '30 days' GROUP BY o.id ORDER BY o.placed_at DESC LIMIT 50",
    ),
    (
        "an UPDATE of 74",
        "UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1",
    ),
];

pub(super) fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for (engine, name) in [(Engine::Postgres, "PostgreSQL"), (Engine::MySql, "MySQL")] {
        cases.extend(errors(engine, name));
    }
    for (name, sql) in TEXTS {
        cases.extend(times(name, sql));
    }
    cases
}

fn errors(engine: Engine, name: &str) -> [Case; 2] {
    let all = corpus(engine);
    let (reads, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.to == Where::Replica);
    let sent = |of: &[&Labelled], rule: &dyn Fn(&str) -> bool| {
        of.iter().filter(|one| rule(&one.sql)).count() as f64
    };
    let ours = |sql: &str| classify(sql, engine).to == Where::Replica;
    let wrong =
        format!("sent to a replica, of {} statements for the primary, {name}", others.len());
    let seen = format!("seen as reads, of {} reads, {name}", reads.len());
    let share = |found: f64| found * 100.0 / reads.len() as f64;
    let mut wrong = Case::new(wrong, "count", Better::Lower, sent(&others, &ours));
    let mut seen = Case::new(seen, "%", Better::Higher, share(sent(&reads, &ours)));
    for (rule, goes) in RULES {
        let goes = |sql: &str| goes(sql, engine);
        wrong = wrong.peer(rule, sent(&others, &goes));
        seen = seen.peer(rule, share(sent(&reads, &goes)));
    }
    [wrong, seen]
}

fn begins(sql: &str, word: &str) -> bool {
    sql.trim_start().get(..word.len()).is_some_and(|first| first.eq_ignore_ascii_case(word))
}

fn is_query(sql: &str, engine: Engine) -> bool {
    let dialect: &dyn Dialect =
        if engine == Engine::MySql { &MySqlDialect {} } else { &PostgreSqlDialect {} };
    let parsed = Parser::parse_sql(dialect, sql).unwrap_or_default();
    matches!(parsed[..], [sqlparser::ast::Statement::Query(_)])
}

fn times(name: &str, sql: &str) -> [Case; 2] {
    let engine = Engine::Postgres;
    let classifier = Classifier::new(engine);
    let kept = nanos(200_000, || {
        black_box(classifier.of(black_box(sql)));
    });
    let anew = nanos(2_000, || drop(black_box(classify(black_box(sql), engine))));
    let rule = |at: usize, count: usize| {
        let (name, goes) = RULES[at];
        let took = nanos(count, || {
            black_box(goes(black_box(sql), engine));
        });
        (name, took)
    };
    let (prefix, parsed) = (rule(0, 200_000), rule(2, 2_000));
    [
        Case::new(format!("a decision that is kept, {name}"), "ns", Better::Lower, kept)
            .peer(prefix.0, prefix.1),
        Case::new(format!("a decision anew, {name}"), "ns", Better::Lower, anew)
            .peer("sqlparser alone", parsed.1),
    ]
}
