//! Lints the migrations of a service: those that are pending, with the catalogue of the database that
//! they are for, or all of them with nothing but the engine known.

use std::ops::RangeInclusive;

use mainstay_core::Result;
use mainstay_db::Engine;
use serde::{Serialize, Serializer};

use super::{Allows, Catalogue, Finding, LintOptions, Linter, Server, load, tables_of};
use crate::database::Facts;
use crate::migrator::{Migrator, todo};
use crate::placeholder::Placeholders;
use crate::plan::{Plan, Target};
use crate::script::{Prepared, prepare, replaced};
use crate::source::{For, Migrations, Script};

/// A file with what was found in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Linted {
    /// The file.
    pub path: String,
    /// What was found, in order.
    pub findings: Vec<Finding>,
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Finding", 7)?;
        out.serialize_field("code", self.code.as_str())?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("column", &self.column)?;
        out.serialize_field("what", &self.what)?;
        out.serialize_field("why", &self.why)?;
        out.serialize_field("fix", &self.fix)?;
        out.serialize_field("table", &self.table)?;
        out.end()
    }
}

impl Migrator {
    /// Lints what is pending, or with `all` every versioned and repeatable migration, with the rows,
    /// columns and indexes that the database has now. A table that an earlier pending migration makes
    /// is new to those after it.
    ///
    /// Errors: MIG-001, MIG-008, MIG-013, MIG-016; what it finds is in the result.
    pub async fn lint(&self, all: bool, options: LintOptions) -> Result<Vec<Linted>> {
        let mut opened = self.open().await?;
        let target = Target::Latest;
        let inputs = self.inputs(&opened, &target);
        let plan = Plan::make(&inputs)?;
        let scripts: Vec<Script> = if all {
            opened
                .scripts
                .versioned
                .values()
                .chain(opened.scripts.repeatable.values())
                .cloned()
                .collect()
        } else {
            todo(&plan, &opened.progress).iter().filter_map(|item| item.script.cloned()).collect()
        };
        let (replaces, values) = (self.options.replace_placeholders, &opened.values);
        let facts = opened.database.facts.clone();
        let ready = ready(&scripts, values, replaces, &facts)?;
        let mut names: Vec<String> = Vec::new();
        for (prepared, _) in &ready {
            for step in &prepared.steps {
                names.extend(tables_of(&step.statement.text, facts.engine));
            }
        }
        names.sort();
        names.dedup();
        let catalogue = load::load(&mut opened.database, &names).await?;
        Ok(lint(&ready, &facts, catalogue, options))
    }
}

impl Migrations {
    /// Lints every migration for `engine` without a database: each table counts as a large one. The
    /// server is taken for a current one.
    ///
    /// Errors: MIG-001, MIG-013; MIG-008 for a placeholder without a value among `placeholders`.
    pub fn lint<'v>(
        &self,
        engine: Engine,
        placeholders: impl IntoIterator<Item = (&'v str, &'v str)>,
        options: LintOptions,
    ) -> Result<Vec<Linted>> {
        let scripts = self.load(For { engine, mariadb: false })?;
        let all: Vec<_> =
            scripts.versioned.values().chain(scripts.repeatable.values()).cloned().collect();
        let facts = Facts::of_engine(engine);
        let mut values = Placeholders::default();
        for name in ["defaultSchema", "user", "database", "table", "timestamp", "environment"] {
            values.set(&format!("flyway:{name}"), name);
        }
        for (name, value) in placeholders {
            values.set(name, value);
        }
        let ready = ready(&all, &values, true, &facts)?;
        Ok(lint(&ready, &facts, Catalogue::default(), options))
    }
}

/// The scripts with their texts as they are sent.
fn ready(
    scripts: &[Script],
    values: &Placeholders,
    replaces: bool,
    facts: &Facts,
) -> Result<Vec<(Prepared, String)>> {
    let ready = |script| {
        let text = replaced(script, values, replaces)?;
        Ok((prepare(script, values, replaces, facts)?, text))
    };
    scripts.iter().map(ready).collect()
}

fn lint(
    ready: &[(Prepared, String)],
    facts: &Facts,
    catalogue: Catalogue,
    options: LintOptions,
) -> Vec<Linted> {
    let server = Server { engine: facts.engine, mariadb: facts.mariadb, version: facts.version };
    let mut linter = Linter::new(server, catalogue, options);
    ready
        .iter()
        .map(|(prepared, text)| {
            let mut found = Vec::new();
            for step in &prepared.steps {
                let (s, inside) = (&step.statement, prepared.in_transaction);
                found.extend(linter.statement(&s.text, s.line, s.column, inside));
            }
            found.extend(linter.finish_file());
            let mut allows = Allows::of(text, facts.engine);
            found.retain(|finding| !allows.covers(finding, &lines(prepared, finding)));
            found.extend(allows.findings());
            found.sort_by_key(|finding| (finding.line, finding.column));
            Linted { path: prepared.path.clone(), findings: found }
        })
        .collect()
}

/// The lines of the statement that a finding is in.
fn lines(prepared: &Prepared, finding: &Finding) -> RangeInclusive<usize> {
    let all = prepared.steps.iter().map(|step| {
        let first = step.statement.line;
        first..=first + step.statement.text.matches('\n').count()
    });
    all.into_iter()
        .find(|lines| lines.contains(&finding.line))
        .unwrap_or(finding.line..=finding.line)
}
