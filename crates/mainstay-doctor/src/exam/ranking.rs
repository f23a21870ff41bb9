//! The statements that take the most time: kept for the report, and told of where one takes too large a part.

use mainstay_core::Code;

use super::ctx::{Answer, Ctx};
use super::report::Statement;
use super::words;
use crate::finding::Severity;

/// One that takes this part of all time is worth a word,
const SHARE_MIN: f64 = 0.3;
/// if it takes this long on average,
const MEAN_MIN_MS: f64 = 50.0;
/// and this long altogether.
const TOTAL_MIN_MS: f64 = 60_000.0;

/// `statements`, the dearest first, of all that took `all_ms`.
pub(super) fn ranked(ctx: &mut Ctx, statements: Vec<Statement>, all_ms: f64) -> Answer {
    let engine = ctx.engine();
    let dominating = statements.iter().filter(|statement| dominates(statement, all_ms));
    let found = dominating.map(|statement| {
        let share = words::percent(statement.total_ms() / all_ms);
        let text = words::statement(&statement.text, engine);
        let evidence = vec![format!(
            "{} calls of {} on average, {} rows",
            words::number(statement.calls),
            words::time(statement.mean_ms / 1e3),
            words::number(statement.rows)
        )];
        let what = format!("one statement takes {share} of the time: {text}");
        let fix = Code::DoctorStatementDominates.fix().to_owned();
        ctx.finding((Code::DoctorStatementDominates, Severity::Hint), what, evidence, fix)
    });
    let found: Vec<_> = found.collect();
    let seen = words::count(statements.len(), "statement", "statements");
    ctx.statements = statements;
    ctx.judged(found, format!("{seen}, none takes too large a part"))
}

fn dominates(statement: &Statement, all_ms: f64) -> bool {
    let total = statement.total_ms();
    total >= all_ms * SHARE_MIN && statement.mean_ms >= MEAN_MIN_MS && total >= TOTAL_MIN_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_and_often_dominates() {
        let of = |calls, mean_ms| Statement { text: String::new(), calls, mean_ms, rows: 0 };
        assert!(dominates(&of(1_000, 100.0), 200_000.0));
        assert!(!dominates(&of(1_000_000, 0.1), 100_000.0), "quick ones are only many");
        assert!(!dominates(&of(1_000, 100.0), 1_000_000.0), "others take more");
        assert!(!dominates(&of(10, 100.0), 1_000.0), "it has hardly run");
    }
}
