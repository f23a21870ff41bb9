//! All files of a changelog: the first, and those that it includes, in the order in which Liquibase
//! runs their change sets.
//!
//! Files are had from a [`Source`]; nothing else is read.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_core::Result;

use super::build::{self, Context};
use super::location::Location;
use super::model::{Change, ChangeLog, ChangeSet, Quoting, RunOrder, Sql};
use super::node::Node;
use super::precondition::Preconditions;
use super::properties::{Properties, Property};
use super::sql::Piece;
use super::{Options, Source, path, sql, xml, yaml};

/// How deep files may include others.
const DEPTH: usize = 64;

/// Reads the changelog that begins with the file `root`.
pub(crate) fn load(root: &str, source: &dyn Source, options: &Options) -> Result<ChangeLog> {
    let properties = Properties::new(&options.parameters);
    let (stack, log) = (Vec::new(), ChangeLog::default());
    let mut loader = Loader { source, options, properties, stack, log };
    let start = Location::new(&root.into(), 1);
    let root = path::resolve(root, false, "", &start)?;
    loader.file(&root, &start, &Inherited::default())?;
    let mut log = loader.log;
    unique(&log.sets)?;
    log.sets.sort_by_key(|set| match set.order {
        RunOrder::First => 0,
        RunOrder::AsWritten => 1,
        RunOrder::Last => 2,
    });
    Ok(log)
}

/// What the includes on the way to a file ask for, the nearest first.
#[derive(Clone, Default)]
struct Inherited {
    contexts: Vec<String>,
    labels: Vec<String>,
    ignore: bool,
    /// What the history calls the file, where its include says so.
    logical: Option<String>,
}

struct Loader<'a> {
    source: &'a dyn Source,
    options: &'a Options,
    properties: Properties,
    /// The files that are being read, from the first one on.
    stack: Vec<String>,
    log: ChangeLog,
}

impl Loader<'_> {
    /// Reads a file that `at` asks for.
    fn file(&mut self, file: &str, at: &Location, inherited: &Inherited) -> Result<()> {
        if let Some(first) = self.stack.iter().position(|f| f == file) {
            let chain = [&self.stack[first..], &[file.to_owned()]].concat().join(" -> ");
            let error = at.error("the file includes itself").why(chain);
            return Err(error.fix("take one of the includes out"));
        }
        if self.stack.len() >= DEPTH {
            return Err(at.error("the includes nest too deep").fix("include the files directly"));
        }
        let Some(text) = self.source.read(file)? else {
            return Err(at
                .error(format_args!("the changelog '{file}' is not there"))
                .fix("correct the path, or add the file"));
        };
        self.stack.push(file.to_owned());
        let name: Arc<str> = file.into();
        match extension(file).as_str() {
            "xml" => self.tree(&xml::parse(&text, &name)?, &name, inherited)?,
            "yaml" | "yml" | "json" => self.tree(&yaml::parse(&text, &name)?, &name, inherited)?,
            "sql" if sql::is_formatted(&text) => self.formatted(&text, &name, inherited)?,
            "sql" => self.plain(&text, &name, inherited)?,
            _ => {
                return Err(at
                    .error(format_args!("'{file}' is no changelog"))
                    .fix("name a file that ends with .sql, .xml, .yaml, .yml or .json"));
            }
        }
        self.stack.pop();
        Ok(())
    }

    fn add(&mut self, mut set: ChangeSet, inherited: &Inherited) {
        set.inherited_contexts.clone_from(&inherited.contexts);
        set.inherited_labels.clone_from(&inherited.labels);
        set.ignore |= inherited.ignore;
        self.log.sets.push(set);
    }

    /// SQL without change sets is one, by the name that Liquibase gives it.
    fn plain(&mut self, text: &str, file: &Arc<str>, inherited: &Inherited) -> Result<()> {
        let at = Location::new(file, 1);
        let path = inherited.logical.as_deref().unwrap_or(file);
        let mut set = ChangeSet::new("raw", "includeAll", path, at.clone());
        let text = self.properties.expand(text.trim(), file);
        self.properties.check(&at)?;
        set.changes.push(Change::Sql(Sql { split: false, ..Sql::new(text, at) }));
        self.add(set, inherited);
        Ok(())
    }

    fn formatted(&mut self, text: &str, file: &Arc<str>, inherited: &Inherited) -> Result<()> {
        let path = inherited.logical.as_deref().unwrap_or(file);
        for piece in sql::parse(text, file, path)? {
            match piece {
                Piece::Property(property) => self.properties.define(property, self.options)?,
                Piece::Set(mut set) => {
                    sql::expand(&mut set, &|text: &str| self.properties.expand(text, file));
                    self.properties.check(&set.at)?;
                    if let Some(contexts) = &set.contexts {
                        super::filter::check(contexts, &set.at)?;
                    }
                    self.add(*set, inherited);
                }
            }
        }
        Ok(())
    }

    fn tree(&mut self, root: &Node, file: &Arc<str>, inherited: &Inherited) -> Result<()> {
        if root.name != "databaseChangeLog" {
            return Err(root
                .at
                .error(format_args!("'{}' is no changelog", root.name))
                .fix("begin the file with databaseChangeLog"));
        }
        let logical = root.text("logicalFilePath").or(inherited.logical.as_deref());
        let path = path::normal(logical.unwrap_or(file));
        let quoting = match root.text("objectQuotingStrategy") {
            Some(word) => build::quoting(word, &root.at)?,
            None => Quoting::Legacy,
        };
        for child in &root.children {
            let mut child = child.clone();
            if child.name != "property" && child.name != "properties" {
                child.map(&mut |text: &str| self.properties.expand(text, file));
            }
            self.child(&child, file, &path, quoting, inherited)?;
            self.properties.check(&child.at)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        node: &Node,
        file: &Arc<str>,
        path: &str,
        quoting: Quoting,
        inherited: &Inherited,
    ) -> Result<()> {
        match node.name.as_str() {
            "changeSet" => {
                let (source, properties) = (self.source, &self.properties);
                let context = Context { source, properties, file, path, quoting };
                let set = build::change_set(node, &context)?;
                self.add(set, inherited);
                Ok(())
            }
            "include" => self.include(node, file, inherited),
            "includeAll" => self.include_all(node, file, inherited),
            "property" => self.property(node),
            "properties" => node.children.iter().try_for_each(|inner| self.property(inner)),
            "preConditions" | "preconditions" => {
                let defined = |name: &str, value: Option<&str>| {
                    let found = self.properties.get(name, file);
                    found.is_some_and(|f| value.is_none_or(|v| v == f))
                };
                let read = Preconditions::read(node, path, &defined)?;
                self.log.preconditions.push(read);
                Ok(())
            }
            "logicalFilePath" | "objectQuotingStrategy" | "changeLogId" => Ok(()),
            other => {
                let known = [
                    "changeSet",
                    "include",
                    "includeAll",
                    "property",
                    "preConditions",
                    "logicalFilePath",
                    "objectQuotingStrategy",
                    "changeLogId",
                ];
                Err(node.at.unknown("in the changelog the entry", other, known))
            }
        }
    }

    fn property(&mut self, node: &Node) -> Result<()> {
        if node.child("file").is_some() {
            let error = node.at.error("a file of properties can't be read");
            return Err(error.fix("write each as a property with name and value"));
        }
        self.properties.define(Property::read(node)?, self.options)
    }

    fn include(&mut self, node: &Node, file: &Arc<str>, inherited: &Inherited) -> Result<()> {
        let known = [
            "file",
            "relativeToChangelogFile",
            "context",
            "contextFilter",
            "labels",
            "ignore",
            "errorIfMissing",
            "logicalFilePath",
        ];
        only(node, &known)?;
        let relative = node.flag("relativeToChangelogFile", false)?;
        let target = path::resolve(node.required("file")?, relative, file, &node.at)?;
        if !node.flag("errorIfMissing", true)? && self.source.read(&target)?.is_none() {
            return Ok(());
        }
        self.file(&target, &node.at, &inherited.and(node)?)
    }

    fn include_all(&mut self, node: &Node, file: &Arc<str>, inherited: &Inherited) -> Result<()> {
        let known = [
            "path",
            "relativeToChangelogFile",
            "context",
            "contextFilter",
            "labels",
            "ignore",
            "errorIfMissingOrEmpty",
            "minDepth",
            "maxDepth",
            "endsWithFilter",
            "logicalFilePath",
        ];
        only(node, &known)?;
        let relative = node.flag("relativeToChangelogFile", false)?;
        let folder = path::resolve(node.required("path")?, relative, file, &node.at)?;
        let depth = |name: &str, default: usize| match node.text(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| {
                let error = node.at.error(format_args!("{name} '{text}' is no number"));
                error.fix("write how many folders deep")
            }),
        };
        let (least, most) = (depth("minDepth", 0)?, depth("maxDepth", usize::MAX)?);
        let ending = node.text("endsWithFilter").unwrap_or_default().to_lowercase();
        let mut files = self.source.list(&folder)?;
        files.retain(|f| {
            let inside = f.strip_prefix(&*folder).unwrap_or(f).trim_start_matches('/');
            let deep = inside.split('/').count();
            (least..=most).contains(&deep)
                && f.to_lowercase().ends_with(&ending)
                && matches!(extension(f).as_str(), "sql" | "xml" | "yaml" | "yml" | "json")
        });
        // By the whole path, as bytes: A.xml, Z.xml, a10.xml, a2.xml.
        files.sort();
        files.dedup();
        if files.is_empty() && node.flag("errorIfMissingOrEmpty", true)? {
            let error = node.at.error(format_args!("the folder '{folder}' has no changelogs"));
            return Err(error.fix("correct the path, or say errorIfMissingOrEmpty: false"));
        }
        let inherited = inherited.and(node)?;
        files.iter().try_for_each(|f| self.file(f, &node.at, &inherited))
    }
}

impl Inherited {
    /// With what an include asks for in addition.
    fn and(&self, node: &Node) -> Result<Self> {
        let text = |name: &str| node.text(name).map(str::trim).filter(|t| !t.is_empty());
        let mut all = self.clone();
        if let Some(contexts) = text("contextFilter").or_else(|| text("context")) {
            super::filter::check(contexts, &node.at)?;
            all.contexts.insert(0, contexts.to_owned());
        }
        if let Some(labels) = text("labels") {
            all.labels.insert(0, labels.to_owned());
        }
        all.ignore |= node.flag("ignore", false)?;
        all.logical = text("logicalFilePath").map(path::normal);
        Ok(all)
    }
}

fn extension(file: &str) -> String {
    file.rsplit_once('.').map(|(_, e)| e.to_lowercase()).unwrap_or_default()
}

fn only(node: &Node, known: &[&str]) -> Result<()> {
    match node.children.iter().find(|c| !known.contains(&c.name.as_str())) {
        Some(other) => {
            let what = format!("the attribute of {}", node.name);
            Err(other.at.unknown(what, &other.name, known.iter().copied()))
        }
        None => Ok(()),
    }
}

/// The history tells change sets apart by file, author and id.
fn unique(sets: &[ChangeSet]) -> Result<()> {
    let mut seen: HashMap<_, &Location> = HashMap::new();
    for set in sets {
        let key = (set.file.as_str(), set.author.as_str(), set.id.as_str());
        if let Some(first) = seen.insert(key, &set.at) {
            return Err(set
                .at
                .error(format_args!("the change set {} is there twice", set.name()))
                .why(format!("the first one is at {first}"))
                .fix("give one of them another id"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
