//! Keys in rows, hashed as they pass for who observes: which columns look like keys is found out once a
//! text, at its first row.
//!
//! It reads what the driver has received already; a value that can't be read is no key.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mainstay_core::observe::{KeyColumns, ValueHash, Values};

use crate::row::Raw;
use crate::value::Value;

/// Columns of a result that are followed: those named as keys before all others.
const COLUMNS_MAX: usize = 4;

/// What a column holds that may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "some are of one engine alone")
)]
pub(crate) enum Kind {
    Int,
    Uint,
    Text,
    Bytes,
    /// SQLite's: what a value is, it says itself.
    Any,
}

/// A driver's row, as far as keys go.
pub(crate) trait Keyed {
    /// How many columns it has.
    fn width(&self) -> usize;
    /// The column's name, and what it holds; `None` where that is no key.
    fn column(&self, at: usize) -> (&str, Option<Kind>);
    /// The hash of a value.
    fn hash(&self, at: usize, kind: Kind) -> ValueHash;
}

/// The columns of a result that look like keys.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) columns: Arc<KeyColumns>,
    at: Box<[(usize, Kind)]>,
    /// All columns of the result: with another number, the table has changed.
    width: usize,
}

impl Keys {
    /// Those of `row`: as they were found before, where it still has as many columns.
    pub(crate) fn of(known: &ArcSwapOption<Keys>, row: &impl Keyed) -> Arc<Keys> {
        if let Some(keys) = known.load_full().filter(|keys| keys.width == row.width()) {
            return keys;
        }
        let keys = Arc::new(Self::find(row));
        known.store(Some(Arc::clone(&keys)));
        keys
    }

    fn find(row: &impl Keyed) -> Self {
        let width = row.width();
        let mut found: Vec<_> = (0..width)
            .filter_map(|at| {
                let (name, kind) = row.column(at);
                Some((!is_key_name(name), at, kind?))
            })
            .collect();
        found.sort_unstable_by_key(|(unlikely, at, _)| (*unlikely, *at));
        found.truncate(COLUMNS_MAX);
        let names = found.iter().map(|(_, at, _)| row.column(*at).0.into()).collect();
        let at = found.into_iter().map(|(_, at, kind)| (at, kind)).collect();
        Self { columns: Arc::new(KeyColumns(names)), at, width }
    }

    /// Adds a row's.
    #[inline]
    pub(crate) fn read(&self, row: &impl Keyed, values: &mut Values) {
        for (at, kind) in &self.at {
            values.returns(row.hash(*at, *kind));
        }
    }
}

fn is_key_name(name: &str) -> bool {
    let ends = |end: &str| {
        let bytes = name.as_bytes();
        bytes.len() >= end.len()
            && bytes[bytes.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
    };
    ["id", "uuid", "key", "code", "slug", "sku"].iter().any(|word| ends(word))
}

/// A bound value's.
pub(crate) fn of_value(value: &Value) -> ValueHash {
    const NULL: ValueHash = ValueHash::NULL;
    let int = |v: i64| ValueHash::int(v);
    match value {
        Value::TinyInt(v) => v.map_or(NULL, |v| int(v.into())),
        Value::SmallInt(v) => v.map_or(NULL, |v| int(v.into())),
        Value::Int(v) => v.map_or(NULL, |v| int(v.into())),
        Value::BigInt(v) => v.map_or(NULL, int),
        Value::TinyUnsigned(v) => v.map_or(NULL, |v| int(v.into())),
        Value::SmallUnsigned(v) => v.map_or(NULL, |v| int(v.into())),
        Value::Unsigned(v) => v.map_or(NULL, |v| int(v.into())),
        Value::BigUnsigned(v) => v.map_or(NULL, ValueHash::uint),
        Value::Float(v) => v.map_or(NULL, |v| ValueHash::float(v.into())),
        Value::Double(v) => v.map_or(NULL, ValueHash::float),
        Value::String(v) => v.as_deref().map_or(NULL, ValueHash::text),
        Value::Char(v) => v.map_or(NULL, |v| ValueHash::text(v.encode_utf8(&mut [0; 4]))),
        Value::Bytes(v) => v.as_deref().map_or(NULL, ValueHash::bytes),
        Value::Uuid(v) => v.map_or(NULL, |v| ValueHash::bytes(v.as_bytes())),
        Value::Bool(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::Decimal(v) => v.map_or(NULL, |v| {
            let whole = v.is_integer().then(|| i64::try_from(v).ok()).flatten();
            whole.map_or_else(|| ValueHash::other(&v), int)
        }),
        Value::ChronoDate(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::ChronoTime(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::ChronoDateTime(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::ChronoDateTimeUtc(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::ChronoDateTimeLocal(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::ChronoDateTimeWithTimeZone(v) => v.map_or(NULL, |v| ValueHash::other(&v)),
        Value::Array(_, items) => items.as_ref().map_or(NULL, |_| ValueHash::MANY),
        // A document is no key.
        _ => NULL,
    }
}

impl Keyed for Raw {
    fn width(&self) -> usize {
        match self {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(row) => row.width(),
            #[cfg(feature = "postgres")]
            Raw::Postgres(row) => row.width(),
            #[cfg(feature = "mysql")]
            Raw::MySql(row) => row.width(),
        }
    }

    fn column(&self, at: usize) -> (&str, Option<Kind>) {
        match self {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(row) => row.column(at),
            #[cfg(feature = "postgres")]
            Raw::Postgres(row) => row.column(at),
            #[cfg(feature = "mysql")]
            Raw::MySql(row) => row.column(at),
        }
    }

    #[inline]
    fn hash(&self, at: usize, kind: Kind) -> ValueHash {
        match self {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(row) => row.hash(at, kind),
            #[cfg(feature = "postgres")]
            Raw::Postgres(row) => row.hash(at, kind),
            #[cfg(feature = "mysql")]
            Raw::MySql(row) => row.hash(at, kind),
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use mainstay_core::observe::ValueHash;
    use sqlx::postgres::{PgRow, PgValueFormat};
    use sqlx::{Column as _, Row as _, TypeInfo as _};

    use super::{Keyed, Kind};

    impl Keyed for PgRow {
        fn width(&self) -> usize {
            self.len()
        }

        fn column(&self, at: usize) -> (&str, Option<Kind>) {
            let column = sqlx::Row::column(self, at);
            let kind = match column.type_info().name() {
                "INT2" | "INT4" | "INT8" => Some(Kind::Int),
                "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "citext" => Some(Kind::Text),
                "UUID" => Some(Kind::Bytes),
                _ => None,
            };
            (column.name(), kind)
        }

        fn hash(&self, at: usize, kind: Kind) -> ValueHash {
            let Ok(value) = self.try_get_raw(at) else { return ValueHash::NULL };
            let Ok(bytes) = value.as_bytes() else { return ValueHash::NULL };
            let text = value.format() == PgValueFormat::Text || kind == Kind::Text;
            match (kind, bytes) {
                // Without values a statement is answered in texts.
                _ if text => std::str::from_utf8(bytes).map_or(ValueHash::NULL, ValueHash::text),
                (Kind::Int, &[a, b]) => ValueHash::int(i16::from_be_bytes([a, b]).into()),
                (Kind::Int, &[a, b, c, d]) => {
                    ValueHash::int(i32::from_be_bytes([a, b, c, d]).into())
                }
                (Kind::Int, _) => bytes
                    .try_into()
                    .map_or(ValueHash::NULL, |b| ValueHash::int(i64::from_be_bytes(b))),
                _ => ValueHash::bytes(bytes),
            }
        }
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use mainstay_core::observe::ValueHash;
    use sqlx::mysql::MySqlRow;
    use sqlx::{Column as _, Decode, Row as _, TypeInfo as _, ValueRef as _};

    use super::{Keyed, Kind};

    impl Keyed for MySqlRow {
        fn width(&self) -> usize {
            self.len()
        }

        fn column(&self, at: usize) -> (&str, Option<Kind>) {
            let column = sqlx::Row::column(self, at);
            let kind = match column.type_info().name() {
                "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => Some(Kind::Int),
                "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED"
                | "INT UNSIGNED" | "BIGINT UNSIGNED" => Some(Kind::Uint),
                "CHAR" | "VARCHAR" | "TEXT" | "TINYTEXT" => Some(Kind::Text),
                "BINARY" | "VARBINARY" => Some(Kind::Bytes),
                _ => None,
            };
            (column.name(), kind)
        }

        fn hash(&self, at: usize, kind: Kind) -> ValueHash {
            let Ok(value) = self.try_get_raw(at) else { return ValueHash::NULL };
            if value.is_null() {
                return ValueHash::NULL;
            }
            let hash = match kind {
                Kind::Int => <i64 as Decode<sqlx::MySql>>::decode(value).map(ValueHash::int),
                Kind::Uint => <u64 as Decode<sqlx::MySql>>::decode(value).map(ValueHash::uint),
                Kind::Text | Kind::Any => {
                    <&str as Decode<sqlx::MySql>>::decode(value).map(ValueHash::text)
                }
                Kind::Bytes => <&[u8] as Decode<sqlx::MySql>>::decode(value).map(ValueHash::bytes),
            };
            hash.unwrap_or(ValueHash::NULL)
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use mainstay_core::observe::ValueHash;
    use sqlx::sqlite::SqliteRow;
    use sqlx::{Column as _, Decode, Row as _, TypeInfo as _, ValueRef as _};

    use super::{Keyed, Kind};

    impl Keyed for SqliteRow {
        fn width(&self) -> usize {
            self.len()
        }

        fn column(&self, at: usize) -> (&str, Option<Kind>) {
            let column = sqlx::Row::column(self, at);
            // What is declared; an expression has nothing.
            let other = ["REAL", "BOOLEAN", "DATETIME", "DATE", "TIME"];
            let kind = (!other.contains(&column.type_info().name())).then_some(Kind::Any);
            (column.name(), kind)
        }

        fn hash(&self, at: usize, _: Kind) -> ValueHash {
            let Ok(value) = self.try_get_raw(at) else { return ValueHash::NULL };
            let kind = match value.type_info().name() {
                "INTEGER" => Kind::Int,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ => return ValueHash::NULL,
            };
            let hash = match kind {
                Kind::Int => <i64 as Decode<sqlx::Sqlite>>::decode(value).map(ValueHash::int),
                Kind::Text => <&str as Decode<sqlx::Sqlite>>::decode(value).map(ValueHash::text),
                _ => <&[u8] as Decode<sqlx::Sqlite>>::decode(value).map(ValueHash::bytes),
            };
            hash.unwrap_or(ValueHash::NULL)
        }
    }
}
