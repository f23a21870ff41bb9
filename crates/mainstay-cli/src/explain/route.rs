//! `mainstay explain --route`: which server each statement may run on, and why. It asks no server.

use clap::ValueEnum;
use console::{measure_text_width, pad_str, style, truncate_str};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use mainstay_migrate::split;
use mainstay_route::{Decision, Where, classify};
use serde::Serialize;

use super::Explain;
use crate::doctor::place::as_json;

/// Columns of a statement that are shown.
const SHOWN: usize = 72;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// PostgreSQL
    Postgres,
    /// MySQL and MariaDB
    Mysql,
    /// SQLite
    Sqlite,
}

impl From<Kind> for Engine {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => Engine::Postgres,
            Kind::Mysql => Engine::MySql,
            Kind::Sqlite => Engine::Sqlite,
        }
    }
}

/// What is told of a statement.
#[derive(Serialize)]
struct Routed {
    line: usize,
    sql: String,
    #[serde(flatten)]
    decision: Decision,
}

/// Errors: APP-003 where there is nothing to look at, CFG-001 to CFG-004, and those of [`split`].
pub(super) fn run(call: &Explain) -> Result<()> {
    let text = match (&call.file, &call.what) {
        (Some(path), _) => std::fs::read_to_string(path).map_err(|e| {
            Error::new(Code::Argument, format!("{} can't be read", path.display())).cause(e)
        })?,
        (None, Some(sql)) => sql.clone(),
        (None, None) => {
            return Err(Error::new(Code::Argument, "--route has no statement")
                .fix("give it as an argument, or a file of statements by --file"));
        }
    };
    let routed = routed(&text, engine(call)?)?;
    if call.place.json {
        return as_json(&routed);
    }
    print(&routed);
    Ok(())
}

fn engine(call: &Explain) -> Result<Engine> {
    if let Some(kind) = call.engine {
        return Ok(kind.into());
    }
    let target = call.place.target()?;
    if target.is_own() {
        return Err(Error::new(Code::Argument, "whose SQL it is, is not known")
            .fix("give --engine postgres, mysql or sqlite, or a database by --url"));
    }
    target.connect().engine()
}

fn routed(text: &str, engine: Engine) -> Result<Vec<Routed>> {
    let mut end = 0;
    let each = split(text, engine)?.into_iter().map(|statement| {
        // With the comments before it: one of them may be the hint.
        let before =
            text[end..statement.bytes.start].trim_start_matches([';', ' ', '\n', '\r', '\t']);
        end = statement.bytes.end;
        let decision = classify(&format!("{before}{}", statement.text), engine);
        Routed { line: statement.line, sql: statement.text, decision }
    });
    Ok(each.collect())
}

fn print(all: &[Routed]) {
    let shown = |one: &Routed| {
        let line = one.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        truncate_str(&line, SHOWN, "…").into_owned()
    };
    let width = all.iter().map(|one| measure_text_width(&shown(one))).max().unwrap_or(0);
    for one in all {
        let to = match one.decision.to {
            Where::Primary => style("primary").yellow(),
            Where::Replica => style("replica").green(),
        };
        let sql = shown(one);
        let sql = pad_str(&sql, width, console::Alignment::Left, None);
        println!("{to}  {sql}  {}", one.decision.why);
    }
    let replica = all.iter().filter(|one| one.decision.to == Where::Replica).count();
    if all.len() > 1 {
        println!("\n{replica} of {} may run on a replica", all.len());
    }
}
