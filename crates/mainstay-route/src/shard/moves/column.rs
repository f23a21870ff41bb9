//! A column as it is moved: as a text that the same engine reads back exactly.

use mainstay_core::{Code, Error, Result};

use super::dialect::Dialect;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The whole of it, with its length: both sides must have the same.
    full: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// PostgreSQL's type, as it is cast to: without its length, which the column itself checks.
    Postgres {
        cast: String,
        category: Category,
    },
    MariaDb {
        way: Way,
    },
}

/// What of a type's nature decides whether it can be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Integer,
    Text,
    Uuid,
    Other,
}

/// How MariaDB gives a value as a text, and takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Integer {
        signed: bool,
    },
    Decimal(String),
    Double,
    Bit,
    Text,
    /// Texts to be sure, but ordered by their numbers.
    Listed,
    Uuid,
    Address,
    Date,
    DateTime,
    Time,
    Bytes {
        uuid: bool,
    },
}

impl Column {
    pub(super) fn postgres(name: String, cast: String, kind: &str, full: String) -> Self {
        let category = match kind {
            "int2" | "int4" | "int8" => Category::Integer,
            "uuid" => Category::Uuid,
            "S" | "E" => Category::Text,
            _ => Category::Other,
        };
        Self { name, full, kind: Kind::Postgres { cast, category } }
    }

    /// `data` and `full` are the two forms of its type. Errors: ROUTE-050.
    pub(super) fn mariadb(name: String, data: &str, full: &str, binary: bool) -> Result<Self> {
        let way = match data {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => {
                Way::Integer { signed: !full.contains("unsigned") }
            }
            "decimal" => Way::Decimal(full.split(' ').next().unwrap_or("decimal").to_owned()),
            "float" | "double" => Way::Double,
            "bit" => Way::Bit,
            "enum" | "set" => Way::Listed,
            "uuid" => Way::Uuid,
            "inet4" | "inet6" => Way::Address,
            "date" => Way::Date,
            "datetime" | "timestamp" => Way::DateTime,
            "time" => Way::Time,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                Way::Bytes { uuid: full == "binary(16)" }
            }
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" if binary => {
                Way::Bytes { uuid: false }
            }
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "json" => {
                Way::Text
            }
            other => {
                let what = format!("the column {name:?} is {other}, which can't be moved");
                return Err(Error::new(Code::MoveRefused, what)
                    .why("it has no text that the server reads back exactly"));
            }
        };
        Ok(Self { name, full: full.to_owned(), kind: Kind::MariaDb { way } })
    }

    pub(super) fn category(&self) -> Category {
        match &self.kind {
            Kind::Postgres { category, .. } => *category,
            Kind::MariaDb { way } => match way {
                Way::Integer { .. } => Category::Integer,
                Way::Text | Way::Listed => Category::Text,
                Way::Uuid | Way::Bytes { uuid: true } => Category::Uuid,
                _ => Category::Other,
            },
        }
    }

    /// Whether rows can be gone through in its order.
    pub(super) fn is_ordered(&self) -> bool {
        !matches!(
            &self.kind,
            Kind::MariaDb { way: Way::Double | Way::Bit | Way::Listed | Way::Address | Way::Time }
        )
    }

    /// Whether its text depends on the time zone of the session: MariaDB's triggers run in the writer's.
    pub(super) fn is_zoned(&self) -> bool {
        matches!(self.kind, Kind::MariaDb { way: Way::DateTime })
            && self.full.starts_with("timestamp")
    }

    /// The column itself, of the row that is called `of`.
    pub(super) fn raw(&self, d: Dialect, of: &str) -> String {
        format!("{of}.{}", d.name(&self.name))
    }

    /// Its value as a text, NULL for NULL.
    pub(super) fn text(&self, d: Dialect, of: &str) -> String {
        let raw = self.raw(d, of);
        let Kind::MariaDb { way } = &self.kind else { return format!("{raw}::text") };
        match way {
            // What is filled up with zeros is told without.
            Way::Integer { .. } | Way::Bit => format!("CAST(({raw} + 0) AS CHAR)"),
            // A float by itself is told with six digits.
            Way::Double => format!("CAST(CAST({raw} AS DOUBLE) AS CHAR)"),
            Way::Text | Way::Listed => format!("CONVERT({raw} USING utf8mb4)"),
            Way::Bytes { .. } => format!("HEX({raw})"),
            _ => format!("CAST({raw} AS CHAR)"),
        }
    }

    /// Its value as a key's text is made by [`ToKey`](crate::shard::ToKey).
    pub(super) fn key_text(&self, d: Dialect, of: &str) -> String {
        let raw = self.raw(d, of);
        if let Kind::MariaDb { way: Way::Bytes { uuid: true } } = &self.kind {
            let hex = format!("LOWER(HEX({raw}))");
            let part = |from: u8, len: u8| format!("SUBSTR({hex}, {from}, {len})");
            let parts =
                [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)].join(", '-', ");
            return format!("CONVERT(CONCAT({parts}) USING utf8mb4)");
        }
        self.text(d, of)
    }

    /// A bound text as its value again.
    pub(super) fn value(&self, text: &str) -> String {
        match &self.kind {
            Kind::Postgres { cast, .. } => format!("CAST({text} AS {cast})"),
            Kind::MariaDb { way } => match way {
                Way::Integer { signed: true } => format!("CAST({text} AS SIGNED)"),
                Way::Integer { signed: false } | Way::Bit => format!("CAST({text} AS UNSIGNED)"),
                Way::Decimal(kind) => format!("CAST({text} AS {kind})"),
                Way::Double => format!("CAST({text} AS DOUBLE)"),
                Way::Date => format!("CAST({text} AS DATE)"),
                Way::DateTime => format!("CAST({text} AS DATETIME(6))"),
                Way::Time => format!("CAST({text} AS TIME(6))"),
                Way::Bytes { .. } => format!("UNHEX({text})"),
                // As it is, so that the column's own collation decides.
                Way::Text | Way::Listed | Way::Uuid | Way::Address => text.to_owned(),
            },
        }
    }
}
