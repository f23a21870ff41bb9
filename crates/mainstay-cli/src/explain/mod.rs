//! `mainstay explain`: what an error code means, a statement's plan with what is wrong with it, or which server it may
//! run on.

mod route;

use std::path::PathBuf;

use clap::Args;
use console::style;
use mainstay_core::{Code, Error, Result, Retry};
use mainstay_doctor::advice::{Query, advise};
use mainstay_doctor::plan::{Explained, explain};
use serde_json::json;

use crate::doctor::place::{Place, as_json};

/// A code, or statements.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A code such as POOL-002, or SQL; all codes if there is none
    what: Option<String>,
    /// Runs a statement that only reads, so that its plan has rows and times
    #[arg(long)]
    analyze: bool,
    /// Values for $1, $2, ... as a JSON array
    #[arg(long, value_name = "JSON")]
    binds: Option<String>,
    /// Draws the plan alone, without looking for an index
    #[arg(long)]
    no_advice: bool,
    /// Says whether each statement may run on a replica, and why, without running it
    #[arg(long, conflicts_with_all = ["analyze", "binds", "no_advice"])]
    route: bool,
    /// With --route: a file of statements
    #[arg(long, value_name = "FILE", requires = "route", conflicts_with = "what")]
    file: Option<PathBuf>,
    /// With --route: whose SQL it is; otherwise the database's tells
    #[arg(long, value_name = "ENGINE", requires = "route")]
    engine: Option<route::Kind>,
    #[command(flatten)]
    place: Place,
}

/// Errors: APP-003, and those of planning, of cutting a text into statements and of connecting.
pub(crate) async fn run(call: Explain) -> Result<()> {
    if call.route {
        return route::run(&call);
    }
    match call.what.as_deref() {
        // No code has a space in it, and no statement has none.
        Some(text) if text.trim().contains(char::is_whitespace) => plan(&call, text).await,
        code => about_code(code),
    }
}

async fn plan(call: &Explain, sql: &str) -> Result<()> {
    let mut query = Query::new(sql.trim().trim_end_matches(';'));
    if let Some(text) = &call.binds {
        query =
            query
                .binds(serde_json::from_str(text).map_err(|e| {
                    Error::new(Code::Argument, "--binds is no JSON array").cause(e)
                })?);
    }
    let db = call.place.connect().await?;
    let options = call.place.options()?;
    let explained = explain(&db, &query, call.analyze, &options).await?;
    let advice = if call.no_advice { None } else { Some(advise(&db, &[query], &options).await?) };
    crate::doctor::place::close(db).await?;
    if call.place.json {
        return as_json(&json!({
            "plan": explained.plan, "findings": explained.findings, "notes": explained.notes, "advice": advice,
        }));
    }
    print_plan(&explained);
    if let Some(advice) = &advice {
        crate::doctor::advise::print(advice, &options);
    }
    Ok(())
}

fn print_plan(explained: &Explained) {
    for line in explained.drawn().lines() {
        match line.split_once('▲') {
            Some((step, codes)) => println!("{step}{}", style(format!("▲{codes}")).yellow()),
            None => println!("{line}"),
        }
    }
    for found in &explained.findings {
        println!("\n{}: {}", style(format!("warning[{}]", found.code)).yellow(), found.what);
        println!("  why: {}\n  fix: {}", found.why, found.code.fix());
    }
    for note in &explained.notes {
        println!("\nnote: {note}");
    }
}

fn about_code(code: Option<&str>) -> Result<()> {
    let Some(text) = code else {
        for code in Code::ALL {
            println!("{:<10} {}", style(code.as_str()).bold(), first_sentence(code.meaning()));
        }
        return Ok(());
    };
    let code = Code::parse(text).ok_or_else(|| unknown(text))?;
    let again = match code.retry() {
        Retry::Never => "no: it would fail again",
        Retry::Transaction => "yes, the whole transaction; the one statement is not enough",
        Retry::Later => "yes, after a while: nothing was done",
        Retry::Unknown => "look first: nobody knows whether it was done",
    };
    println!("{}", style(code.as_str()).bold());
    println!("{}\n", code.meaning());
    println!("  {}  {:?}", style("kind").dim(), code.kind());
    println!(" {}  {again}", style("again").dim());
    println!("   {}  {}", style("fix").dim(), code.fix());
    Ok(())
}

fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or(text).trim()
}

fn unknown(text: &str) -> Error {
    let what = format!("there is no error code `{text}`");
    let family = text.split('-').next().unwrap_or(text).to_uppercase();
    let near: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| code.split('-').next() == Some(family.as_str()))
        .collect();
    let fix = match near.as_slice() {
        [] => "run `mainstay explain` for all codes".to_owned(),
        near => format!("one of {}", near.join(", ")),
    };
    Error::new(Code::Argument, what).fix(fix)
}
