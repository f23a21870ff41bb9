//! The changes that Liquibase has a name for, and what each may and must be given.
//!
//! A name that is not here is refused when a changelog is read; how a change is done on an engine is
//! told in [`render`](super::render).

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Boolean,
    Integer,
}

/// Which columns a change holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    None,
    Allowed,
    Required,
}

/// What a change is made of.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) text: &'static [&'static str],
    pub(crate) boolean: &'static [&'static str],
    pub(crate) integer: &'static [&'static str],
    pub(crate) required: &'static [&'static str],
    pub(crate) columns: Columns,
    /// The field that the text inside the element goes to.
    pub(crate) body: Option<&'static str>,
}

impl Spec {
    /// The field of that name as the table has it, and its type.
    pub(crate) fn field(&self, name: &str) -> Option<(&'static str, Type)> {
        let find =
            |list: &'static [&'static str], of| list.iter().find(|f| **f == name).map(|f| (*f, of));
        find(self.text, Type::Text)
            .or_else(|| find(self.boolean, Type::Boolean))
            .or_else(|| find(self.integer, Type::Integer))
    }

    /// Every field's name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.text.iter().chain(self.boolean).chain(self.integer).copied()
    }
}

macro_rules! kinds {
    ($($kind:ident $name:literal {
        text: [$($text:literal),*], boolean: [$($boolean:literal),*],
        integer: [$($integer:literal),*], required: [$($required:literal),*],
        columns: $columns:ident, body: $body:expr,
    })*) => {
        /// A change that Liquibase has a name for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($kind,)* }

        impl Kind {
            pub(crate) const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            pub(crate) fn spec(self) -> &'static Spec {
                match self { $(Kind::$kind => {
                    const SPEC: Spec = Spec {
                        text: &[$($text),*],
                        boolean: &[$($boolean),*],
                        integer: &[$($integer),*],
                        required: &[$($required),*],
                        columns: Columns::$columns,
                        body: $body,
                    };
                    &SPEC
                })* }
            }
        }
    };
}

kinds! {
    AddAutoIncrement "addAutoIncrement" {
        text: [
            "catalogName", "columnDataType", "columnName", "generationType", "schemaName",
            "tableName"
        ],
        boolean: ["defaultOnNull"],
        integer: ["incrementBy", "startWith"],
        required: ["columnName", "tableName"],
        columns: None, body: None,
    }
    AddColumn "addColumn" {
        text: ["catalogName", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["tableName"],
        columns: Required, body: None,
    }
    AddDefaultValue "addDefaultValue" {
        text: [
            "catalogName", "columnDataType", "columnName", "defaultValue", "defaultValueComputed",
            "defaultValueConstraintName", "defaultValueDate", "defaultValueNumeric",
            "defaultValueSequenceNext", "schemaName", "tableName"
        ],
        boolean: ["defaultValueBoolean"],
        integer: [],
        required: ["columnName", "tableName"],
        columns: None, body: None,
    }
    AddForeignKeyConstraint "addForeignKeyConstraint" {
        text: [
            "baseColumnNames", "baseTableCatalogName", "baseTableName", "baseTableSchemaName",
            "constraintName", "onDelete", "onUpdate", "referencedColumnNames",
            "referencedTableCatalogName", "referencedTableName", "referencedTableSchemaName"
        ],
        boolean: [
            "deferrable", "deleteCascade", "initiallyDeferred", "referencesUniqueColumn", "validate"
        ],
        integer: [],
        required: [
            "baseColumnNames", "baseTableName", "constraintName", "referencedColumnNames",
            "referencedTableName"
        ],
        columns: None, body: None,
    }
    AddNotNullConstraint "addNotNullConstraint" {
        text: [
            "catalogName", "columnDataType", "columnName", "constraintName", "defaultNullValue",
            "schemaName", "tableName"
        ],
        boolean: ["validate"],
        integer: [],
        required: ["columnName", "tableName"],
        columns: None, body: None,
    }
    AddPrimaryKey "addPrimaryKey" {
        text: [
            "catalogName", "columnNames", "constraintName", "forIndexCatalogName", "forIndexName",
            "forIndexSchemaName", "schemaName", "tableName", "tablespace"
        ],
        boolean: ["clustered", "validate"],
        integer: [],
        required: ["columnNames", "tableName"],
        columns: None, body: None,
    }
    AddUniqueConstraint "addUniqueConstraint" {
        text: [
            "catalogName", "columnNames", "constraintName", "forIndexCatalogName", "forIndexName",
            "forIndexSchemaName", "schemaName", "tableName", "tablespace"
        ],
        boolean: ["clustered", "deferrable", "disabled", "initiallyDeferred", "validate"],
        integer: [],
        required: ["columnNames", "tableName"],
        columns: None, body: None,
    }
    AlterSequence "alterSequence" {
        text: ["catalogName", "dataType", "schemaName", "sequenceName"],
        boolean: ["cycle", "ordered"],
        integer: ["cacheSize", "incrementBy", "maxValue", "minValue"],
        required: ["sequenceName"],
        columns: None, body: None,
    }
    CreateIndex "createIndex" {
        text: [
            "associatedWith", "catalogName", "indexName", "schemaName", "tableName", "tablespace"
        ],
        boolean: ["clustered", "unique"],
        integer: [],
        required: ["tableName"],
        columns: Required, body: None,
    }
    CreateProcedure "createProcedure" {
        text: [
            "catalogName", "comments", "dbms", "encoding", "path", "procedureName", "procedureText",
            "schemaName"
        ],
        boolean: ["relativeToChangelogFile", "replaceIfExists"],
        integer: [],
        required: [],
        columns: None, body: Some("procedureText"),
    }
    CreateSequence "createSequence" {
        text: ["catalogName", "dataType", "schemaName", "sequenceName"],
        boolean: ["cycle", "ordered"],
        integer: ["cacheSize", "incrementBy", "maxValue", "minValue", "startValue"],
        required: ["sequenceName"],
        columns: None, body: None,
    }
    CreateTable "createTable" {
        text: ["catalogName", "remarks", "schemaName", "tableName", "tableType", "tablespace"],
        boolean: ["ifNotExists"],
        integer: [],
        required: ["tableName"],
        columns: Required, body: None,
    }
    CreateView "createView" {
        text: [
            "catalogName", "encoding", "path", "remarks", "schemaName", "selectQuery", "viewName"
        ],
        boolean: ["fullDefinition", "relativeToChangelogFile", "replaceIfExists"],
        integer: [],
        required: ["viewName"],
        columns: None, body: Some("selectQuery"),
    }
    Delete "delete" {
        text: ["catalogName", "schemaName", "tableName", "where"],
        boolean: [],
        integer: [],
        required: ["tableName"],
        columns: None, body: None,
    }
    DropColumn "dropColumn" {
        text: ["catalogName", "columnName", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["tableName"],
        columns: Allowed, body: None,
    }
    DropDefaultValue "dropDefaultValue" {
        text: ["catalogName", "columnDataType", "columnName", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["columnName", "tableName"],
        columns: None, body: None,
    }
    DropForeignKeyConstraint "dropForeignKeyConstraint" {
        text: ["baseTableCatalogName", "baseTableName", "baseTableSchemaName", "constraintName"],
        boolean: [],
        integer: [],
        required: ["baseTableName", "constraintName"],
        columns: None, body: None,
    }
    DropIndex "dropIndex" {
        text: ["catalogName", "indexName", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["indexName"],
        columns: None, body: None,
    }
    DropNotNullConstraint "dropNotNullConstraint" {
        text: [
            "catalogName", "columnDataType", "columnName", "constraintName", "schemaName",
            "tableName"
        ],
        boolean: [],
        integer: [],
        required: ["columnName", "tableName"],
        columns: None, body: None,
    }
    DropPrimaryKey "dropPrimaryKey" {
        text: ["catalogName", "constraintName", "schemaName", "tableName"],
        boolean: ["dropIndex"],
        integer: [],
        required: ["tableName"],
        columns: None, body: None,
    }
    DropProcedure "dropProcedure" {
        text: ["catalogName", "procedureName", "schemaName"],
        boolean: [],
        integer: [],
        required: ["procedureName"],
        columns: None, body: None,
    }
    DropSequence "dropSequence" {
        text: ["catalogName", "schemaName", "sequenceName"],
        boolean: [],
        integer: [],
        required: ["sequenceName"],
        columns: None, body: None,
    }
    DropTable "dropTable" {
        text: ["catalogName", "schemaName", "tableName"],
        boolean: ["cascadeConstraints"],
        integer: [],
        required: ["tableName"],
        columns: None, body: None,
    }
    DropUniqueConstraint "dropUniqueConstraint" {
        text: ["catalogName", "constraintName", "schemaName", "tableName", "uniqueColumns"],
        boolean: [],
        integer: [],
        required: ["constraintName", "tableName"],
        columns: None, body: None,
    }
    DropView "dropView" {
        text: ["catalogName", "schemaName", "viewName"],
        boolean: ["ifExists"],
        integer: [],
        required: ["viewName"],
        columns: None, body: None,
    }
    Empty "empty" {
        text: [],
        boolean: [],
        integer: [],
        required: [],
        columns: None, body: None,
    }
    Insert "insert" {
        text: ["catalogName", "dbms", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["tableName"],
        columns: Required, body: None,
    }
    MergeColumns "mergeColumns" {
        text: [
            "catalogName", "column1Name", "column2Name", "finalColumnName", "finalColumnType",
            "joinString", "schemaName", "tableName"
        ],
        boolean: [],
        integer: [],
        required: ["column1Name", "column2Name", "finalColumnName", "finalColumnType", "tableName"],
        columns: None, body: None,
    }
    ModifyDataType "modifyDataType" {
        text: ["catalogName", "columnName", "newDataType", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["columnName", "newDataType", "tableName"],
        columns: None, body: None,
    }
    Output "output" {
        text: ["message", "target"],
        boolean: [],
        integer: [],
        required: [],
        columns: None, body: Some("message"),
    }
    RenameColumn "renameColumn" {
        text: [
            "catalogName", "columnDataType", "newColumnName", "oldColumnName", "remarks",
            "schemaName", "tableName"
        ],
        boolean: [],
        integer: [],
        required: ["newColumnName", "oldColumnName", "tableName"],
        columns: None, body: None,
    }
    RenameSequence "renameSequence" {
        text: ["catalogName", "newSequenceName", "oldSequenceName", "schemaName"],
        boolean: [],
        integer: [],
        required: ["newSequenceName", "oldSequenceName"],
        columns: None, body: None,
    }
    RenameTable "renameTable" {
        text: ["catalogName", "newTableName", "oldTableName", "schemaName"],
        boolean: [],
        integer: [],
        required: ["newTableName", "oldTableName"],
        columns: None, body: None,
    }
    RenameView "renameView" {
        text: ["catalogName", "newViewName", "oldViewName", "schemaName"],
        boolean: [],
        integer: [],
        required: ["newViewName", "oldViewName"],
        columns: None, body: None,
    }
    SetColumnRemarks "setColumnRemarks" {
        text: [
            "catalogName", "columnDataType", "columnName", "columnParentType", "remarks",
            "schemaName", "tableName"
        ],
        boolean: [],
        integer: [],
        required: ["columnName", "remarks", "tableName"],
        columns: None, body: None,
    }
    SetTableRemarks "setTableRemarks" {
        text: ["catalogName", "remarks", "schemaName", "tableName"],
        boolean: [],
        integer: [],
        required: ["remarks", "tableName"],
        columns: None, body: None,
    }
    Stop "stop" {
        text: ["message"],
        boolean: [],
        integer: [],
        required: [],
        columns: None, body: Some("message"),
    }
    TagDatabase "tagDatabase" {
        text: ["tag"],
        boolean: [],
        integer: [],
        required: ["tag"],
        columns: None, body: None,
    }
    Update "update" {
        text: ["catalogName", "schemaName", "tableName", "where"],
        boolean: [],
        integer: [],
        required: ["tableName"],
        columns: Required, body: None,
    }
}

impl Kind {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// What Liquibase has and Mainstay does not, and what to do instead.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("addLookupTable", "write the statements as sql changes"),
    ("createFunction", "write the function as a sql change with splitStatements: false"),
    ("createPackage", "no engine that Mainstay knows has packages"),
    ("createPackageBody", "no engine that Mainstay knows has packages"),
    ("createTrigger", "write the trigger as a sql change with splitStatements: false"),
    ("customChange", "do it in the program, after the migrations"),
    ("dropAllForeignKeyConstraints", "name each in a dropForeignKeyConstraint"),
    ("executeCommand", "run the command outside of the migrations"),
    ("loadData", "write the rows as insert changes or as SQL in a sqlFile"),
    ("loadUpdateData", "write the rows as SQL in a sqlFile"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_can_be_given() {
        for kind in Kind::ALL {
            let spec = kind.spec();
            for field in spec.required.iter().chain(&spec.body) {
                assert!(spec.field(field).is_some(), "{} {field}", kind.name());
            }
            assert_eq!(Kind::named(kind.name()), Some(*kind));
        }
    }
}
