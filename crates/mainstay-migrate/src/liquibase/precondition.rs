//! What a changelog or a change set asks of the database before it runs.
//!
//! Here is only what is asked, and how it is read; whoever runs the change sets asks the database.

use mainstay_core::Result;

use super::location::Location;
use super::node::Node;

/// What has to hold, and what is done if it does not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Preconditions {
    pub(crate) at: Location,
    pub(crate) on_fail: Reaction,
    /// What is done if it can't be told.
    pub(crate) on_error: Reaction,
    pub(crate) fail_message: Option<String>,
    pub(crate) error_message: Option<String>,
    /// All of them have to hold.
    pub(crate) conditions: Vec<Condition>,
}

/// What is done where a precondition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Everything stops.
    Halt,
    /// The change set is passed over, and tried again the next time.
    Continue,
    /// The change set is passed over, and recorded as `MARK_RAN`.
    MarkRan,
    /// The change set runs nevertheless.
    Warn,
}

/// Something in the database, with its schema where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

/// One precondition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// None of them holds.
    Not(Vec<Condition>),
    /// What could be told when the changelog was read.
    Known(bool),
    TableExists(Object),
    ColumnExists {
        table: Object,
        column: String,
    },
    ViewExists(Object),
    SequenceExists(Object),
    IndexExists {
        table: Option<Object>,
        index: Option<String>,
        columns: Vec<String>,
    },
    ForeignKeyExists {
        table: Option<Object>,
        name: Option<String>,
    },
    PrimaryKeyExists {
        table: Option<Object>,
        name: Option<String>,
    },
    UniqueConstraintExists {
        table: Object,
        name: Option<String>,
        columns: Vec<String>,
    },
    SqlCheck {
        expected: String,
        sql: String,
    },
    Dbms(String),
    RunningAs(String),
    ChangeSetExecuted {
        id: String,
        author: String,
        file: String,
    },
    RowCount {
        table: Object,
        rows: u64,
    },
    TableIsEmpty(Object),
}

/// Whether a property has been given: with this value, if one is named.
pub(super) type Defined<'a> = &'a dyn Fn(&str, Option<&str>) -> bool;

const NAMES: &[&str] = &[
    "and",
    "or",
    "not",
    "tableExists",
    "columnExists",
    "viewExists",
    "sequenceExists",
    "indexExists",
    "foreignKeyConstraintExists",
    "primaryKeyExists",
    "uniqueConstraintExists",
    "sqlCheck",
    "dbms",
    "runningAs",
    "changeSetExecuted",
    "rowCount",
    "tableIsEmpty",
    "changeLogPropertyDefined",
];

const SETTINGS: &[&str] = &[
    "onFail",
    "onError",
    "onFailMessage",
    "onErrorMessage",
    "onSqlOutput",
    "onUpdateSQL",
    "onUpdateSql",
];

impl Preconditions {
    pub(super) fn new(at: Location) -> Self {
        let (on_fail, on_error) = (Reaction::Halt, Reaction::Halt);
        let (fail_message, error_message, conditions) = (None, None, Vec::new());
        Self { at, on_fail, on_error, fail_message, error_message, conditions }
    }

    /// Those of a `preConditions`; `file` is that of the change sets around it.
    pub(super) fn read(node: &Node, file: &str, defined: Defined<'_>) -> Result<Self> {
        let mut read = Self::new(node.at.clone());
        read.fail_message = node.text("onFailMessage").map(str::to_owned);
        read.error_message = node.text("onErrorMessage").map(str::to_owned);
        if let Some(word) = node.text("onFail") {
            read.on_fail = Reaction::read(word, &node.at)?;
        }
        if let Some(word) = node.text("onError") {
            read.on_error = Reaction::read(word, &node.at)?;
        }
        read.conditions = all(node, file, defined)?;
        Ok(read)
    }
}

impl Reaction {
    pub(super) fn read(word: &str, at: &Location) -> Result<Self> {
        match word.trim().to_uppercase().as_str() {
            "HALT" => Ok(Self::Halt),
            "CONTINUE" => Ok(Self::Continue),
            "MARK_RAN" => Ok(Self::MarkRan),
            "WARN" => Ok(Self::Warn),
            other => {
                let known = ["HALT", "CONTINUE", "MARK_RAN", "WARN"];
                Err(at.unknown("the reaction to a precondition", other, known))
            }
        }
    }
}

fn all(node: &Node, file: &str, defined: Defined<'_>) -> Result<Vec<Condition>> {
    let conditions = node.children.iter().filter(|c| !SETTINGS.contains(&c.name.as_str()));
    conditions.map(|c| one(c, file, defined)).collect()
}

fn one(node: &Node, file: &str, defined: Defined<'_>) -> Result<Condition> {
    let object = |field: &str, schema: &str| -> Result<Object> {
        Ok(Object { schema: schema_of(node, schema), name: node.required(field)?.to_owned() })
    };
    let maybe = |field: &str, schema: &str| {
        let name = node.text(field)?.to_owned();
        Some(Object { schema: schema_of(node, schema), name })
    };
    let text = |field: &str| node.text(field).map(str::to_owned);
    let required = |field: &str| node.required(field).map(str::to_owned);
    let table = || object("tableName", "schemaName");
    Ok(match node.name.as_str() {
        "and" => Condition::All(all(node, file, defined)?),
        "or" => Condition::Any(all(node, file, defined)?),
        "not" => Condition::Not(all(node, file, defined)?),
        "tableExists" => Condition::TableExists(table()?),
        "columnExists" => {
            Condition::ColumnExists { table: table()?, column: required("columnName")? }
        }
        "viewExists" => Condition::ViewExists(object("viewName", "schemaName")?),
        "sequenceExists" => Condition::SequenceExists(object("sequenceName", "schemaName")?),
        "indexExists" => Condition::IndexExists {
            table: maybe("tableName", "schemaName"),
            index: text("indexName"),
            columns: list(node.text("columnNames")),
        },
        "foreignKeyConstraintExists" => Condition::ForeignKeyExists {
            table: maybe("foreignKeyTableName", "schemaName"),
            name: text("foreignKeyName"),
        },
        "primaryKeyExists" => Condition::PrimaryKeyExists {
            table: maybe("tableName", "schemaName"),
            name: text("primaryKeyName"),
        },
        "uniqueConstraintExists" => Condition::UniqueConstraintExists {
            table: table()?,
            name: text("constraintName"),
            columns: list(node.text("columnNames")),
        },
        "rowCount" => Condition::RowCount { table: table()?, rows: rows(node)? },
        "tableIsEmpty" => Condition::TableIsEmpty(table()?),
        "sqlCheck" => sql_check(node)?,
        "dbms" => Condition::Dbms(required("type")?),
        "runningAs" => Condition::RunningAs(required("username")?),
        "changeSetExecuted" => Condition::ChangeSetExecuted {
            id: required("id")?,
            author: required("author")?,
            file: super::path::normal(node.text("changeLogFile").unwrap_or(file)),
        },
        "changeLogPropertyDefined" => {
            Condition::Known(defined(node.required("property")?, node.text("value")))
        }
        other => return Err(node.at.unknown("the precondition", other, NAMES.iter().copied())),
    })
}

fn schema_of(node: &Node, field: &str) -> Option<String> {
    node.text(field).or_else(|| node.text("catalogName")).map(str::to_owned)
}

fn list(names: Option<&str>) -> Vec<String> {
    let names = names.unwrap_or_default().split(',').map(str::trim);
    names.filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

fn rows(node: &Node) -> Result<u64> {
    let rows = node.required("expectedRows")?;
    rows.trim().parse().map_err(|_| {
        node.at
            .error(format_args!("expectedRows '{rows}' is no number"))
            .fix("write how many rows the table has to have")
    })
}

fn sql_check(node: &Node) -> Result<Condition> {
    let sql = node.value.as_deref().or_else(|| node.text("sql"));
    let sql = sql.map(|s| s.trim().trim_end_matches(';').trim_end()).filter(|s| !s.is_empty());
    let Some(sql) = sql else {
        return Err(node.at.error("the sqlCheck has no SQL").fix("write the query into it"));
    };
    let expected = node.text("expectedResult").ok_or_else(|| {
        node.at.error("the sqlCheck has no expectedResult").fix("say what the query has to give")
    })?;
    Ok(Condition::SqlCheck { expected: expected.to_owned(), sql: sql.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Preconditions> {
        let text = format!("databaseChangeLog:\n- preConditions:\n{yaml}");
        let root = super::super::yaml::parse(&text, &"p.yaml".into())?;
        Preconditions::read(&root.children[0], "root.yaml", &|name, _| name == "known")
    }

    #[test]
    fn they_nest() {
        let read = read(
            "  - onFail: MARK_RAN\n  - onFailMessage: hey\n  - or:\n    - tableExists: {tableName: t}\n    \
             - not:\n      - columnExists: {tableName: t, columnName: c, schemaName: s}\n  \
             - sqlCheck: {expectedResult: 1, sql: select 1;}\n  \
             - changeLogPropertyDefined: {property: known}\n  \
             - changeSetExecuted: {id: 1, author: a}\n",
        )
        .unwrap();
        assert_eq!((read.on_fail, read.on_error), (Reaction::MarkRan, Reaction::Halt));
        assert_eq!(read.fail_message.as_deref(), Some("hey"));
        let table = |schema: Option<&str>| Object {
            schema: schema.map(str::to_owned),
            name: "t".to_owned(),
        };
        let column = Condition::ColumnExists { table: table(Some("s")), column: "c".to_owned() };
        let any = vec![Condition::TableExists(table(None)), Condition::Not(vec![column])];
        let check = Condition::SqlCheck { expected: "1".to_owned(), sql: "select 1".to_owned() };
        let executed = Condition::ChangeSetExecuted {
            id: "1".to_owned(),
            author: "a".to_owned(),
            file: "root.yaml".to_owned(),
        };
        let want = [Condition::Any(any), check, Condition::Known(true), executed];
        assert_eq!(read.conditions, want);
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |yaml: &str| read(yaml).unwrap_err().report();
        assert!(refused("  - tableExist: {tableName: t}\n").contains("write 'tableExists'"));
        assert!(refused("  - tableExists: {}\n").contains("has no tableName"));
        assert!(refused("  - onFail: MARKRAN\n").contains("write 'MARK_RAN'"));
    }
}
