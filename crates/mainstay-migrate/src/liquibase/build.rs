//! Change sets from the neutral tree, whichever notation it was written in.
//!
//! Every name is looked up: an element or attribute that Liquibase does not know is refused, where
//! Liquibase itself might pass over it.

use std::sync::Arc;

use mainstay_core::Result;

use super::Source;
use super::change;
use super::filter;
use super::kind::{Kind, REFUSED};
use super::location::Location;
use super::model::{Change, ChangeSet, Quoting, RunOrder, Sql};
use super::node::Node;
use super::precondition::Preconditions;
use super::properties::Properties;

/// What is around a change set.
pub(super) struct Context<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) properties: &'a Properties,
    /// The file that it stands in.
    pub(super) file: &'a Arc<str>,
    /// What the history calls that file.
    pub(super) path: &'a str,
    pub(super) quoting: Quoting,
}

impl Context<'_> {
    /// The text of a file that a change names, as it is and with its properties replaced.
    pub(super) fn text(
        &self,
        path: &str,
        relative: bool,
        at: &Location,
    ) -> Result<(String, String)> {
        let resolved = super::path::resolve(path, relative, self.file, at)?;
        let Some(raw) = self.source.read(&resolved)? else {
            return Err(at
                .error(format_args!("the file '{resolved}' is not there"))
                .fix("correct the path, or add the file"));
        };
        let expanded = self.properties.expand(&raw, self.file);
        Ok((raw, expanded))
    }
}

const ATTRIBUTES: &[&str] = &[
    "id",
    "author",
    "context",
    "contextFilter",
    "labels",
    "dbms",
    "runAlways",
    "alwaysRun",
    "runOnChange",
    "runInTransaction",
    "failOnError",
    "ignore",
    "logicalFilePath",
    "objectQuotingStrategy",
    "created",
    "runOrder",
    "onValidationFail",
    "comment",
    "preConditions",
    "preconditions",
    "changes",
    "rollback",
    "validCheckSum",
    "validCheckSums",
];

/// The change set that a `changeSet` describes; its properties are replaced already.
pub(super) fn change_set(node: &Node, context: &Context<'_>) -> Result<ChangeSet> {
    let (id, author) = (node.required("id")?, node.required("author")?);
    let mut set = ChangeSet::new(id, author, context.path, node.at.clone());
    set.quoting = context.quoting;
    settings(&mut set, node)?;
    for child in &node.children {
        match child.name.as_str() {
            "changes" => {
                for inner in &child.children {
                    set.changes.push(change(inner, context)?);
                }
            }
            "rollback" => rollback(&mut set, child, context)?,
            "preConditions" | "preconditions" => {
                let defined = |name: &str, value: Option<&str>| {
                    let found = context.properties.get(name, context.file);
                    found.is_some_and(|f| value.is_none_or(|v| v == f))
                };
                set.preconditions = Some(Preconditions::read(child, &set.file, &defined)?);
            }
            "validCheckSum" | "validCheckSums" => checksums(&mut set, child),
            name if ATTRIBUTES.contains(&name) => {}
            _ => set.changes.push(change(child, context)?),
        }
    }
    Ok(set)
}

fn settings(set: &mut ChangeSet, node: &Node) -> Result<()> {
    let text = |name: &str| node.text(name).map(str::trim).filter(|t| !t.is_empty());
    let owned = |name: &str| text(name).map(str::to_owned);
    set.contexts = owned("contextFilter").or_else(|| owned("context"));
    set.labels = owned("labels");
    set.dbms = owned("dbms");
    set.run_always = node.flag("runAlways", node.flag("alwaysRun", false)?)?;
    set.run_on_change = node.flag("runOnChange", false)?;
    set.run_in_transaction = node.flag("runInTransaction", true)?;
    set.fail_on_error = node.flag("failOnError", true)?;
    set.ignore = node.flag("ignore", false)?;
    if let Some(path) = text("logicalFilePath") {
        set.file = super::path::normal(path);
    }
    set.mark_invalid = match text("onValidationFail") {
        None | Some("HALT") => false,
        Some("MARK_RAN") => true,
        Some(other) => {
            return Err(node.at.unknown("the onValidationFail", other, ["HALT", "MARK_RAN"]));
        }
    };
    if let Some(strategy) = text("objectQuotingStrategy") {
        set.quoting = quoting(strategy, &node.at)?;
    }
    set.order = match text("runOrder") {
        None => RunOrder::AsWritten,
        Some("first") => RunOrder::First,
        Some("last") => RunOrder::Last,
        Some(other) => return Err(node.at.unknown("the runOrder", other, ["first", "last"])),
    };
    if let Some(contexts) = &set.contexts {
        filter::check(contexts, &node.at)?;
    }
    let comments = node.children.iter().filter(|c| c.name == "comment");
    let comments: Vec<_> = comments.filter_map(|c| c.value.as_deref()).collect();
    set.comment = Some(comments.join("\n").trim().to_owned()).filter(|c| !c.is_empty());
    Ok(())
}

/// How names are quoted, by Liquibase's word for it.
pub(super) fn quoting(word: &str, at: &Location) -> Result<Quoting> {
    match word.trim() {
        "LEGACY" => Ok(Quoting::Legacy),
        "QUOTE_ALL_OBJECTS" => Ok(Quoting::All),
        "QUOTE_ONLY_RESERVED_WORDS" => Ok(Quoting::Reserved),
        other => {
            let known = ["LEGACY", "QUOTE_ALL_OBJECTS", "QUOTE_ONLY_RESERVED_WORDS"];
            Err(at.unknown("the objectQuotingStrategy", other, known))
        }
    }
}

fn checksums(set: &mut ChangeSet, node: &Node) {
    let inner = node.children.iter().filter(|c| c.name != "comment");
    let all = node.value.iter().chain(inner.filter_map(|c| c.value.as_ref()));
    set.valid_checksums.extend(all.map(|sum| sum.trim().to_owned()));
}

fn rollback(set: &mut ChangeSet, node: &Node, context: &Context<'_>) -> Result<()> {
    let all = set.rollback.get_or_insert_with(Vec::new);
    let sql = |text: &str, at: &Location| {
        Change::Sql(Sql { strip_comments: true, ..Sql::new(text.trim(), at.clone()) })
    };
    for child in &node.children {
        match (child.name.as_str(), child.value.as_deref()) {
            ("", Some(text)) => all.push(sql(text, &child.at)),
            ("changeSetId" | "changeSetAuthor" | "changeSetPath", _) => {
                return Err(child
                    .at
                    .error("a rollback names another change set")
                    .fix("write the changes that undo this one into the rollback"));
            }
            _ => all.push(change(child, context)?),
        }
    }
    if let Some(text) = node.value.as_deref().filter(|t| !t.trim().is_empty()) {
        all.push(sql(text, &node.at));
    }
    // An empty change says that nothing is to be done, as an empty rollback does.
    all.retain(|c| !matches!(c, Change::Defined(d) if d.kind == Kind::Empty));
    Ok(())
}

/// The change that a node describes.
fn change(node: &Node, context: &Context<'_>) -> Result<Change> {
    match node.name.as_str() {
        "sql" => change::sql(node),
        "sqlFile" => change::sql_file(node, context),
        name => match Kind::named(name) {
            Some(kind) => Ok(Change::Defined(change::defined(kind, node, context)?)),
            None => Err(unknown(node)),
        },
    }
}

fn unknown(node: &Node) -> mainstay_core::Error {
    let name = node.name.as_str();
    if let Some((_, fix)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let error = node.at.error(format_args!("the change '{name}' is not supported"));
        return error.fix(*fix);
    }
    if matches!(name, "modifySql" | "runWith" | "runWithSpoolFile") {
        let error = node.at.error(format_args!("'{name}' is not supported"));
        return error
            .fix("write the SQL that is meant as a sql change, with dbms where engines differ");
    }
    let changes = ["sql", "sqlFile"].into_iter().chain(Kind::ALL.iter().map(|k| k.name()));
    if node.children.is_empty() && node.value.is_some() {
        let known = ATTRIBUTES.iter().copied().chain(changes);
        return node.at.unknown("the change set's attribute", name, known);
    }
    node.at.unknown("the change", name, changes)
}
