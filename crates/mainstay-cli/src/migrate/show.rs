//! What the commands print.

use mainstay_core::{Error, Result};
use mainstay_migrate::{DryRun, Info, Repaired, Report, Told, Validation};
use serde::Serialize;
use serde_json::json;

/// Tells on standard error what happens meanwhile; nothing where JSON is asked for.
pub(crate) fn progress(json: bool) -> impl Fn(Told<'_>) + Send + Sync + 'static {
    move |told| {
        if json {
            return;
        }
        match told {
            Told::Waiting => eprintln!("another process migrates: waiting for it"),
            Told::Begun { name, statements, done } if done > 0 => {
                eprintln!("{name}: going on with statement {} of {statements}", done + 1);
            }
            Told::Begun { name, .. } => eprintln!("{name}"),
            Told::Again { name, attempt, pause, why } => {
                eprintln!("{name}: {why}\n  attempt {attempt} in {pause:.1?}");
            }
            Told::Note(text) => eprintln!("note: {text}"),
            Told::Done { name, took } => eprintln!("{name}: done in {took:.1?}"),
            _ => {}
        }
    }
}

pub(crate) fn as_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::user(e.to_string()))?;
    println!("{text}");
    Ok(())
}

pub(crate) fn report(report: &Report, done: &str, json: bool) -> Result<()> {
    if json {
        return as_json(report);
    }
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    let version = report.version.as_deref().unwrap_or("none");
    match report.applied.len() {
        0 => println!("nothing to do; version {version}"),
        1 => println!("1 migration {done}; version {version}"),
        n => println!("{n} migrations {done}; version {version}"),
    }
    Ok(())
}

pub(crate) fn dry_run(scripts: &[DryRun], json: bool) -> Result<()> {
    if json {
        let all: Vec<_> = scripts
            .iter()
            .map(|script| {
                let statements: Vec<_> = script
                    .statements
                    .iter()
                    .map(|s| json!({"line": s.line, "column": s.column, "sql": s.text}))
                    .collect();
                json!({
                    "path": script.path, "version": script.version,
                    "in_transaction": script.in_transaction, "statements": statements,
                })
            })
            .collect();
        return as_json(&all);
    }
    for script in scripts {
        let how = if script.in_transaction {
            "in one transaction"
        } else {
            "statement by statement, since not all can be in one transaction"
        };
        println!("-- {}: {how}", script.path);
        for statement in &script.statements {
            println!("{};", statement.text);
        }
        println!();
    }
    if scripts.is_empty() {
        println!("-- nothing to do");
    }
    Ok(())
}

pub(crate) fn info(info: &Info, json: bool) -> Result<()> {
    if json {
        return as_json(info);
    }
    println!("Schema version: {}\n", info.version.as_deref().unwrap_or("<< Empty Schema >>"));
    let titles =
        ["Category", "Version", "Description", "Type", "Installed On", "State", "Undoable"];
    let undoable = |yes: Option<bool>| match yes {
        Some(true) => "Yes",
        Some(false) => "No",
        None => "",
    };
    let rows: Vec<_> = info
        .migrations
        .iter()
        .map(|m| {
            [
                m.category.to_owned(),
                m.version.clone().unwrap_or_default(),
                m.description.clone(),
                m.kind.clone(),
                m.installed_on.clone().unwrap_or_default(),
                m.state.to_string(),
                undoable(m.undoable).to_owned(),
            ]
        })
        .collect();
    print!("{}", table(titles, &rows));
    Ok(())
}

/// A table with rulers, as Flyway's users know it.
pub(crate) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| console::measure_text_width(&row[column]));
        cells.max().unwrap_or(0).max(titles[column].len())
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let ruler: Vec<_> = widths.iter().map(|w| "-".repeat(w + 2)).collect();
    let ruler = format!("+{}", ruler.join("+"));
    let line = |cells: &[&str]| -> String {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            format!("| {} ", console::pad_str(cell, *width, console::Alignment::Left, None))
        });
        cells.collect::<String>() + "|\n"
    };
    let mut out = format!("{ruler}+\n{}{ruler}+\n", line(&titles));
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        out += &line(&cells);
    }
    if rows.is_empty() {
        out += &format!(
            "| {} |\n",
            console::pad_str(
                "No migrations found",
                ruler.len() - 3,
                console::Alignment::Left,
                None
            )
        );
    }
    out + &ruler + "+\n"
}

/// Errors: what was found.
pub(crate) fn validation(found: Validation, json: bool) -> Result<()> {
    if json {
        as_json(&found)?;
    } else {
        for warning in &found.warnings {
            println!("warning[{}]: {}\n  fix: {}", warning.code, warning.what, warning.fix);
        }
        if found.problems.is_empty() {
            println!("what was applied is what the files say");
        }
    }
    found.check()
}

pub(crate) fn repaired(repaired: &Repaired, json: bool) -> Result<()> {
    if json {
        return as_json(repaired);
    }
    let all = [
        ("taken out of the history: failed", &repaired.removed),
        ("marked as deleted: no file", &repaired.deleted),
        ("made to say what the file does", &repaired.realigned),
    ];
    for (what, names) in all {
        for name in names {
            println!("{name}: {what}");
        }
    }
    if all.iter().all(|(_, names)| names.is_empty()) {
        println!("nothing to repair");
    }
    Ok(())
}
