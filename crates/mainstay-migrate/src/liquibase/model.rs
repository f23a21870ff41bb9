//! What a changelog says, once its files are read: change sets in their order, and in each the
//! changes that it makes.
//!
//! It holds no SQL but what the author wrote; [`render`](super::render) writes the rest, for an engine.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::location::Location;
use super::precondition::Preconditions;

/// The named values of a change, a column or its constraints.
pub(crate) type Fields = BTreeMap<&'static str, String>;

/// All files of a changelog together.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    /// In the order in which they run.
    pub(crate) sets: Vec<ChangeSet>,
    /// What the files themselves ask for before anything runs.
    pub(crate) preconditions: Vec<Preconditions>,
}

/// A change set: what is applied and recorded as one.
#[derive(Clone, Debug)]
pub(crate) struct ChangeSet {
    pub(crate) id: String,
    pub(crate) author: String,
    /// The file as the history names it: its logical path, or where it is from the root.
    pub(crate) file: String,
    /// Where it stands.
    pub(crate) at: Location,
    pub(crate) contexts: Option<String>,
    pub(crate) labels: Option<String>,
    /// What the includes that lead here ask for in addition, the nearest first.
    pub(crate) inherited_contexts: Vec<String>,
    pub(crate) inherited_labels: Vec<String>,
    pub(crate) dbms: Option<String>,
    /// Whether it is passed over, as if it were not written.
    pub(crate) ignore: bool,
    pub(crate) run_on_change: bool,
    pub(crate) run_always: bool,
    pub(crate) run_in_transaction: bool,
    pub(crate) fail_on_error: bool,
    /// Whether it counts as run where the engine can't do it: `onValidationFail` is `MARK_RAN`.
    pub(crate) mark_invalid: bool,
    pub(crate) order: RunOrder,
    pub(crate) quoting: Quoting,
    pub(crate) comment: Option<String>,
    pub(crate) preconditions: Option<Preconditions>,
    pub(crate) changes: Vec<Change>,
    /// How it is undone, where the author says so; an empty list: nothing is to be done.
    pub(crate) rollback: Option<Vec<Change>>,
    pub(crate) valid_checksums: Vec<String>,
}

impl ChangeSet {
    pub(crate) fn new(id: &str, author: &str, file: &str, at: Location) -> Self {
        Self {
            id: id.to_owned(),
            author: author.to_owned(),
            file: file.to_owned(),
            at,
            contexts: None,
            labels: None,
            inherited_contexts: Vec::new(),
            inherited_labels: Vec::new(),
            dbms: None,
            ignore: false,
            run_on_change: false,
            run_always: false,
            run_in_transaction: true,
            fail_on_error: true,
            mark_invalid: false,
            order: RunOrder::AsWritten,
            quoting: Quoting::Legacy,
            comment: None,
            preconditions: None,
            changes: Vec::new(),
            rollback: None,
            valid_checksums: Vec::new(),
        }
    }

    /// Its line in its file.
    pub(crate) fn line(&self) -> usize {
        self.at.line
    }

    /// As Liquibase prints it: file, id and author.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}::{}", self.file, self.id, self.author)
    }

    /// Whether everything is to stop at it.
    pub(crate) fn stops(&self) -> bool {
        let stop = |change: &Change| matches!(change, Change::Defined(d) if d.kind == Kind::Stop);
        self.changes.iter().any(stop)
    }

    /// The tag that it sets, if it sets one.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.changes.iter().find_map(|change| match change {
            Change::Defined(d) if d.kind == Kind::TagDatabase => d.get("tag"),
            _ => None,
        })
    }
}

/// When a change set runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOrder {
    First,
    AsWritten,
    Last,
}

/// Which names are quoted, and so keep their case where the engine would fold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// Those of mixed case, with special characters, or reserved.
    Legacy,
    All,
    Reserved,
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// SQL of the author's own, in the changelog or in a file.
    Sql(Sql),
    /// What Liquibase has a name for.
    Defined(Defined),
}

impl Change {
    /// Where it stands.
    pub(crate) fn at(&self) -> &Location {
        match self {
            Change::Sql(sql) => &sql.at,
            Change::Defined(defined) => &defined.at,
        }
    }

    /// What it is called in a changelog.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Change::Sql(Sql { path: Some(_), .. }) => "sqlFile",
            Change::Sql(_) => "sql",
            Change::Defined(defined) => defined.kind.name(),
        }
    }

    /// The databases that it is for, if it says so itself.
    pub(crate) fn dbms(&self) -> Option<&str> {
        match self {
            Change::Sql(sql) => sql.dbms.as_deref(),
            Change::Defined(defined) => defined.get("dbms"),
        }
    }
}

/// SQL of the author's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sql {
    pub(crate) at: Location,
    /// The SQL to be run, with its properties replaced.
    pub(crate) text: String,
    /// The file that it stands in, as the changelog names it.
    pub(crate) path: Option<String>,
    /// The file's text as it is: what a file's checksum is made of.
    pub(crate) raw: Option<String>,
    pub(crate) split: bool,
    pub(crate) strip_comments: bool,
    /// What ends a statement; `;`, `/` and `go` do without it.
    pub(crate) delimiter: Option<String>,
    pub(crate) dbms: Option<String>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<String>, at: Location) -> Self {
        Self {
            at,
            text: text.into(),
            path: None,
            raw: None,
            split: true,
            strip_comments: false,
            delimiter: None,
            dbms: None,
        }
    }
}

/// A change that Liquibase has a name for, with its values; they were checked when it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Defined {
    pub(crate) kind: Kind,
    pub(crate) at: Location,
    pub(crate) fields: Fields,
    pub(crate) columns: Vec<Column>,
    /// The values for the `:name` and `:value` of a condition.
    pub(crate) params: Vec<Column>,
}

impl Defined {
    pub(crate) fn new(kind: Kind, at: Location) -> Self {
        let (fields, columns, params) = (Fields::new(), Vec::new(), Vec::new());
        Self { kind, at, fields, columns, params }
    }

    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn is(&self, field: &str) -> bool {
        self.get(field) == Some("true")
    }

    /// As it was, with a field set.
    pub(crate) fn with(mut self, field: &'static str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.fields.insert(field, value.to_owned());
        }
        self
    }
}

/// A column of a change: of a table to be made, of a row to be written, of an index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Column {
    pub(crate) fields: Fields,
    pub(crate) constraints: Option<Fields>,
}

impl Column {
    pub(crate) fn named(name: &str) -> Self {
        Self { fields: Fields::from([("name", name.to_owned())]), constraints: None }
    }

    pub(crate) fn name(&self) -> &str {
        self.get("name").unwrap_or_default()
    }

    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn is(&self, field: &str) -> bool {
        self.get(field) == Some("true")
    }

    /// A value of its constraints.
    pub(crate) fn constraint(&self, field: &str) -> Option<&str> {
        self.constraints.as_ref()?.get(field).map(String::as_str)
    }

    pub(crate) fn has(&self, constraint: &str) -> bool {
        self.constraint(constraint) == Some("true")
    }

    /// Whether it takes no nulls: it says so, or it is of the primary key.
    pub(crate) fn not_null(&self) -> bool {
        self.constraint("nullable") == Some("false") || self.has("primaryKey")
    }
}
