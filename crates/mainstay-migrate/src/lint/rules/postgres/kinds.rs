//! Types that a new column is better without.

use mainstay_core::Code;

use super::super::super::parse::{ColumnDef, Name};
use super::super::{Case, types};

pub(super) fn check(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let name = &column.name;
    if matches!(
        column.kind.as_str(),
        "serial" | "bigserial" | "smallserial" | "serial4" | "serial8"
    ) && !case.server.before(10, 0, 0)
    {
        case.report(
            Code::LintSerial,
            Some(table),
            format!("{table}.{name} is {}", column.kind),
            "its sequence is an object of its own, with rights of its own, and any INSERT may give \
             a number that the sequence comes to later",
            format!("{name} bigint GENERATED ALWAYS AS IDENTITY"),
        );
    }
    let kind = types::postgres(&column.kind);
    let (code, what, why, fix) = match kind.base.as_str() {
        "timestamp without time zone" => (
            Code::LintTimestamp,
            "keeps a time without saying where",
            "the same value is another moment for each session's time zone; with a time zone it \
             takes the same 8 bytes",
            "timestamptz",
        ),
        "json" => (
            Code::LintJson,
            "is kept as text",
            "json has no equality, so DISTINCT, GROUP BY and UNION fail on it, and it is parsed \
             anew by every query",
            "jsonb",
        ),
        "character" => (
            Code::LintCharType,
            "is padded with spaces",
            "they take room, are dropped by some functions and kept by others, and make nothing \
             faster",
            "text, with CHECK (length(...) <= N) where a limit is needed",
        ),
        _ => return,
    };
    case.report(code, Some(table), format!("{table}.{name} {what}"), why, format!("{name} {fix}"));
}
