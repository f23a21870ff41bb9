//! One change from the neutral tree: its fields by the table of [kinds](super::kind), its columns and
//! their constraints.
//!
//! Values are brought into the form in which Liquibase keeps them, for the checksum's sake.

use mainstay_core::Result;

use super::build::Context;
use super::kind::{Columns, Kind, Type};
use super::model::{Change, Column, Defined, Fields, Sql};
use super::node::Node;
use super::value;

const COLUMN_TEXT: &[&str] = &[
    "name",
    "type",
    "value",
    "valueNumeric",
    "valueDate",
    "valueComputed",
    "valueSequenceNext",
    "valueSequenceCurrent",
    "valueClobFile",
    "valueBlobFile",
    "defaultValue",
    "defaultValueNumeric",
    "defaultValueDate",
    "defaultValueComputed",
    "defaultValueSequenceNext",
    "defaultValueConstraintName",
    "remarks",
    "encoding",
    "generationType",
    "afterColumn",
    "beforeColumn",
];
const COLUMN_BOOLEAN: &[&str] = &[
    "autoIncrement",
    "computed",
    "descending",
    "defaultOnNull",
    "defaultValueBoolean",
    "valueBoolean",
];
const COLUMN_INTEGER: &[&str] = &["startWith", "incrementBy", "position"];

const CONSTRAINT_TEXT: &[&str] = &[
    "checkConstraint",
    "foreignKeyName",
    "notNullConstraintName",
    "primaryKeyName",
    "primaryKeyTablespace",
    "referencedColumnNames",
    "referencedTableCatalogName",
    "referencedTableName",
    "referencedTableSchemaName",
    "references",
    "uniqueConstraintName",
];
const CONSTRAINT_BOOLEAN: &[&str] = &[
    "nullable",
    "primaryKey",
    "unique",
    "deferrable",
    "initiallyDeferred",
    "deleteCascade",
    "validateForeignKey",
    "validateNullable",
    "validatePrimaryKey",
    "validateUnique",
];

const SQL: &[&str] =
    &["sql", "splitStatements", "stripComments", "endDelimiter", "dbms", "comment"];
const SQL_FILE: &[&str] = &[
    "path",
    "relativeToChangelogFile",
    "encoding",
    "splitStatements",
    "stripComments",
    "endDelimiter",
    "dbms",
];

/// A `sql`.
pub(super) fn sql(node: &Node) -> Result<Change> {
    only(node, SQL)?;
    let text = node.value.as_deref().or_else(|| node.text("sql")).unwrap_or_default().trim();
    if text.is_empty() {
        return Err(node.at.error("the sql change has no SQL").fix("write its SQL, or use empty"));
    }
    Ok(Change::Sql(options(Sql::new(text, node.at.clone()), node)?))
}

/// A `sqlFile`.
pub(super) fn sql_file(node: &Node, context: &Context<'_>) -> Result<Change> {
    only(node, SQL_FILE)?;
    utf8(node)?;
    let path = node.required("path")?;
    let relative = node.flag("relativeToChangelogFile", false)?;
    let (raw, text) = context.text(path, relative, &node.at)?;
    let mut sql = options(Sql::new(text, node.at.clone()), node)?;
    (sql.path, sql.raw) = (Some(path.to_owned()), Some(raw));
    Ok(Change::Sql(sql))
}

fn options(mut sql: Sql, node: &Node) -> Result<Sql> {
    sql.split = node.flag("splitStatements", true)?;
    sql.strip_comments = node.flag("stripComments", false)?;
    sql.delimiter = node.text("endDelimiter").filter(|d| !d.is_empty()).map(str::to_owned);
    sql.dbms = node.text("dbms").map(str::to_owned);
    Ok(sql)
}

fn only(node: &Node, known: &'static [&'static str]) -> Result<()> {
    match node.children.iter().find(|c| !known.contains(&c.name.as_str())) {
        Some(other) => {
            let what = format!("the attribute of {}", node.name);
            Err(other.at.unknown(what, &other.name, known.iter().copied()))
        }
        None => Ok(()),
    }
}

fn utf8(node: &Node) -> Result<()> {
    match node.text("encoding") {
        Some(other) if !matches!(other.to_lowercase().as_str(), "utf-8" | "utf8" | "us-ascii") => {
            let error = node.at.error(format_args!("the encoding '{other}' can't be read"));
            Err(error.fix("store the file as UTF-8"))
        }
        _ => Ok(()),
    }
}

/// A change that has a name.
pub(super) fn defined(kind: Kind, node: &Node, context: &Context<'_>) -> Result<Defined> {
    let spec = kind.spec();
    let mut change = Defined::new(kind, node.at.clone());
    for child in &node.children {
        match (child.name.as_str(), spec.columns) {
            ("column", Columns::Allowed | Columns::Required) => {
                change.columns.push(column(child, kind)?);
            }
            ("columns", Columns::Allowed | Columns::Required) => {
                for inner in &child.children {
                    if inner.name != "column" {
                        return Err(inner.at.unknown(
                            "in columns the entry",
                            &inner.name,
                            ["column"],
                        ));
                    }
                    change.columns.push(column(inner, kind)?);
                }
            }
            ("whereParams", _) if matches!(kind, Kind::Update | Kind::Delete) => {
                for inner in &child.children {
                    change.params.push(column(inner, kind)?);
                }
            }
            _ => field(&mut change, child)?,
        }
    }
    if let Some(text) = &node.value {
        let Some(body) = spec.body else {
            let error = node.at.error(format_args!("text stands in {}", node.name));
            return Err(error.fix("write it as an attribute, or take it out"));
        };
        change.fields.insert(body, text.clone());
    }
    file(&mut change, node, context)?;
    finish(&mut change, node)?;
    Ok(change)
}

fn field(change: &mut Defined, child: &Node) -> Result<()> {
    let name = match (change.kind, child.name.as_str()) {
        (Kind::CreateProcedure, "procedureBody") => "procedureText",
        (_, name) => name,
    };
    let Some((name, of)) = change.kind.spec().field(name) else {
        let what = format!("the attribute of {}", change.kind.name());
        let known = change.kind.spec().names().chain(["column"]);
        return Err(child.at.unknown(what, &child.name, known));
    };
    if let Some(value) = typed(child, of)? {
        value::insert(&mut change.fields, name, value, child.timestamp);
    }
    Ok(())
}

/// A value in Liquibase's form; none for null.
fn typed(node: &Node, of: Type) -> Result<Option<String>> {
    let Some(value) = &node.value else { return Ok(None) };
    Ok(Some(match of {
        Type::Text => value.clone(),
        Type::Boolean => node.boolean()?.to_string(),
        Type::Integer => {
            let number: i128 = value.trim().parse().map_err(|_| {
                let error = node.at.error(format_args!("{} '{value}' is no number", node.name));
                error.fix("write a whole number")
            })?;
            number.to_string()
        }
    }))
}

/// The SQL of a view or a procedure that stands in a file of its own.
fn file(change: &mut Defined, node: &Node, context: &Context<'_>) -> Result<()> {
    let body = match change.kind {
        Kind::CreateView => "selectQuery",
        Kind::CreateProcedure => "procedureText",
        _ => return Ok(()),
    };
    if let Some(path) = change.get("path").map(str::to_owned) {
        utf8(node)?;
        let relative = change.is("relativeToChangelogFile");
        let (_, text) = context.text(&path, relative, &change.at)?;
        change.fields.insert(body, text);
    }
    if change.get(body).is_none_or(|text| text.trim().is_empty()) {
        let error = node.at.error(format_args!("the {} has no SQL", node.name));
        return Err(error.fix("write its SQL into it, or name a file with path"));
    }
    Ok(())
}

/// What can be told once all fields are there.
fn finish(change: &mut Defined, node: &Node) -> Result<()> {
    match change.kind {
        Kind::AddForeignKeyConstraint => {
            let cascade = change.fields.remove("deleteCascade");
            if cascade.as_deref() == Some("true") {
                change.fields.entry("onDelete").or_insert_with(|| "CASCADE".to_owned());
            }
        }
        Kind::Output => {
            change.fields.entry("target").or_insert_with(|| "STDERR".to_owned());
        }
        Kind::Stop => {
            let message = || "Stop command in changelog file".to_owned();
            change.fields.entry("message").or_insert_with(message);
        }
        _ => {}
    }
    let spec = change.kind.spec();
    for required in spec.required {
        if change.get(required).is_none_or(|v| v.trim().is_empty()) {
            return Err(lacks(node, required));
        }
    }
    let one_column = change.kind == Kind::DropColumn && change.get("columnName").is_none();
    if change.columns.is_empty() && (spec.columns == Columns::Required || one_column) {
        return Err(lacks(node, "column"));
    }
    Ok(())
}

fn lacks(node: &Node, what: &str) -> mainstay_core::Error {
    let error = node.at.error(format_args!("{} has no {what}", node.name));
    error.fix(format!("give it a {what}"))
}

fn column(node: &Node, kind: Kind) -> Result<Column> {
    let mut column = Column::default();
    for child in &node.children {
        if child.name == "constraints" {
            column.constraints = Some(constraints(child)?);
            continue;
        }
        let Some((name, of)) = find(&child.name, COLUMN_TEXT, COLUMN_BOOLEAN, COLUMN_INTEGER)
        else {
            let known = COLUMN_TEXT.iter().chain(COLUMN_BOOLEAN).chain(COLUMN_INTEGER).copied();
            let known = known.chain(["constraints"]);
            return Err(child.at.unknown("the column's attribute", &child.name, known));
        };
        if let Some(value) = typed(child, of)? {
            value::insert(&mut column.fields, name, value, child.timestamp);
        }
    }
    if let Some(text) = &node.value {
        column.fields.insert("value", text.clone());
    }
    if column.name().is_empty() && node.name != "param" {
        return Err(lacks(node, "name"));
    }
    if kind == Kind::CreateIndex {
        // Of an index's columns Liquibase keeps nothing else, not even for the checksum.
        column.fields.retain(|name, _| matches!(*name, "name" | "computed" | "descending"));
    }
    Ok(column)
}

fn constraints(node: &Node) -> Result<Fields> {
    let mut fields = Fields::new();
    for child in &node.children {
        let Some((name, of)) = find(&child.name, CONSTRAINT_TEXT, CONSTRAINT_BOOLEAN, &[]) else {
            let known = CONSTRAINT_TEXT.iter().chain(CONSTRAINT_BOOLEAN).copied();
            return Err(child.at.unknown("the constraint's attribute", &child.name, known));
        };
        if let Some(value) = typed(child, of)? {
            fields.insert(name, value);
        }
    }
    Ok(fields)
}

fn find(
    name: &str,
    text: &'static [&'static str],
    boolean: &'static [&'static str],
    integer: &'static [&'static str],
) -> Option<(&'static str, Type)> {
    let lists = [(text, Type::Text), (boolean, Type::Boolean), (integer, Type::Integer)];
    lists.into_iter().find_map(|(list, of)| list.iter().find(|f| **f == name).map(|f| (*f, of)))
}
