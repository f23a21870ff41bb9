//! The lab's results, for a person or as JSON.

mod indexes;
mod pools;
mod routes;

use console::style;
use mainstay_doctor::{Finding, Severity};
use serde::Serialize;

use super::deadlock::Report;
use super::isolation::{Matrix, Verdict};
use super::scenarios::ANOMALIES;
use super::{Covering, Exhaustion, Lag, Leak, LeftPrefix, NPlusOne, Skew};

pub(super) fn matrix(matrix: &Matrix, as_json: bool) {
    if as_json {
        return json(matrix);
    }
    print!("{}", text(matrix));
}

/// The matrix as text: a row an anomaly, a column a level.
fn text(matrix: &Matrix) -> String {
    let mut out = format!("{}\n\n{:<44}", style(&matrix.server).bold(), "");
    for row in &matrix.levels {
        let mark = if row.default { "*" } else { "" };
        out += &format!("{:<19}", format!("{}{mark}", row.level));
    }
    out = out.trim_end().to_owned() + "\n";
    for (number, anomaly) in ANOMALIES.iter().enumerate() {
        out += &format!("{:<44}", format!("{:<9} {}", anomaly.id, anomaly.name));
        for row in &matrix.levels {
            let cell = &row.cells[number];
            let (sign, how) = match cell.verdict {
                Verdict::Prevented => (style("✓").green(), short(&cell.how)),
                Verdict::PreventedForReads => (style("R/O").yellow(), String::new()),
                Verdict::Possible => (style("—").red(), String::new()),
            };
            let width = if cell.verdict == Verdict::PreventedForReads { 3 } else { 1 };
            out += &format!("{sign} {how:<0$}", 18 - width);
        }
        out = out.trim_end().to_owned() + "\n";
    }
    out += "\n✓ prevented; where not by what is seen alone: w waits, c conflict (DB-030), d deadlock (DB-031)\n";
    out +=
        "— it happens   R/O prevented for a transaction that only reads   * the default level\n\n";
    for anomaly in ANOMALIES {
        out += &format!("{:<9} {}\n", anomaly.id, style(anomaly.about).dim());
    }
    out
}

fn short(how: &std::collections::BTreeSet<String>) -> String {
    let mut signs: Vec<&str> = how
        .iter()
        .map(|how| match how.as_str() {
            "waits" => "w",
            "DB-030" => "c",
            "DB-031" => "d",
            other => other,
        })
        .collect();
    signs.sort_unstable();
    signs.join(" ")
}

pub(super) fn deadlock(report: &Report, as_json: bool) {
    if as_json {
        return json(report);
    }
    println!();
    match &report.deadlock {
        Some(deadlock) => println!("{deadlock}\n"),
        None => println!(
            "no deadlock: this engine lets one transaction write at a time, the other waited\n"
        ),
    }
    let rows: Vec<String> =
        report.rows.iter().map(|(id, value)| format!("row {id} is {value}")).collect();
    println!(
        "{} both are committed, in {} attempts: {}",
        style("✓").green(),
        report.attempts,
        rows.join(", ")
    );
}

pub(super) fn n_plus_one(report: &NPlusOne, as_json: bool) {
    either(report, as_json, pools::n_plus_one);
}

pub(super) fn exhaustion(report: &Exhaustion, as_json: bool) {
    either(report, as_json, pools::exhaustion);
}

pub(super) fn leak(report: &Leak, as_json: bool) {
    either(report, as_json, pools::leak);
}

pub(super) fn left_prefix(report: &LeftPrefix, as_json: bool) {
    either(report, as_json, indexes::left_prefix);
}

pub(super) fn covering(report: &Covering, as_json: bool) {
    either(report, as_json, indexes::covering);
}

pub(super) fn lag(report: &Lag, as_json: bool) {
    either(report, as_json, routes::lag);
}

pub(super) fn skew(report: &Skew, as_json: bool) {
    either(report, as_json, routes::skew);
}

fn either<T: Serialize>(report: &T, as_json: bool, text: fn(&T) -> String) {
    if as_json {
        return json(report);
    }
    print!("{}", text(report));
}

fn heading(what: &str) -> String {
    format!("\n{}\n\n", style(what).bold().underlined())
}

fn good(what: &str) -> String {
    format!("\n{} {what}\n", style("✓").green())
}

fn bad(what: &str) -> String {
    format!("\n{} {what}\n", style("✗").red())
}

fn dim(what: &str) -> String {
    let lines: Vec<String> = what.lines().map(|line| style(line).dim().to_string()).collect();
    lines.join("\n") + "\n"
}

/// Moved in, so that what others print is told from what the lab says.
fn boxed(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Findings as the doctor prints them, under a title.
fn said(title: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("\n{}: nothing\n", style(title).bold());
    }
    let mut out = format!("\n{}\n", style(title).bold());
    for finding in findings {
        let text = boxed(&finding.to_string());
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let first = match finding.severity {
            Severity::Hint => style(first).cyan(),
            Severity::Warning => style(first).yellow(),
            Severity::Error => style(first).red(),
        };
        out += &format!("{first}\n{rest}\n");
    }
    out
}

/// Columns side by side: texts at the left, figures at the right.
fn grid(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].chars().count()]).max().unwrap_or(0)
    };
    let is_text = |at: usize| at == 0 || ["how", "doctor", "placed by"].contains(&head[at]);
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for (at, cell) in cells.into_iter().enumerate() {
            let gap = " ".repeat(width(at) - cell.chars().count());
            out += &if is_text(at) { format!("  {cell}{gap}") } else { format!("  {gap}{cell}") };
        }
        out.trim_end().to_owned()
    };
    let mut out = format!("{}\n", style(line(head.to_vec())).dim());
    for row in rows {
        out += &format!("{}\n", line(row.iter().map(String::as_str).collect()));
    }
    out
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn micros(us: u64) -> String {
    match us {
        0 => "0".to_owned(),
        1..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_at_the_right_and_texts_at_the_left() {
        console::set_colors_enabled(false);
        let rows = [["a = 1", "✓ (a, b)", "16"], ["b = 200", "-", "100,000"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        insta::assert_snapshot!(grid(&["", "how", "rows"], &rows), @r"
                   how          rows
          a = 1    ✓ (a, b)       16
          b = 200  -         100,000
        ");
    }

    #[test]
    fn figures_are_short() {
        let all = [(0, "0"), (7, "7"), (1234, "1,234"), (1_234_567, "1,234,567")];
        assert!(all.iter().all(|(count, text)| thousands(*count) == *text));
        let all = [(0, "0"), (999, "999 µs"), (1999, "1.9 ms"), (1_250_000, "1.2 s")];
        assert!(all.iter().all(|(us, text)| micros(*us) == *text));
    }
}
