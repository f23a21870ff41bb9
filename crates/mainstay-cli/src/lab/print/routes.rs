//! Where reads and rows go: replication-lag, shard-skew.

use console::style;

use super::{bad, dim, good, grid, heading, thousands};
use crate::lab::{Case, Lag, Skew};

pub(super) fn lag(report: &Lag) -> String {
    let mut out = heading("a replica that is behind what was just written");
    out += &format!(
        "{}: a private primary, and a replica that applies what is {} ms old.\n\n",
        report.engine, report.delay_ms
    );
    for moment in &report.timeline {
        let mark = if moment.stale { style("✗ stale").red().to_string() } else { String::new() };
        let line = format!("  {:>6} ms  {:<8} {}", moment.at_ms, moment.server, moment.what);
        out += &format!("{}\n", format!("{line}  {mark}").trim_end());
    }
    out += "\nEach pair is a write through the primary and the read after it.\n\n";
    let rows: Vec<Vec<String>> = report
        .pairs
        .iter()
        .map(|pairs| {
            vec![
                pairs.how.clone(),
                format!("{} of {}", pairs.stale, pairs.pairs),
                pairs.by_replica.to_string(),
                pairs.by_primary.to_string(),
            ]
        })
        .collect();
    out += &grid(&["", "stale", "by the replica", "by the primary"], &rows);
    let own = report.pairs.iter().skip(1);
    out + &match own.map(|pairs| pairs.stale).sum::<u32>() {
        0 => good(
            "a read waits for no replica that is behind: it goes to the primary, and back to the replica when that has it",
        ),
        stale => bad(&format!("{stale} reads were shown what was before")),
    }
}

pub(super) fn skew(report: &Skew) -> String {
    let mut out = heading("where rows are, and where the next ones go");
    out += &format!(
        "{} rows of each kind of key on four shards, and {} more (seed {}).\n\n",
        thousands(report.rows),
        thousands(report.next),
        report.seed
    );
    let rows: Vec<Vec<String>> = report.cases.iter().map(row).collect();
    out += &grid(&["", "placed by", "a", "b", "c", "d", "e", "max/mean", "next rows"], &rows);
    out += &dim(
        "max/mean: the largest shard by the mean of all. next rows: the shard that gets most of those that come now.",
    );
    out += &good(
        "a range by time has one hot shard, always the last; a hash has none. A tenant that is larger than a shard's part is\n  \
         pinned to one of its own, or its rows are spread by a second part of the key",
    );
    out
}

fn row(case: &Case) -> Vec<String> {
    let of = |name: &str| {
        let found = case.shards.iter().find(|(own, _)| own == name);
        found.map_or_else(String::new, |(_, rows)| thousands(*rows))
    };
    let sign = if case.cure { "✓" } else { "✗" };
    let mut cells = vec![case.keys.clone(), format!("{sign} {}", case.placement)];
    cells.extend(["a", "b", "c", "d", "e"].map(of));
    cells.push(format!("{:.2}", case.max_by_mean));
    cells.push(format!("{} {:>3.0} %", case.hottest.0, case.hottest.1));
    cells
}
