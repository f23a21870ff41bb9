//! What queries read, before and after: index-left-prefix, covering-index.

use console::style;
use mainstay_doctor::Finding;

use super::{bad, boxed, dim, good, grid, heading, micros, said, thousands};
use crate::lab::{Access, Covering, LeftPrefix, Measured};

pub(super) fn left_prefix(report: &LeftPrefix) -> String {
    let mut out = heading("which queries an index on several columns serves");
    out += &format!(
        "{} rows with an index on ({}). It is sorted by a, then b, then c, as a telephone book is by name and first\n\
         name: what does not name a is all over it.\n\n",
        thousands(u64::from(report.rows)),
        report.columns
    );
    out += &format!("{}\n", style(format!("With the index on ({}) alone", report.columns)).bold());
    out += &queries(&report.before, report);
    // Of each kind one: the others are the same of another query.
    let mut plans: Vec<Finding> = Vec::new();
    for finding in report.before.iter().flat_map(|query| &query.findings) {
        if plans.iter().all(|known| known.code != finding.code) {
            plans.push(finding.clone());
        }
    }
    if !plans.is_empty() {
        out += &said("What the doctor says of the plans", &plans);
    }
    out += &said("What the doctor says is missing", &report.advice);
    for note in &report.notes {
        out += &dim(&format!("note: {note}"));
    }
    if report.built.is_empty() {
        return out + &bad("nothing was advised, so nothing was built");
    }
    let keys: Vec<_> = report.built.iter().map(|built| built.key.as_str()).collect();
    out += &format!("\n{}\n", style(format!("With {} beside it", keys.join(" and "))).bold());
    out += &queries(&report.after, report);
    let scans = |all: &[Measured]| all.iter().filter(|m| is_whole(m)).count() as u64;
    let (before, after) = (scans(&report.before), scans(&report.after));
    out += &if after < before {
        let (of, now) =
            (report.before.len(), if after == 0 { "none".into() } else { count(Some(after)) });
        good(&format!(
            "{before} of {of} queries went through a whole table or index; now {now} of them"
        ))
    } else {
        bad("the index did not help here")
    };
    out
}

fn queries(all: &[Measured], report: &LeftPrefix) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|query| {
            vec![
                format!("WHERE {}", query.what),
                how(query, report),
                count(query.rows_read),
                count(query.pages),
                micros(query.time_us),
                query.findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>().join(" "),
            ]
        })
        .collect();
    let head = ["", "how", "rows read", "pages", "time", "doctor"];
    // What this engine does not tell has no column.
    let told =
        |at: usize| head[at].is_empty() || rows.iter().any(|row| !["", "-"].contains(&&*row[at]));
    let kept: Vec<usize> = (0..head.len()).filter(|at| told(*at)).collect();
    let head: Vec<&str> = kept.iter().map(|at| head[*at]).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| kept.iter().map(|at| row[*at].clone()).collect()).collect();
    grid(&head, &rows)
}

fn is_whole(query: &Measured) -> bool {
    matches!(query.access, Access::Scan | Access::FullIndex)
}

fn how(query: &Measured, report: &LeftPrefix) -> String {
    let index = query.index.as_ref().map(|name| {
        let built = report.built.iter().find(|built| built.name == *name);
        built.map_or_else(|| format!("({})", report.columns), |built| built.key.clone())
    });
    match (query.access, index) {
        (Access::Scan, _) => "✗ the whole table".to_owned(),
        (Access::FullIndex, Some(index)) => format!("✗ all of {index}"),
        (Access::IndexOnly, Some(index)) => format!("✓ {index} alone"),
        (_, Some(index)) => format!("✓ {index}"),
        (_, None) => "-".to_owned(),
    }
}

pub(super) fn covering(report: &Covering) -> String {
    let (before, after) = (&report.before, &report.after);
    let mut out = heading("an index that has all that a query reads");
    out += &format!(
        "{} wide rows. The query asks by customer, and sums up one column more:\n  {}\n\n",
        thousands(u64::from(report.rows)),
        before.sql
    );
    out +=
        "before: an index on (customer), which names the rows; each is then read for its total\n";
    out += &format!("after:  {}\n\n", report.ddl);
    let mut columns = vec!["", "before", "after"];
    let mut all = vec![before, after];
    if let (Some(updated), Some(vacuumed)) = (&report.updated, &report.vacuumed) {
        columns.extend(["updated", "vacuumed"]);
        all.extend([updated, vacuumed]);
    }
    let line = |what: &str, of: &dyn Fn(&Measured) -> String| {
        std::iter::once(what.to_owned()).chain(all.iter().map(|m| of(m))).collect::<Vec<_>>()
    };
    let mut rows = vec![
        line("access", &|m| access(m.access).to_owned()),
        line("rows read", &|m| count(m.rows_read)),
        line("pages", &|m| count(m.pages)),
        line("rows looked up in the table", &|m| count(m.heap_fetches)),
        line("time", &|m| micros(m.time_us)),
    ];
    // What this engine does not tell has no line.
    rows.retain(|row| row[1..].iter().any(|cell| cell != "-"));
    let mut writes = vec![
        "rows inserted a second, at best".to_owned(),
        thousands(report.inserts_before),
        thousands(report.inserts_after),
    ];
    writes.resize(columns.len(), String::new());
    rows.push(writes);
    out += &grid(&columns, &rows);
    out += &plan("before", before);
    out += &plan("after", after);
    if let Some(updated) = &report.updated {
        out += "\nPostgreSQL's index does not know whether a row is visible. After an UPDATE its page has to be asked, until a\n\
                VACUUM has been there:\n";
        out += &plan("updated", updated);
        out += &said("What the doctor says of that plan", &updated.findings);
    }
    out += &said("What the doctor advises with the index on (customer)", &report.advice);
    if report.advice.is_empty() {
        out += &dim(
            "It proposes no wider index where one with the same key is there: whether reading is worth the writing\nis yours to say.",
        );
    }
    out += &if after.access == Access::IndexOnly {
        good("the index alone answers; the table is not read")
    } else {
        bad("the planner reads the table all the same")
    };
    out
}

fn plan(what: &str, measured: &Measured) -> String {
    format!(
        "\n{}\n{}\n",
        style(format!("The plan, {what}")).bold(),
        boxed(measured.plan.trim_end())
    )
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Scan => "the whole table",
        Access::FullIndex => "the whole index",
        Access::Index => "index, then rows",
        Access::IndexOnly => "index alone",
        Access::Other => "-",
    }
}

fn count(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), thousands)
}
