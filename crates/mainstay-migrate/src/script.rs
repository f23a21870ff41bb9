//! A script made ready to run: its placeholders replaced, cut into statements, each with how it gets
//! on with transactions.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use crate::database::Facts;
use crate::nature::{Nature, nature};
use crate::placeholder::Placeholders;
use crate::progress::hash_of;
use crate::source::Script;
use crate::split::{Statement, split};

/// A statement of a script.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) statement: Statement,
    pub(crate) nature: Nature,
}

/// A script that is ready.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) path: String,
    pub(crate) steps: Vec<Step>,
    /// Whether all of it runs in one transaction.
    pub(crate) in_transaction: bool,
    /// Whether it leaves something set on the session.
    pub(crate) sets_session: bool,
}

/// The text with its placeholders replaced. Errors: MIG-008, with file, line and column.
pub(crate) fn replaced(script: &Script, values: &Placeholders, replaces: bool) -> Result<String> {
    if !replaces || !script.conf.replaces || !script.text.contains("${") {
        return Ok(script.text.to_string());
    }
    let file = script.script.rsplit('/').next().unwrap_or(&script.script);
    values.with("flyway:filename", file).replace(&script.text).map_err(|missing| {
        let before = &script.text[..missing.at];
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
        let what = format!("{}:{line}:{column}: ${{{}}} has no value", script.path, missing.name);
        let error = Error::new(Code::MigrationPlaceholder, what);
        match missing.near {
            Some(near) => error.fix(format!("did you mean ${{{near}}}?")),
            None => error,
        }
    })
}

/// Errors: MIG-008, MIG-013.
pub(crate) fn prepare(
    script: &Script,
    values: &Placeholders,
    replaces: bool,
    facts: &Facts,
) -> Result<Prepared> {
    let text = replaced(script, values, replaces)?;
    let statements = split_file(&script.path, &text, facts.engine)?;
    let steps: Vec<Step> = statements
        .into_iter()
        .map(|statement| Step { nature: nature(&statement.text, facts), statement })
        .collect();
    let fits = steps.iter().all(|s| matches!(s.nature, Nature::Plain | Nature::Setting));
    let sets_session = steps.iter().any(|s| matches!(s.nature, Nature::Setting | Nature::Alone));
    let path = script.path.clone();
    // What MySQL commits by itself no setting keeps together.
    let commits = steps.iter().any(|s| matches!(s.nature, Nature::Commits | Nature::Skip));
    let in_transaction = match script.conf.in_transaction {
        Some(wanted) => wanted && !commits,
        None => fits,
    };
    Ok(Prepared { path, steps, in_transaction, sets_session })
}

/// As [`split`], with the file named in errors: `file:line:column`. Errors: MIG-013.
pub fn split_file(path: &str, text: &str, engine: Engine) -> Result<Vec<Statement>> {
    split(text, engine).map_err(|error| named(&error, path))
}

fn named(error: &Error, path: &str) -> Error {
    let what = error.what();
    let at = what.strip_prefix("line ").and_then(|rest| {
        let (line, rest) = rest.split_once(", column ")?;
        let (column, what) = rest.split_once(": ")?;
        Some(format!("{path}:{line}:{column}: {what}"))
    });
    let named = Error::new(error.code(), at.unwrap_or_else(|| format!("{path}: {what}")))
        .fix(error.advice().to_owned());
    match error.reason() {
        Some(why) => named.why(why.to_owned()),
        None => named,
    }
}

impl Prepared {
    /// A hash over the first `n` statements.
    pub(crate) fn hash_of(&self, n: usize) -> String {
        hash_of(self.steps[..n.min(self.steps.len())].iter().map(|s| s.statement.text.as_str()))
    }

    /// Where a statement is, as `file:line:column`.
    pub(crate) fn place(&self, n: usize) -> String {
        match self.steps.get(n) {
            Some(Step { statement: s, .. }) => format!("{}:{}:{}", self.path, s.line, s.column),
            None => self.path.clone(),
        }
    }
}
