//! The lab's results, for a person or as JSON.

use console::style;
use serde::Serialize;

use super::deadlock::Report;
use super::isolation::{Matrix, Verdict};
use super::scenarios::ANOMALIES;

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

fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{error}"),
    }
}
