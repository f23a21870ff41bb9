//! A bound value, in no engine's form until a driver needs it.

use mainstay_core::{Code, Error, Result};
pub use sea_query::Value;

/// What a driver takes the values of one statement as.
#[derive(Debug)]
pub(crate) enum Arguments {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteArguments),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgArguments),
    #[cfg(feature = "mysql")]
    MySql(sqlx::mysql::MySqlArguments),
}

/// An engine that has no unsigned integers gets them as the next larger signed one.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn signed(value: Option<u64>) -> Result<Option<i64>> {
    value
        .map(|v| {
            i64::try_from(v).map_err(|_| {
                Error::new(
                    Code::Data,
                    "an unsigned integer above 2^63 - 1 does not fit this engine",
                )
            })
        })
        .transpose()
}

pub(crate) fn unsupported(value: &Value, engine: &str) -> Error {
    let kind = format!("{value:?}");
    let kind = kind.split('(').next().unwrap_or_default();
    Error::new(Code::Unsupported, format!("{engine} takes no bound value of kind {kind}"))
}

fn encode_error(error: sqlx::error::BoxDynError) -> Error {
    Error::new(Code::TypeMismatch, "a bound value could not be encoded").cause(error)
}

#[cfg(feature = "sqlite")]
pub(crate) fn sqlite(
    values: impl IntoIterator<Item = Value>,
) -> Result<sqlx::sqlite::SqliteArguments> {
    use sqlx::Arguments as _;
    let mut out = sqlx::sqlite::SqliteArguments::default();
    for value in values {
        match value {
            Value::Bool(v) => out.add(v),
            Value::TinyInt(v) => out.add(v.map(i64::from)),
            Value::SmallInt(v) => out.add(v.map(i64::from)),
            Value::Int(v) => out.add(v.map(i64::from)),
            Value::BigInt(v) => out.add(v),
            Value::TinyUnsigned(v) => out.add(v.map(i64::from)),
            Value::SmallUnsigned(v) => out.add(v.map(i64::from)),
            Value::Unsigned(v) => out.add(v.map(i64::from)),
            Value::BigUnsigned(v) => out.add(signed(v)?),
            Value::Float(v) => out.add(v.map(f64::from)),
            Value::Double(v) => out.add(v),
            Value::String(v) => out.add(v),
            Value::Char(v) => out.add(v.map(String::from)),
            Value::Bytes(v) => out.add(v),
            Value::Json(v) => out.add(v.map(|v| v.to_string())),
            Value::ChronoDate(v) => out.add(v),
            Value::ChronoTime(v) => out.add(v),
            Value::ChronoDateTime(v) => out.add(v),
            Value::ChronoDateTimeUtc(v) => out.add(v),
            Value::ChronoDateTimeLocal(v) => out.add(v.map(|v| v.to_utc())),
            Value::ChronoDateTimeWithTimeZone(v) => out.add(v.map(|v| v.to_utc())),
            Value::Uuid(v) => out.add(v),
            Value::Decimal(v) => out.add(v.map(|v| v.to_string())),
            other => return Err(unsupported(&other, "SQLite")),
        }
        .map_err(encode_error)?;
    }
    Ok(out)
}

#[cfg(feature = "mysql")]
pub(crate) fn mysql(
    values: impl IntoIterator<Item = Value>,
) -> Result<sqlx::mysql::MySqlArguments> {
    use sqlx::Arguments as _;
    let mut out = sqlx::mysql::MySqlArguments::default();
    for value in values {
        match value {
            Value::Bool(v) => out.add(v),
            Value::TinyInt(v) => out.add(v),
            Value::SmallInt(v) => out.add(v),
            Value::Int(v) => out.add(v),
            Value::BigInt(v) => out.add(v),
            Value::TinyUnsigned(v) => out.add(v),
            Value::SmallUnsigned(v) => out.add(v),
            Value::Unsigned(v) => out.add(v),
            Value::BigUnsigned(v) => out.add(v),
            Value::Float(v) => out.add(v),
            Value::Double(v) => out.add(v),
            Value::String(v) => out.add(v),
            Value::Char(v) => out.add(v.map(String::from)),
            Value::Bytes(v) => out.add(v),
            Value::Json(v) => out.add(v.map(|v| *v)),
            Value::ChronoDate(v) => out.add(v),
            Value::ChronoTime(v) => out.add(v),
            Value::ChronoDateTime(v) => out.add(v),
            Value::ChronoDateTimeUtc(v) => out.add(v),
            Value::ChronoDateTimeLocal(v) => out.add(v.map(|v| v.to_utc())),
            Value::ChronoDateTimeWithTimeZone(v) => out.add(v.map(|v| v.to_utc())),
            Value::Uuid(v) => out.add(v),
            Value::Decimal(v) => out.add(v),
            other => return Err(unsupported(&other, "MySQL")),
        }
        .map_err(encode_error)?;
    }
    Ok(out)
}

#[cfg(feature = "postgres")]
pub(crate) fn postgres(
    values: impl IntoIterator<Item = Value>,
) -> Result<sqlx::postgres::PgArguments> {
    use sqlx::Arguments as _;
    let mut out = sqlx::postgres::PgArguments::default();
    for value in values {
        match value {
            Value::Bool(v) => out.add(v),
            // An i8 is "char" to this driver.
            Value::TinyInt(v) => out.add(v.map(i16::from)),
            Value::SmallInt(v) => out.add(v),
            Value::Int(v) => out.add(v),
            Value::BigInt(v) => out.add(v),
            Value::TinyUnsigned(v) => out.add(v.map(i16::from)),
            Value::SmallUnsigned(v) => out.add(v.map(i32::from)),
            Value::Unsigned(v) => out.add(v.map(i64::from)),
            Value::BigUnsigned(v) => out.add(signed(v)?),
            Value::Float(v) => out.add(v),
            Value::Double(v) => out.add(v),
            Value::String(v) => out.add(v),
            Value::Char(v) => out.add(v.map(String::from)),
            Value::Bytes(v) => out.add(v),
            Value::Json(v) => out.add(v.map(|v| *v)),
            Value::ChronoDate(v) => out.add(v),
            Value::ChronoTime(v) => out.add(v),
            Value::ChronoDateTime(v) => out.add(v),
            Value::ChronoDateTimeUtc(v) => out.add(v),
            Value::ChronoDateTimeLocal(v) => out.add(v),
            Value::ChronoDateTimeWithTimeZone(v) => out.add(v),
            Value::Uuid(v) => out.add(v),
            Value::Decimal(v) => out.add(v),
            Value::Array(kind, items) => array(&mut out, &kind, items.map(|i| *i))?,
            other @ Value::Enum(_) => return Err(unsupported(&other, "PostgreSQL")),
        }
        .map_err(encode_error)?;
    }
    Ok(out)
}

/// PostgreSQL's arrays, of the element types that the other values have.
#[cfg(feature = "postgres")]
fn array(
    out: &mut sqlx::postgres::PgArguments,
    kind: &sea_query::ArrayType,
    items: Option<Vec<Value>>,
) -> Result<std::result::Result<(), sqlx::error::BoxDynError>> {
    use sea_query::ArrayType;
    use sqlx::Arguments as _;
    // NULL elements are kept: the vector's type is that of options.
    macro_rules! add {
        ($variant:ident $(, $convert:expr)?) => {{
            let items = items
                .map(|items| {
                    items.into_iter().map(|item| match item {
                        Value::$variant(v) => Ok(v$(.map($convert))?),
                        other => Err(unsupported(&other, "PostgreSQL, in this array,")),
                    }).collect::<Result<Vec<_>>>()
                })
                .transpose()?;
            out.add(items)
        }};
    }
    Ok(match kind {
        ArrayType::Bool => add!(Bool),
        ArrayType::TinyInt => add!(TinyInt, i16::from),
        ArrayType::SmallInt => add!(SmallInt),
        ArrayType::Int => add!(Int),
        ArrayType::BigInt => add!(BigInt),
        ArrayType::SmallUnsigned => add!(SmallUnsigned, i32::from),
        ArrayType::Unsigned => add!(Unsigned, i64::from),
        ArrayType::Float => add!(Float),
        ArrayType::Double => add!(Double),
        ArrayType::String => add!(String),
        ArrayType::Bytes => add!(Bytes),
        ArrayType::Json => add!(Json, |v| *v),
        ArrayType::ChronoDate => add!(ChronoDate),
        ArrayType::ChronoTime => add!(ChronoTime),
        ArrayType::ChronoDateTime => add!(ChronoDateTime),
        ArrayType::ChronoDateTimeUtc => add!(ChronoDateTimeUtc),
        ArrayType::ChronoDateTimeWithTimeZone => add!(ChronoDateTimeWithTimeZone),
        ArrayType::Uuid => add!(Uuid),
        ArrayType::Decimal => add!(Decimal),
        _ => return Err(unsupported(&Value::Array(kind.clone(), None), "PostgreSQL")),
    })
}
