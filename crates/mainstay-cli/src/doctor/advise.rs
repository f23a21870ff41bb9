//! `mainstay doctor advise`: the indexes that a workload lacks, and the migrations that create them.

use std::path::{Path, PathBuf};

use clap::Args;
use console::style;
use mainstay_core::{Code, Error, Result};
use mainstay_doctor::advice::{Advice, Options, Suggestion, advise, workload};
use mainstay_migrate::Migrations;

use super::place::{Place, as_json, close};

/// A workload to advise on.
#[derive(Debug, Args)]
pub(crate) struct Advise {
    /// A file of statements, one per `;`, with sample values in a comment above: -- binds: [..]; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    workload: Vec<PathBuf>,
    /// Writes a migration for each index into this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Errors: APP-003 where a file can't be read or written, and those of [`advise`].
pub(crate) async fn run(call: Advise) -> Result<()> {
    let db = call.place.connect().await?;
    let options = call.place.options()?;
    let mut queries = Vec::new();
    for path in &call.workload {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(Code::Argument, format!("{} can't be read", path.display())).cause(e)
        })?;
        queries.extend(workload(&text, db.engine()));
    }
    let advice = advise(&db, &queries, &options).await?;
    close(db).await?;
    if let Some(folder) = &call.save {
        for path in save(folder, &advice)? {
            eprintln!("{}", path.display());
        }
    }
    if call.place.json {
        return as_json(&advice);
    }
    print(&advice, &options);
    Ok(())
}

/// What people read.
pub(crate) fn print(advice: &Advice, options: &Options) {
    for finding in advice.findings(&options.clock) {
        let text = finding.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        // How often, and when, is for what is observed again and again.
        let rest: Vec<&str> = rest.lines().filter(|line| !line.starts_with(" seen:")).collect();
        println!("\n{}\n{}", style(first).bold(), rest.join("\n"));
    }
    let (count, of) = (advice.suggestions.len(), advice.statements);
    let (indexes, s) =
        (if count == 1 { "index is" } else { "indexes are" }, if of == 1 { "" } else { "s" });
    println!("\n{count} {indexes} missing for {of} statement{s}");
    for note in &advice.notes {
        println!("note: {note}");
    }
}

/// Writes a migration for each index: a file of its own, since one that fails leaves the others done. Answers their paths.
pub(crate) fn save(folder: &Path, advice: &Advice) -> Result<Vec<PathBuf>> {
    let failed = |path: &Path, e: std::io::Error| {
        Error::new(Code::Argument, format!("{} can't be written", path.display())).cause(e)
    };
    std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    let first = Migrations::new().folder(folder.display().to_string()).next_version()?;
    let mut out = Vec::new();
    for (at, suggestion) in advice.suggestions.iter().enumerate() {
        // Where versions are times, the next one would be the same.
        let version = if at == 0 { first.clone() } else { format!("{first}_{at}") };
        let words: String = suggestion
            .name
            .chars()
            .map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' })
            .collect();
        let path = folder.join(format!("V{version}__{words}.sql"));
        std::fs::write(&path, migration(suggestion)).map_err(|e| failed(&path, e))?;
        out.push(path);
    }
    Ok(out)
}

fn migration(suggestion: &Suggestion) -> String {
    let mut text = format!(
        "-- cost {:.0} -> {:.0}, verified by {}\n",
        suggestion.cost.before, suggestion.cost.after, suggestion.verified_by
    );
    for served in &suggestion.serves {
        let sql = served.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        text += &format!("-- serves: {sql}\n");
    }
    text + &suggestion.ddl + ";\n"
}
