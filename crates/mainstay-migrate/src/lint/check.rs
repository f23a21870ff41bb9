//! Lints the migrations of a service: those that are pending, with the catalogue of the database that
//! they are for, or all of them with nothing but the engine known.

use std::ops::RangeInclusive;

use mainstay_core::Result;
use mainstay_db::Engine;
use serde::{Serialize, Serializer};

use super::{Allows, Catalogue, Finding, LintOptions, Linter, Server, load, parse, tables_of};
use crate::database::{Database, Facts};
use crate::migrator::{Migrator, todo};
use crate::placeholder::Placeholders;
use crate::plan::{Plan, Target};
use crate::script::{Prepared, Step, prepare, replaced};
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
    /// is new to those after it; with `all` it is new in the file alone that makes it.
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
        let catalogue = catalogue(&mut opened.database, &ready).await?;
        Ok(lint(&ready, &facts, catalogue, options, all))
    }
}

/// What the rules want to know of the database.
async fn catalogue(database: &mut Database, ready: &[(Prepared, String)]) -> Result<Catalogue> {
    let engine = database.facts.engine;
    let (mut tables, mut indexes) = (Vec::new(), Vec::new());
    for step in ready.iter().flat_map(|(prepared, _)| &prepared.steps) {
        let text = &step.statement.text;
        tables.extend(tables_of(text, engine));
        indexes.extend(parse::indexes(text, engine).into_iter().map(|name| name.real));
    }
    indexes.sort();
    indexes.dedup();
    // Of a DROP INDEX the catalogue alone tells the table.
    tables.extend(load::tables_with(database, &indexes).await?);
    tables.sort();
    tables.dedup();
    load::load(database, &tables).await
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
        Ok(lint(&ready, &facts, Catalogue::default(), options, true))
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
    each_alone: bool,
) -> Vec<Linted> {
    let server = Server { engine: facts.engine, mariadb: facts.mariadb, version: facts.version };
    let mut linter = Linter::new(server, catalogue, options);
    if each_alone {
        linter = linter.each_alone();
    }
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
            let all = lines(prepared);
            found.retain(|finding| !allows.covers(finding, &around(&all, finding.line)));
            found.extend(allows.findings());
            found.sort_by_key(|finding| (finding.line, finding.column));
            Linted { path: prepared.path.clone(), findings: found }
        })
        .collect()
}

/// The lines of each statement, in their order.
fn lines(prepared: &Prepared) -> Vec<RangeInclusive<usize>> {
    let lines = |step: &Step| {
        let first = step.statement.line;
        first..=first + step.statement.text.matches('\n').count()
    };
    prepared.steps.iter().map(lines).collect()
}

/// The lines of the first statement that stands on this one.
fn around(all: &[RangeInclusive<usize>], line: usize) -> RangeInclusive<usize> {
    let first = all.partition_point(|lines| *lines.end() < line);
    all.get(first).filter(|lines| lines.contains(&line)).cloned().unwrap_or(line..=line)
}
