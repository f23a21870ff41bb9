//! The declaration of a change: a TOML file, read and checked for itself. Whether the database can
//! make it is asked elsewhere.

use mainstay_core::{Code, Error, Result};
use serde::Deserialize;

use super::engines::PerEngine;

const NAME_CHARS_MAX: usize = 60;

/// A declared change of one table.
///
/// ```
/// use mainstay_migrate::online::Change;
///
/// let text = r#"
///     name = "orders-currency"
///     table = "orders"
///     [add_column]
///     column = "currency"
///     type = { postgres = "text", mysql = "varchar(3)", sqlite = "TEXT" }
///     fill = "'EUR'"
/// "#;
/// assert_eq!(Change::parse("currency.toml", text)?.name(), "orders-currency");
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) kind: Kind,
    /// The file, as it is kept in the database.
    pub(crate) text: String,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    AddColumn(AddColumn),
    RenameColumn(RenameColumn),
    RetypeColumn(RetypeColumn),
    SplitColumn(SplitColumn),
    AddUnique(AddUnique),
    AddForeignKey(AddForeignKey),
    AddIndex(AddIndex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    table: String,
    add_column: Option<AddColumn>,
    rename_column: Option<RenameColumn>,
    retype_column: Option<RetypeColumn>,
    split_column: Option<SplitColumn>,
    add_unique: Option<AddUnique>,
    add_foreign_key: Option<AddForeignKey>,
    add_index: Option<AddIndex>,
}

/// A column that is NOT NULL in the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddColumn {
    pub(crate) column: String,
    #[serde(rename = "type")]
    pub(crate) kind: PerEngine,
    /// Over the row's columns.
    pub(crate) fill: PerEngine,
    pub(crate) default: Option<PerEngine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameColumn {
    pub(crate) column: String,
    pub(crate) to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetypeColumn {
    pub(crate) column: String,
    #[serde(rename = "type")]
    pub(crate) kind: PerEngine,
    /// The new value out of the row's columns.
    pub(crate) using: PerEngine,
    /// The old value out of the new one, which is in `<column>__new`.
    pub(crate) back: Option<PerEngine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitColumn {
    pub(crate) column: String,
    /// The old value out of the new columns.
    pub(crate) back: PerEngine,
    pub(crate) into: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) column: String,
    #[serde(rename = "type")]
    pub(crate) kind: PerEngine,
    pub(crate) fill: PerEngine,
    /// Whether it may be NULL although the old column may not.
    #[serde(default)]
    pub(crate) nullable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddUnique {
    pub(crate) columns: Vec<String>,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddForeignKey {
    pub(crate) columns: Vec<String>,
    pub(crate) references: String,
    pub(crate) to: Vec<String>,
    pub(crate) on_delete: Option<OnDelete>,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnDelete {
    Cascade,
    SetNull,
    Restrict,
    NoAction,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddIndex {
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) unique: bool,
    pub(crate) name: Option<String>,
    #[serde(rename = "where")]
    pub(crate) filter: Option<String>,
}

impl OnDelete {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            OnDelete::Cascade => "CASCADE",
            OnDelete::SetNull => "SET NULL",
            OnDelete::Restrict => "RESTRICT",
            OnDelete::NoAction => "NO ACTION",
        }
    }
}

impl Change {
    /// Reads a declaration; `place` is what messages call it, as its path.
    ///
    /// Errors: MIG-017, with the line and the key.
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        let wrong = |what: String| Error::new(Code::ExpandPlan, format!("{place}: {what}"));
        let file: File = toml::from_str(text)
            .map_err(|e| wrong(e.message().to_owned()).why(e.to_string().trim_end().to_owned()))?;
        let File { name, table, .. } = &file;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
            let what = format!("name is `{name}`");
            return Err(wrong(what).why("it has 1 to 60 of a to z, 0 to 9, - and _"));
        }
        if table.is_empty() {
            return Err(wrong("table is empty".to_owned()));
        }
        let (name, table) = (name.clone(), table.clone());
        let kind = file.kind().map_err(wrong)?;
        kind.check().map_err(wrong)?;
        Ok(Self { name, table, kind, text: text.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table that it changes.
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl File {
    fn kind(self) -> Result<Kind, String> {
        let given = [
            self.add_column.map(Kind::AddColumn),
            self.rename_column.map(Kind::RenameColumn),
            self.retype_column.map(Kind::RetypeColumn),
            self.split_column.map(Kind::SplitColumn),
            self.add_unique.map(Kind::AddUnique),
            self.add_foreign_key.map(Kind::AddForeignKey),
            self.add_index.map(Kind::AddIndex),
        ];
        let mut given = given.into_iter().flatten();
        let list = "add_column, rename_column, retype_column, split_column, add_unique, \
                    add_foreign_key and add_index";
        match (given.next(), given.next()) {
            (Some(kind), None) => Ok(kind),
            (None, _) => Err(format!("it has none of {list}")),
            (Some(a), Some(b)) => {
                Err(format!("it has {} and {}: a change is one of {list}", a.key(), b.key()))
            }
        }
    }
}

impl Kind {
    /// Its key in the file.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Kind::AddColumn(_) => "add_column",
            Kind::RenameColumn(_) => "rename_column",
            Kind::RetypeColumn(_) => "retype_column",
            Kind::SplitColumn(_) => "split_column",
            Kind::AddUnique(_) => "add_unique",
            Kind::AddForeignKey(_) => "add_foreign_key",
            Kind::AddIndex(_) => "add_index",
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Kind::SplitColumn(split) if split.into.is_empty() => {
                Err("split_column.into is empty".to_owned())
            }
            Kind::AddUnique(AddUnique { columns, .. })
            | Kind::AddForeignKey(AddForeignKey { columns, .. })
            | Kind::AddIndex(AddIndex { columns, .. })
                if columns.is_empty() =>
            {
                Err(format!("{}.columns is empty", self.key()))
            }
            Kind::AddForeignKey(key) if key.columns.len() != key.to.len() => {
                Err("add_foreign_key.to has not as many columns as add_foreign_key.columns"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The column that goes in the end, or takes another's place.
    pub(crate) fn old_column(&self) -> Option<&str> {
        match self {
            Kind::RenameColumn(RenameColumn { column, .. })
            | Kind::RetypeColumn(RetypeColumn { column, .. })
            | Kind::SplitColumn(SplitColumn { column, .. }) => Some(column),
            _ => None,
        }
    }

    /// The columns that the expand phase adds.
    pub(crate) fn new_columns(&self) -> Vec<String> {
        match self {
            Kind::AddColumn(add) => vec![add.column.clone()],
            Kind::RenameColumn(rename) => vec![rename.to.clone()],
            Kind::RetypeColumn(retype) => vec![beside(&retype.column)],
            Kind::SplitColumn(split) => split.into.iter().map(|p| p.column.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

/// What stands beside the thing called `name` until it takes its name.
pub(crate) fn beside(name: &str) -> String {
    // PostgreSQL's names have 63 bytes.
    format!("{}__new", fitting(name, 58))
}

/// `name` in at most so many bytes. What is cut ends with a hash, or two names might become one.
pub(crate) fn fitting(name: &str, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name.to_owned();
    }
    let hash = crate::checksum::strong(name);
    let mut end = bytes_max.saturating_sub(9);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{}", &name[..end], hash.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Change::parse("c.toml", text).unwrap_err().report()
    }

    #[test]
    fn a_declaration_is_read() {
        let text = "name = \"a\"\ntable = \"t\"\n[split_column]\ncolumn = \"name\"\nback = \"a\"\n\
                    [[split_column.into]]\ncolumn = \"a\"\ntype = { sqlite = \"TEXT\" }\nfill = \"name\"\n";
        let change = Change::parse("c.toml", text).unwrap();
        assert_eq!(change.kind.new_columns(), ["a"]);
        assert_eq!(change.kind.old_column(), Some("name"));
    }

    #[test]
    fn names_that_are_cut_stay_apart() {
        let long = |end: &str| format!("{}{end}", "ü".repeat(40));
        let (a, b) = (beside(&long("a")), beside(&long("b")));
        assert!(a != b && a.len() <= 63 && b.len() <= 63, "{a} {b}");
        assert_eq!(beside("total"), "total__new");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let head = "name = \"a\"\ntable = \"t\"\n";
        assert!(refused("name = \"A\"\ntable = \"t\"\n").contains("name is `A`"));
        assert!(refused(head).contains("none of"));
        let both = "[add_index]\ncolumns = [\"a\"]\n[add_unique]\ncolumns = [\"a\"]\n";
        assert!(refused(&format!("{head}{both}")).contains("add_unique and add_index"));
        let unknown = refused(&format!("{head}[add_index]\ncolumn = [\"a\"]\n"));
        assert!(unknown.contains("c.toml") && unknown.contains("column"), "{unknown}");
        let engine = "[add_column]\ncolumn = \"c\"\ntype = { oracle = \"x\" }\nfill = \"1\"\n";
        assert!(refused(&format!("{head}{engine}")).contains("oracle"));
        assert!(refused(&format!("{head}[add_index]\ncolumns = []\n")).contains("is empty"));
    }
}
