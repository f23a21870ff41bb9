//! The fix of an N+1 as code, made of the statement's own text.

use super::nplus1::Proof;
use crate::trace::{Sql, Use};

/// What to write instead.
pub(super) fn of(sql: &Sql, proof: &Proof<'_>) -> String {
    let Some(slot) = sql.slots.get(proof.slot) else { return String::from(GENERAL) };
    let Some(column) = slot.column.as_deref().filter(|_| slot.role != Use::Call) else {
        return String::from(GENERAL);
    };
    let numbered = !sql.text.contains('?') && !sql.text.contains('`');
    let head = sql.text.get(..slot.span.start).unwrap_or_default();
    let rest = sql.text.get(slot.span.end..).unwrap_or_default();
    let token = sql.text.get(slot.span.clone()).filter(|t| t.starts_with('$')).unwrap_or("$1");
    let (head, rest) = match slot.role {
        Use::In => (head.trim_end_matches([' ', '(']), rest.trim_start().trim_start_matches(')')),
        _ => (head.trim_end().trim_end_matches('='), rest),
    };
    let strip = |h: &str| {
        let upper = h.trim_end().to_ascii_uppercase();
        h.trim_end()[..upper.strip_suffix(" IN").map_or(upper.len(), str::len)].to_owned()
    };
    let head = if slot.role == Use::In { strip(head) } else { head.trim_end().to_owned() };
    let many = if numbered {
        format!("{head} = ANY({token}){rest}")
    } else {
        format!("{head} IN (..){rest}")
    };
    let line = many.split_whitespace().collect::<Vec<_>>().join(" ");
    let keys = proof.column.as_deref().unwrap_or("id");
    let mut out = format!(
        "once, before the loop: `{line}` with the values of `{keys}`, then by `{column}` in a HashMap"
    );
    if numbered {
        out += &format!(
            "\n(SQLite: `{column} IN (SELECT value FROM json_each({token}))`; MySQL: `IN (..)`, made with sea-query)"
        );
    }
    let tables = (proof.parent.sql.table.as_deref(), sql.table.as_deref());
    if let (Some(parent), Some(child), Some(of)) = (tables.0, tables.1, proof.column.as_deref())
        && !sql.verb.writes()
        && parent != child
    {
        let at = proof.parent.site.as_deref().map(|s| format!(" at {s}")).unwrap_or_default();
        out += &format!(
            "\nor in the statement{at}: `JOIN {child} ON {child}.{column} = {parent}.{of}`"
        );
    }
    out
}

const GENERAL: &str = "load all of them with one statement before the loop: a JOIN, or `= ANY($1)` with the keys, or a loader";
