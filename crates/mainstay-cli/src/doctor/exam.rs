//! `mainstay doctor [--url URL] [--prod]`: a tick, a cross or a dash for each check, and the fix.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use console::style;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_doctor::advice::{self, Advice, Query, Scratch};
use mainstay_doctor::exam::{Check, Checked, Examination, Options, Outcome, Report};
use mainstay_doctor::{Finding, Severity};
use serde::Serialize;

use crate::Exit;
use crate::target::Target;

/// The status of a run that could not examine.
const NOT_EXAMINED: Exit = Exit(2);
/// What advice may take beside users, after an examination of as long.
const PROD_BUDGET: Duration = Duration::from_secs(10);
/// A workload's file is read to the end: it is somebody's log.
const WORKLOAD_MAX_BYTES: u64 = 64 << 20;

/// Which database, and what of it.
#[derive(Debug, Args)]
pub(crate) struct Exam {
    /// The database; by default `DATABASE_URL`, or what mainstay.toml says
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// It serves users: 1 s a statement, 10 s in all, and nothing that reads their data
    #[arg(long)]
    prod: bool,
    /// These checks alone, such as unused-indexes,locks
    #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = check)]
    only: Vec<Check>,
    /// All but these
    #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = check)]
    skip: Vec<Check>,
    /// What is found at or above this makes the status 1
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    fail_on: FailOn,
    /// Statements that indexes are to be suggested for, one after the other, with a semicolon after each
    #[arg(long, value_name = "FILE.sql")]
    workload: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Hint,
    Warning,
    Error,
}

impl From<FailOn> for Severity {
    fn from(fail_on: FailOn) -> Self {
        match fail_on {
            FailOn::Hint => Severity::Hint,
            FailOn::Warning => Severity::Warning,
            FailOn::Error => Severity::Error,
        }
    }
}

fn check(text: &str) -> Result<Check, String> {
    text.parse().map_err(|error: Error| format!("{}: {}", error.what(), error.advice()))
}

/// Examines and prints. Errors: APP-001 where something at or above `--fail-on` was found; with the status 2, those of
/// connecting, those of the advice on a workload, and DOC-050 where no check had an answer.
pub(crate) async fn run(call: Exam) -> Result<()> {
    let fail_on = call.fail_on.into();
    let json = call.json;
    let examined = examine(call).await.map_err(|error| error.with_detail(NOT_EXAMINED))?;
    if json {
        super::place::as_json(&examined)?;
    } else {
        print!("{}", text(&examined.report));
        if let Some(advice) = &examined.advice {
            super::advise::print(advice, &advice::Options::default());
        }
    }
    match examined.unadvised {
        // Somebody waits for it; what was examined stands above.
        Some(error) if examined.asked => Err(error.with_detail(NOT_EXAMINED)),
        Some(error) => {
            eprintln!("no index advice\n{}", error.report());
            verdict(&examined.report, examined.advice.as_ref(), fail_on)
        }
        None => verdict(&examined.report, examined.advice.as_ref(), fail_on),
    }
}

/// With the indexes that the workload lacks, where there is one.
#[derive(Serialize)]
struct Examined {
    #[serde(flatten)]
    report: Report,
    advice: Option<Advice>,
    /// Why there is no advice: the examination is not lost with it.
    #[serde(skip)]
    unadvised: Option<Error>,
    /// Whether a workload was given.
    #[serde(skip)]
    asked: bool,
}

async fn examine(call: Exam) -> Result<Examined> {
    let target = Target::find(call.url)?;
    if target.is_own() {
        return Err(Error::new(Code::Argument, "no database is configured")
            .fix("give --url, set DATABASE_URL, or write database.url in mainstay.toml"));
    }
    let workload = call.workload.as_deref().map(workload).transpose()?;
    let options =
        Options { prod: call.prod, only: call.only, skip: call.skip, ..Options::default() };
    let report = Examination::new(&target.url).options(options).run().await?;
    let advised = advise(&target, &report, workload.as_deref(), call.prod).await;
    let (advice, unadvised) = match advised {
        Ok(advice) => (advice, None),
        Err(error) => (None, Some(error)),
    };
    Ok(Examined { report, advice, unadvised, asked: workload.is_some() })
}

fn workload(path: &Path) -> Result<String> {
    let unread = |why: String| {
        Error::new(Code::Argument, format!("{} can't be read", path.display())).why(why)
    };
    let size = std::fs::metadata(path).map_err(|e| unread(e.to_string()))?.len();
    if size > WORKLOAD_MAX_BYTES {
        return Err(unread(format!("it has {size} bytes; {WORKLOAD_MAX_BYTES} are read at most")));
    }
    std::fs::read_to_string(path).map_err(|e| unread(e.to_string()))
}

/// Of `workload`, or else of the statements that take the database's time. Rows are copied, to try indexes on them,
/// for a workload that somebody wrote down, and not from a database that serves users.
async fn advise(
    target: &Target,
    report: &Report,
    workload: Option<&str>,
    prod: bool,
) -> Result<Option<Advice>> {
    let queries: Vec<Query> = match workload {
        Some(text) => advice::workload(text, report.engine),
        None => {
            let planned = report.statements.iter().filter(|s| advice::is_planned(&s.text));
            planned.map(|s| Query::new(s.text.clone())).collect()
        }
    };
    // What was stopped, since the database is in trouble, is left alone.
    if queries.is_empty() || report.stopped.is_some() {
        return Ok(None);
    }
    let mut options = advice::Options::default();
    if prod || workload.is_none() {
        options.scratch = Scratch::Off;
    }
    if prod {
        options.budget = PROD_BUDGET;
    }
    let db = super::place::connect(target).await?;
    let advice = advice::advise(&db, &queries, &options).await;
    super::place::close(db).await?;
    advice.map(Some)
}

fn verdict(report: &Report, advice: Option<&Advice>, fail_on: Severity) -> Result<()> {
    if !report.tells_anything() {
        let error = Error::new(Code::DoctorStopped, "no check had an answer");
        return Err(error.with_detail(NOT_EXAMINED));
    }
    let advised = advice.map(|advice| advice.findings(&Clock::system())).unwrap_or_default();
    let all = report.findings().chain(&advised);
    let bad = all.filter(|finding| finding.severity >= fail_on).count();
    if bad == 0 {
        return Ok(());
    }
    let s = if bad == 1 { "" } else { "s" };
    let level = name(fail_on);
    Err(Error::user(format!("{bad} finding{s} at or above {level}"))
        .fix("mend what is above, or leave a check out with --skip CHECK"))
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Hint => "hint",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn text(report: &Report) -> String {
    let mut out = format!("{}, {}\n\n", report.place, report.server_version);
    for checked in &report.checks {
        out += &line(checked);
        for finding in &checked.findings {
            out += &found(finding);
        }
    }
    if let Some(stopped) = &report.stopped {
        out += &format!("\n{} it ended early\n", style("✗").red());
        out += &found(stopped);
    }
    out += &summary(report);
    out
}

fn line(checked: &Checked) -> String {
    let mark = match checked.outcome {
        Outcome::Good => style("✓").green(),
        Outcome::Found => style("✗").red(),
        Outcome::Unknown => style("-").dim(),
    };
    format!("{mark} {:<22} {}\n", checked.check, checked.detail)
}

fn found(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Hint => style("hint").cyan(),
        Severity::Warning => style("warning").yellow(),
        Severity::Error => style("error").red(),
    };
    let mut out = format!("    {severity}[{}] {}\n", finding.code, finding.what);
    for why in &finding.evidence {
        out += &format!("      {} {why}\n", style("why").dim());
    }
    for fix in finding.fix.lines() {
        out += &format!("      {} {fix}\n", style("fix").dim());
    }
    out
}

fn summary(report: &Report) -> String {
    let of = |outcome| report.checks.iter().filter(|checked| checked.outcome == outcome).count();
    let (good, found, unknown) = (of(Outcome::Good), of(Outcome::Found), of(Outcome::Unknown));
    format!("\n{good} good, {found} with findings, {unknown} not known\n")
}
