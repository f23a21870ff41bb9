//! Liquibase's changelogs: read, understood, and turned into SQL for each engine.
//!
//! Formatted SQL, XML, YAML and JSON make one [`ChangeLog`]; [`filter`] says which of its change sets
//! a run means, [`checksum`] whether one was edited since it ran, [`render`] what is to be executed,
//! and [`history`] what is to be recorded; [`run`] does it, and [`rollback`] takes it back. It compares
//! no schemas and writes no changelogs.

mod ask;
mod build;
mod change;
pub(crate) mod checksum;
pub(crate) mod filter;
mod folder;
pub(crate) mod history;
mod hold;
mod include;
mod kind;
mod location;
mod model;
mod node;
mod path;
mod precondition;
mod properties;
pub(crate) mod render;
mod report;
mod rollback;
mod run;
mod scalar;
mod split;
mod sql;
mod sql_header;
mod standing;
mod store;
mod upkeep;
mod value;
mod xml;
mod yaml;

use std::collections::BTreeMap;

use mainstay_core::Result;

pub(crate) use filter::Target;
pub(crate) use include::load;
pub(crate) use model::{ChangeLog, ChangeSet};
pub use report::{ChangeSetSql, ChangeSetStatus, ChangelogReport, RollbackTo};
pub use run::Changelog;

/// Where the files of a changelog come from. Their paths lead from the changelogs' root, with `/`
/// between their parts.
pub(crate) trait Source {
    /// A file's text, or none if there is no such file.
    fn read(&self, path: &str) -> Result<Option<String>>;

    /// The paths of all files below a folder, however deep; none if there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<String>>;
}

/// What a run asks of a changelog.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) target: Target,
    pub(crate) contexts: Vec<String>,
    /// An expression of labels.
    pub(crate) labels: Option<String>,
    /// Properties that win over the changelog's own.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Options {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, contexts: Vec::new(), labels: None, parameters: BTreeMap::new() }
    }

    /// Whether a run with these options means the change set.
    pub(crate) fn means(&self, set: &ChangeSet) -> Result<bool> {
        if set.ignore || !filter::dbms(set.dbms.as_deref(), self.target.name()) {
            return Ok(false);
        }
        for contexts in set.inherited_contexts.iter().chain(&set.contexts) {
            if !filter::contexts(contexts, &self.contexts, &set.at)? {
                return Ok(false);
            }
        }
        // Those of each include and its own have to pass each by itself.
        for labels in set.inherited_labels.iter().chain(&set.labels) {
            if !filter::labels(self.labels.as_deref().unwrap_or_default(), labels, &set.at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod testing;
