//! `mainstay migrate lint`: what migrations would do to a running service, before they do it.

use clap::{Args, ValueEnum};
use mainstay_core::{Code, Error, Result};
use mainstay_migrate::lint::{LintOptions, Linted};

use super::setting::Setting;
use super::show;
use super::split::Dialect;

/// What to lint, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Lints all migrations, not the pending ones alone
    #[arg(long)]
    all: bool,
    /// Lints all migrations for this engine without a database: every table counts as large
    #[arg(long, conflicts_with = "all")]
    engine: Option<Dialect>,
    /// How findings are printed
    #[arg(long, default_value = "text")]
    format: Format,
    /// Tables with fewer rows are not worth a word about scans and rewrites
    #[arg(long, default_value_t = LintOptions::default().rows_small)]
    rows_small: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// One workflow command a finding, which GitHub shows at its line
    Github,
    Json,
}

/// Prints the findings. Errors: APP-001 where there are any.
pub(crate) async fn run(lint: &Lint, setting: &Setting, json: bool) -> Result<()> {
    let options = LintOptions { rows_small: lint.rows_small, ..LintOptions::default() };
    let linted = match lint.engine {
        Some(dialect) => {
            let values = setting.options.placeholders.iter();
            let values = values.map(|(name, value)| (name.as_str(), value.as_str()));
            setting.migrations().lint(dialect.engine(), values, options)?
        }
        None => {
            let db = setting.connect().await?;
            let migrator = setting.migrator(&db, show::progress(true));
            let linted = migrator.lint(lint.all, options).await;
            db.close(std::time::Duration::from_secs(10)).await?;
            linted?
        }
    };
    match lint.format {
        Format::Json => show::as_json(&linted)?,
        _ if json => show::as_json(&linted)?,
        Format::Github => print!("{}", github(&linted)),
        Format::Text => print!("{}", text(&linted)),
    }
    let count: usize = linted.iter().map(|file| file.findings.len()).sum();
    let s = if count == 1 { "" } else { "s" };
    if count == 0 {
        return Ok(());
    }
    Err(Error::new(Code::User, format!("{count} finding{s} in {} files", linted.len()))
        .fix("rewrite as shown, or write -- mainstay:allow CODE reason above the statement"))
}

fn text(linted: &[Linted]) -> String {
    let mut out = String::new();
    for file in linted {
        for finding in &file.findings {
            let (line, column) = (finding.line, finding.column);
            out += &format!("{}:{line}:{column}: {}: {}\n", file.path, finding.code, finding.what);
            for (label, text) in [("why", &finding.why), ("fix", &finding.fix)] {
                let indented = text.replace('\n', "\n       ");
                out += &format!("  {label}: {indented}\n");
            }
        }
    }
    out
}

/// As GitHub reads it from a job's output.
fn github(linted: &[Linted]) -> String {
    // What ends a property or a line there is written in percent.
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for file in linted {
        for finding in &file.findings {
            let message = format!("{}\nwhy: {}\nfix: {}", finding.what, finding.why, finding.fix);
            out += &format!(
                "::warning file={},line={},col={},title={}::{}\n",
                property(&file.path),
                finding.line,
                finding.column,
                property(finding.code.as_str()),
                escape(&message)
            );
        }
    }
    out
}
