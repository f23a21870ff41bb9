//! Liquibase's types on each engine.
//!
//! A type that is not in the table is left as it is written: it is the engine's own.

use mainstay_db::Engine;

use crate::liquibase::filter::Target;

/// What kind of values a type has, for how a default is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Boolean,
    Bit,
    Number,
    Time,
    Other,
}

/// A type on an engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SqlType {
    pub(super) sql: String,
    pub(super) class: Class,
    /// Whether it counts up by itself.
    pub(super) serial: bool,
}

/// Names, class, and the type on PostgreSQL, MySQL and SQLite; `{}` stands for its size.
type Row = (&'static [&'static str], Class, [&'static str; 3]);

const TABLE: &[Row] = &[
    (&["int", "integer", "int4"], Class::Number, ["INTEGER", "INT", "INTEGER"]),
    (&["serial", "serial4"], Class::Number, ["INTEGER", "INT", "INTEGER"]),
    (&["mediumint"], Class::Number, ["INTEGER", "MEDIUMINT", "MEDIUMINT"]),
    (&["bigint", "int8"], Class::Number, ["BIGINT", "BIGINT", "BIGINT"]),
    (&["bigserial", "serial8"], Class::Number, ["BIGINT", "BIGINT", "BIGINT"]),
    (&["smallint", "int2"], Class::Number, ["SMALLINT", "SMALLINT", "SMALLINT"]),
    (&["tinyint"], Class::Number, ["SMALLINT", "TINYINT{}", "TINYINT{}"]),
    (&["number", "numeric"], Class::Number, ["NUMERIC{}", "NUMERIC{}", "NUMERIC{}"]),
    (&["decimal", "dec"], Class::Number, ["DECIMAL{}", "DECIMAL{}", "DECIMAL{}"]),
    (&["currency", "money"], Class::Number, ["DECIMAL", "DECIMAL", "REAL"]),
    (&["double", "double precision"], Class::Number, ["DOUBLE PRECISION", "DOUBLE", "DOUBLE"]),
    (&["float"], Class::Number, ["FLOAT{}", "FLOAT{}", "FLOAT{}"]),
    (&["real"], Class::Number, ["REAL", "REAL", "FLOAT"]),
    (&["boolean", "bool"], Class::Boolean, ["BOOLEAN", "TINYINT(1)", "BOOLEAN"]),
    (&["bit"], Class::Bit, ["BIT{}", "BIT{}", "BOOLEAN"]),
    (
        &["datetime", "datetime2", "smalldatetime"],
        Class::Time,
        ["TIMESTAMP{} WITHOUT TIME ZONE", "DATETIME{}", "TEXT"],
    ),
    (&["timestamp"], Class::Time, ["TIMESTAMP{} WITHOUT TIME ZONE", "TIMESTAMP{}", "TEXT"]),
    (
        &["timestamptz", "timestamp_with_timezone"],
        Class::Time,
        ["TIMESTAMP{} WITH TIME ZONE", "TIMESTAMP{}", "TEXT"],
    ),
    (&["date"], Class::Time, ["DATE", "DATE", "DATE"]),
    (&["time"], Class::Time, ["TIME{} WITHOUT TIME ZONE", "TIME", "TIME"]),
    (&["timetz", "time_with_timezone"], Class::Time, ["TIME{} WITH TIME ZONE", "TIME", "TIME"]),
    (
        &["varchar", "varchar2", "character varying"],
        Class::Other,
        ["VARCHAR{}", "VARCHAR{}", "VARCHAR{}"],
    ),
    (&["nvarchar", "nvarchar2"], Class::Other, ["VARCHAR{}", "NVARCHAR{}", "NVARCHAR{}"]),
    (&["char", "character"], Class::Other, ["CHAR{}", "CHAR{}", "CHAR{}"]),
    (&["nchar"], Class::Other, ["CHAR{}", "NCHAR{}", "NCHAR{}"]),
    (&["text"], Class::Other, ["TEXT", "TEXT", "TEXT"]),
    (&["tinytext"], Class::Other, ["TEXT", "TINYTEXT", "TEXT"]),
    (&["mediumtext"], Class::Other, ["TEXT", "MEDIUMTEXT", "TEXT"]),
    (&["clob", "longtext", "longvarchar"], Class::Other, ["TEXT", "LONGTEXT", "TEXT"]),
    (
        &["nclob", "ntext", "longnvarchar"],
        Class::Other,
        ["TEXT", "LONGTEXT CHARACTER SET utf8", "TEXT"],
    ),
    // Liquibase keeps large objects apart on PostgreSQL, and the column has their number.
    (&["blob"], Class::Other, ["OID", "BLOB", "BLOB"]),
    (&["longblob", "image", "longvarbinary"], Class::Other, ["BYTEA", "LONGBLOB", "BLOB"]),
    (&["mediumblob"], Class::Other, ["BYTEA", "MEDIUMBLOB", "BLOB"]),
    (&["tinyblob"], Class::Other, ["BYTEA", "TINYBLOB", "BLOB"]),
    (&["binary"], Class::Other, ["BYTEA", "BINARY{}", "BLOB"]),
    (&["varbinary"], Class::Other, ["BYTEA", "VARBINARY{}", "BLOB"]),
    (&["uuid", "uniqueidentifier"], Class::Other, ["UUID", "CHAR(36)", "TEXT"]),
    (&["xml", "xmltype"], Class::Other, ["XML", "LONGTEXT", "TEXT"]),
];

/// The type that a changelog names, on an engine.
pub(super) fn column_type(written: &str, target: Target) -> SqlType {
    let parts = Parts::of(written);
    let Some((names, class, engines)) = row(&parts.name) else {
        return SqlType { sql: written.trim().to_owned(), class: Class::Other, serial: false };
    };
    let template = match target.engine {
        Engine::Postgres => engines[0],
        Engine::MySql if target.mariadb && names.contains(&"uuid") => "UUID",
        Engine::MySql => engines[1],
        Engine::Sqlite => engines[2],
    };
    let mut sql = template.replace("{}", &parts.size);
    // What follows, such as `unsigned`, means something to MySQL; brackets to PostgreSQL.
    let means = match target.engine {
        Engine::MySql => true,
        Engine::Postgres => parts.rest.starts_with('['),
        Engine::Sqlite => false,
    };
    if means && !parts.rest.is_empty() {
        let gap = if parts.rest.starts_with('[') { "" } else { " " };
        sql = format!("{sql}{gap}{}", parts.rest);
    }
    SqlType { sql, class: *class, serial: parts.name.contains("serial") }
}

fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|(names, ..)| names.contains(&name))
}

/// A type as it is written, taken apart.
struct Parts {
    /// In lower case, and as the table has it.
    name: String,
    /// With its parentheses, or empty.
    size: String,
    rest: String,
}

impl Parts {
    fn of(written: &str) -> Self {
        let written = written.trim();
        let (written, java) = match written.strip_prefix("java.sql.Types.") {
            Some(name) => (name, true),
            None => (written, false),
        };
        let cut = written.find(['(', '[']).unwrap_or(written.len());
        let (head, tail) = written.split_at(cut);
        let (size, rest) = match tail.strip_prefix('(').and_then(|t| t.split_once(')')) {
            Some((size, rest)) => {
                let sizes: Vec<_> = size.split(',').map(str::trim).collect();
                (format!("({})", sizes.join(", ")), rest.trim())
            }
            None => (String::new(), tail.trim()),
        };
        let head = head.trim().to_lowercase();
        let (name, after) = match head.split_once(' ') {
            Some((first, after)) if row(&head).is_none() => (first, after.trim()),
            _ => (head.as_str(), ""),
        };
        let rest = [after, rest].iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>();
        let rest = rest.join(" ");
        let (name, rest) = match (name, rest.to_lowercase().as_str()) {
            ("timestamp", "with time zone") => ("timestamptz", String::new()),
            ("time", "with time zone") => ("timetz", String::new()),
            ("timestamp" | "time", "without time zone") => (name, String::new()),
            ("binary" | "varbinary", _) if java => ("longvarbinary", rest),
            ("real", _) if java => ("float", rest),
            _ => (name, rest),
        };
        Self { name: name.to_owned(), size, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liquibase::testing::{MARIADB, MYSQL, POSTGRES, SQLITE};

    #[test]
    fn types_are_what_liquibase_makes_of_them() {
        let table = [
            ("varchar(255)", "VARCHAR(255)", "VARCHAR(255)", "VARCHAR(255)"),
            ("int", "INTEGER", "INT", "INTEGER"),
            ("int(11)", "INTEGER", "INT", "INTEGER"),
            ("tinyint(1)", "SMALLINT", "TINYINT(1)", "TINYINT(1)"),
            ("boolean", "BOOLEAN", "TINYINT(1)", "BOOLEAN"),
            ("datetime(6)", "TIMESTAMP(6) WITHOUT TIME ZONE", "DATETIME(6)", "TEXT"),
            ("timestamptz", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "TEXT"),
            ("timestamp(3) with time zone", "TIMESTAMP(3) WITH TIME ZONE", "TIMESTAMP(3)", "TEXT"),
            ("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP", "TEXT"),
            ("clob", "TEXT", "LONGTEXT", "TEXT"),
            ("blob", "OID", "BLOB", "BLOB"),
            ("binary(16)", "BYTEA", "BINARY(16)", "BLOB"),
            ("uuid", "UUID", "CHAR(36)", "TEXT"),
            ("currency", "DECIMAL", "DECIMAL", "REAL"),
            ("number(10,2)", "NUMERIC(10, 2)", "NUMERIC(10, 2)", "NUMERIC(10, 2)"),
            ("double precision", "DOUBLE PRECISION", "DOUBLE", "DOUBLE"),
            ("character varying(20)", "VARCHAR(20)", "VARCHAR(20)", "VARCHAR(20)"),
            ("bigint unsigned", "BIGINT", "BIGINT unsigned", "BIGINT"),
            ("int[]", "INTEGER[]", "INT[]", "INTEGER"),
            ("java.sql.Types.VARCHAR(20)", "VARCHAR(20)", "VARCHAR(20)", "VARCHAR(20)"),
            ("java.sql.Types.VARBINARY(5)", "BYTEA", "LONGBLOB", "BLOB"),
            ("java.sql.Types.REAL", "FLOAT", "FLOAT", "FLOAT"),
            ("jsonb", "jsonb", "jsonb", "jsonb"),
            ("ENUM('a','b')", "ENUM('a','b')", "ENUM('a','b')", "ENUM('a','b')"),
        ];
        for (written, postgres, mysql, sqlite) in table {
            let on = |target| column_type(written, target).sql;
            assert_eq!(
                [on(POSTGRES), on(MYSQL), on(SQLITE)],
                [postgres, mysql, sqlite],
                "{written}"
            );
        }
        assert_eq!(column_type("uuid", MARIADB).sql, "UUID");
        assert!(column_type("bigserial", POSTGRES).serial);
        assert_eq!(column_type("bit(1)", MYSQL).class, Class::Bit);
    }
}
