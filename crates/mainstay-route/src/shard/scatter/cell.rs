//! A value of a row, in no engine's form: what is compared, counted up and given out after several shards answered.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use mainstay_core::{Code, Error, Result};
use mainstay_db::sqlx;
use mainstay_db::sqlx::types::chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use mainstay_db::{Decimal, FromRow};
use uuid::Uuid;

use super::group::Group;

/// A value that was read from a shard.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number of any width.
    Int(i128),
    /// A number with a floating point.
    Float(f64),
    /// An exact number, of up to 28 digits.
    Decimal(Decimal),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A UUID, of an engine that has the type.
    Uuid(Uuid),
    /// A day.
    Date(NaiveDate),
    /// A time of day.
    Time(NaiveTime),
    /// A day and a time, of no zone.
    DateTime(NaiveDateTime),
    /// A moment.
    Moment(DateTime<Utc>),
    /// Of a type that can't be compared here, by its name.
    Other(String),
}

/// How texts are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collation {
    /// By their bytes.
    Bytes,
    /// By their bytes, as though spaces without end came after each: MySQL's `_bin`.
    Padded,
    /// The statement does not say, or says another.
    Unsaid,
}

impl Cell {
    /// In the order of the engines, NULL apart: numbers, texts, bytes, then what else there is. Of several types only
    /// SQLite has values in one column.
    pub(crate) fn compare(&self, other: &Self, collation: Collation) -> Ordering {
        use Cell as C;
        match (self, other) {
            (C::Int(a), C::Int(b)) => a.cmp(b),
            (C::Decimal(a), C::Decimal(b)) => a.cmp(b),
            (C::Float(a), C::Float(b)) => floats(*a, *b),
            (C::Int(_) | C::Decimal(_) | C::Float(_), C::Int(_) | C::Decimal(_) | C::Float(_)) => {
                self.mixed(other)
            }
            (C::Text(a), C::Text(b)) => bytes(a.as_bytes(), b.as_bytes(), collation),
            (C::Bytes(a), C::Bytes(b)) => bytes(a, b, collation),
            (C::Bool(a), C::Bool(b)) => a.cmp(b),
            (C::Uuid(a), C::Uuid(b)) => a.cmp(b),
            (C::Date(a), C::Date(b)) => a.cmp(b),
            (C::Time(a), C::Time(b)) => a.cmp(b),
            (C::DateTime(a), C::DateTime(b)) => a.cmp(b),
            (C::Moment(a), C::Moment(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Cell::Null => 0,
            Cell::Bool(_) => 1,
            Cell::Int(_) | Cell::Float(_) | Cell::Decimal(_) => 2,
            Cell::Text(_) => 3,
            Cell::Bytes(_) => 4,
            Cell::Uuid(_) => 5,
            Cell::Date(_) => 6,
            Cell::Time(_) => 7,
            Cell::DateTime(_) => 8,
            Cell::Moment(_) => 9,
            Cell::Other(_) => 10,
        }
    }

    /// Numbers of two kinds; where one is whole and the other is not exact, as exactly as there are digits.
    fn mixed(&self, other: &Self) -> Ordering {
        if let (Cell::Int(a), Cell::Float(b)) = (self, other) {
            return whole_and_float(*a, *b);
        }
        if let (Cell::Float(a), Cell::Int(b)) = (self, other) {
            return whole_and_float(*b, *a).reverse();
        }
        floats(self.to_f64().unwrap_or(f64::NAN), other.to_f64().unwrap_or(f64::NAN))
    }

    pub(crate) fn to_f64(&self) -> Option<f64> {
        match self {
            Cell::Int(n) => Some(*n as f64),
            Cell::Float(n) => Some(*n),
            Cell::Decimal(n) => n.to_string().parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn to_decimal(&self) -> Option<Decimal> {
        match self {
            Cell::Int(n) => sqlx::types::Decimal::try_from_i128_with_scale(*n, 0).ok().map(Decimal),
            Cell::Decimal(n) => Some(*n),
            _ => None,
        }
    }

    /// The same bytes for what an engine groups together.
    pub(crate) fn group_key(&self, collation: Collation, out: &mut Vec<u8>) {
        let mut put = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        let unpadded = |bytes: &[u8]| match collation {
            Collation::Padded => {
                bytes.len() - bytes.iter().rev().take_while(|b| **b == b' ').count()
            }
            Collation::Bytes | Collation::Unsaid => bytes.len(),
        };
        match self {
            Cell::Null => put(0, &[]),
            Cell::Bool(b) => put(1, &[u8::from(*b)]),
            Cell::Int(n) => put(2, &n.to_le_bytes()),
            // Whole ones are one group with the same integer.
            Cell::Float(n) if n.fract() == 0.0 && n.abs() < 1e18 => {
                put(2, &(*n as i128).to_le_bytes());
            }
            Cell::Float(n) => put(3, &n.to_bits().to_le_bytes()),
            Cell::Decimal(n) if n.fract().is_zero() => put(2, &n.trunc().mantissa().to_le_bytes()),
            Cell::Decimal(n) => put(4, n.normalize().to_string().as_bytes()),
            Cell::Text(text) => put(5, &text.as_bytes()[..unpadded(text.as_bytes())]),
            Cell::Bytes(bytes) => put(6, &bytes[..unpadded(bytes)]),
            Cell::Uuid(id) => put(7, id.as_bytes()),
            Cell::Date(at) => put(8, at.to_string().as_bytes()),
            Cell::Time(at) => put(9, at.to_string().as_bytes()),
            Cell::DateTime(at) => put(10, at.to_string().as_bytes()),
            Cell::Moment(at) => put(11, at.to_string().as_bytes()),
            Cell::Other(name) => put(12, name.as_bytes()),
        }
    }
}

/// NaN after all others, as PostgreSQL has it.
fn floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn whole_and_float(a: i128, b: f64) -> Ordering {
    // What an integer of the engines can be is far within an i128.
    if b.is_nan() || b.abs() >= 1e30 {
        return floats(0.0, b);
    }
    a.cmp(&(b.trunc() as i128)).then_with(|| floats(0.0, b.fract()))
}

fn bytes(a: &[u8], b: &[u8], collation: Collation) -> Ordering {
    if collation != Collation::Padded {
        return a.cmp(b);
    }
    let common = a.len().min(b.len());
    let padded = |rest: &[u8]| {
        rest.iter()
            .map(|byte| byte.cmp(&b' '))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    a[..common]
        .cmp(&b[..common])
        .then_with(|| padded(&a[common..]))
        .then_with(|| padded(&b[common..]).reverse())
}

/// A row with the hidden columns at its end that say where it belongs.
pub(crate) struct Keyed<T> {
    pub(crate) keys: Vec<Cell>,
    pub(crate) row: T,
}

/// All values of a row.
pub(crate) struct Cells(pub(crate) Vec<Cell>);

/// What hidden columns are called; a number follows.
pub(crate) const HIDDEN: &str = "mainstay_k";

impl<'r, R: sqlx::Row, T: sqlx::FromRow<'r, R>> sqlx::FromRow<'r, R> for Keyed<T> {
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        use sqlx::Column as _;
        let columns = row.columns();
        let hidden = columns.iter().rev().take_while(|c| c.name().starts_with(HIDDEN)).count();
        let all = columns.len();
        let keys = (all - hidden..all).map(|at| read(row, at)).collect::<sqlx::Result<_>>()?;
        Ok(Self { keys, row: T::from_row(row)? })
    }
}

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for Cells {
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        (0..row.len()).map(|at| read(row, at)).collect::<sqlx::Result<_>>().map(Self)
    }
}

/// As the engine itself has put it together.
impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for Group {
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        use sqlx::Column as _;
        let names: Arc<[String]> = row.columns().iter().map(|c| c.name().to_owned()).collect();
        Ok(Self::new(&names, Cells::from_row(row)?.0))
    }
}

/// That all are read from every engine that is compiled in.
const _: () = {
    const fn reads<T: FromRow>() {}
    reads::<Cells>();
    reads::<Keyed<(i64,)>>();
    reads::<Group>();
};

/// The value at `at` of a row of whatever engine.
fn read<R: sqlx::Row>(row: &R, at: usize) -> sqlx::Result<Cell> {
    let row: &dyn Any = row;
    #[cfg(feature = "sqlite")]
    if let Some(row) = row.downcast_ref() {
        return sqlite(row, at);
    }
    #[cfg(feature = "postgres")]
    if let Some(row) = row.downcast_ref() {
        return postgres(row, at);
    }
    #[cfg(feature = "mysql")]
    if let Some(row) = row.downcast_ref() {
        return mysql(row, at);
    }
    let _ = (row, at);
    Err(sqlx::Error::Decode("the engine of this row is not compiled in".into()))
}

/// The name of the type of a value that is not NULL.
macro_rules! named {
    ($row:expr, $at:expr) => {{
        use sqlx::{Row as _, TypeInfo as _, ValueRef as _};
        let value = $row.try_get_raw($at)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        value.type_info().name().to_owned()
    }};
}

#[cfg(feature = "sqlite")]
fn sqlite(row: &sqlx::sqlite::SqliteRow, at: usize) -> sqlx::Result<Cell> {
    use sqlx::Row as _;
    let name = named!(row, at);
    Ok(match name.as_str() {
        "INTEGER" | "BOOLEAN" => Cell::Int(row.try_get_unchecked::<i64, _>(at)?.into()),
        "REAL" => Cell::Float(row.try_get_unchecked(at)?),
        "TEXT" => Cell::Text(row.try_get_unchecked(at)?),
        "BLOB" => Cell::Bytes(row.try_get_unchecked(at)?),
        _ => Cell::Other(name),
    })
}

#[cfg(feature = "postgres")]
fn postgres(row: &sqlx::postgres::PgRow, at: usize) -> sqlx::Result<Cell> {
    use sqlx::Row as _;
    let name = named!(row, at);
    Ok(match name.as_str() {
        "BOOL" => Cell::Bool(row.try_get(at)?),
        "INT2" => Cell::Int(row.try_get::<i16, _>(at)?.into()),
        "INT4" => Cell::Int(row.try_get::<i32, _>(at)?.into()),
        "INT8" => Cell::Int(row.try_get::<i64, _>(at)?.into()),
        "FLOAT4" => Cell::Float(row.try_get::<f32, _>(at)?.into()),
        "FLOAT8" => Cell::Float(row.try_get(at)?),
        "NUMERIC" => Cell::Decimal(row.try_get(at)?),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" => Cell::Text(row.try_get(at)?),
        "BYTEA" => Cell::Bytes(row.try_get(at)?),
        "UUID" => Cell::Uuid(row.try_get(at)?),
        "DATE" => Cell::Date(row.try_get(at)?),
        "TIME" => Cell::Time(row.try_get(at)?),
        "TIMESTAMP" => Cell::DateTime(row.try_get(at)?),
        "TIMESTAMPTZ" => Cell::Moment(row.try_get(at)?),
        _ => Cell::Other(name),
    })
}

#[cfg(feature = "mysql")]
fn mysql(row: &sqlx::mysql::MySqlRow, at: usize) -> sqlx::Result<Cell> {
    use sqlx::Row as _;
    let name = named!(row, at);
    Ok(match name.as_str() {
        name if name.ends_with("INT UNSIGNED") => Cell::Int(row.try_get::<u64, _>(at)?.into()),
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Cell::Int(row.try_get_unchecked::<i64, _>(at)?.into())
        }
        "FLOAT" => Cell::Float(row.try_get::<f32, _>(at)?.into()),
        "DOUBLE" => Cell::Float(row.try_get(at)?),
        "DECIMAL" => Cell::Decimal(row.try_get(at)?),
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" => {
            Cell::Text(row.try_get(at)?)
        }
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            Cell::Bytes(row.try_get_unchecked(at)?)
        }
        "DATE" => Cell::Date(row.try_get(at)?),
        "TIME" => Cell::Time(row.try_get(at)?),
        "DATETIME" => Cell::DateTime(row.try_get(at)?),
        "TIMESTAMP" => Cell::Moment(row.try_get(at)?),
        _ => Cell::Other(name),
    })
}

/// What a value of a [`Group`](super::Group) can be read as; `Option` where it may be NULL.
pub trait FromCell: Sized {
    /// None where it is of another type, NULL, or too large.
    fn from_cell(cell: &Cell) -> Option<Self>;
}

macro_rules! from_cell {
    ($($of:ty: $cell:ident => $out:expr;)*) => {
        $(impl FromCell for $of {
            fn from_cell($cell: &Cell) -> Option<Self> {
                $out
            }
        })*
    };
}

from_cell! {
    i64: cell => whole(cell)?.try_into().ok();
    i32: cell => whole(cell)?.try_into().ok();
    u64: cell => whole(cell)?.try_into().ok();
    u32: cell => whole(cell)?.try_into().ok();
    f64: cell => cell.to_f64();
    Decimal: cell => cell.to_decimal();
    bool: cell => match cell {
        Cell::Bool(b) => Some(*b),
        Cell::Int(n) => Some(*n != 0),
        _ => None,
    };
    String: cell => match cell {
        Cell::Text(text) => Some(text.clone()),
        // So MySQL gives a text of a binary collation.
        Cell::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    Vec<u8>: cell => match cell {
        Cell::Bytes(bytes) => Some(bytes.clone()),
        _ => None,
    };
    Uuid: cell => match cell {
        Cell::Uuid(id) => Some(*id),
        Cell::Bytes(bytes) => Uuid::from_slice(bytes).ok(),
        _ => None,
    };
    NaiveDate: cell => match cell {
        Cell::Date(at) => Some(*at),
        _ => None,
    };
    NaiveTime: cell => match cell {
        Cell::Time(at) => Some(*at),
        _ => None,
    };
    NaiveDateTime: cell => match cell {
        Cell::DateTime(at) => Some(*at),
        _ => None,
    };
    DateTime<Utc>: cell => match cell {
        Cell::Moment(at) => Some(*at),
        _ => None,
    };
    Cell: cell => Some(cell.clone());
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            cell => T::from_cell(cell).map(Some),
        }
    }
}

/// A sum of whole numbers is exact, whichever type an engine gives it.
fn whole(cell: &Cell) -> Option<i128> {
    match cell {
        Cell::Int(n) => Some(*n),
        Cell::Decimal(n) if n.fract().is_zero() => Some(n.trunc().mantissa()),
        _ => None,
    }
}

/// Refuses what can't be compared as the statement's engine compares it. Errors: ROUTE-028.
pub(crate) fn comparable(cell: &Cell, collation: Collation, what: &str, like: &str) -> Result<()> {
    match cell {
        Cell::Other(name) => Err(Error::new(
            Code::ShardMerge,
            format!("{what} is of the type {name}, which can't be compared here"),
        )
        .fix("cast it to a number or to a text")),
        Cell::Text(_) if collation == Collation::Unsaid => Err(Error::new(
            Code::ShardMerge,
            format!(
                "{what} is a text, and the statement does not say that its order is that of bytes"
            ),
        )
        .fix(format!("write it with a collation of bytes: {what} {like}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_two_kinds_are_in_order() {
        let order = |a: &Cell, b: &Cell| a.compare(b, Collation::Bytes);
        let big = (1_i128 << 53) + 1;
        assert_eq!(order(&Cell::Int(big), &Cell::Float((1_u64 << 53) as f64)), Ordering::Greater);
        assert_eq!(order(&Cell::Int(1), &Cell::Float(1.5)), Ordering::Less);
        assert_eq!(order(&Cell::Float(-1.5), &Cell::Int(-1)), Ordering::Less);
        assert_eq!(order(&Cell::Int(0), &Cell::Float(f64::INFINITY)), Ordering::Less);
        assert_eq!(order(&Cell::Float(f64::NAN), &Cell::Float(1.0)), Ordering::Greater);
        assert_eq!(order(&Cell::Text("a".into()), &Cell::Int(9)), Ordering::Greater);
    }

    #[test]
    fn padded_texts_are_as_long_as_one_likes() {
        let text = |t: &str| Cell::Text(t.to_owned());
        let order = |a: &str, b: &str| text(a).compare(&text(b), Collation::Padded);
        assert_eq!(order("a", "a  "), Ordering::Equal);
        assert_eq!(order("a\t", "a"), Ordering::Less);
        assert_eq!(order("a", "ab"), Ordering::Less);
        assert_eq!(text("a").compare(&text("a\t"), Collation::Bytes), Ordering::Less);
    }

    #[test]
    fn equal_numbers_are_one_group() {
        let key = |cell: Cell| {
            let mut out = Vec::new();
            cell.group_key(Collation::Bytes, &mut out);
            out
        };
        let decimal = |text: &str| Cell::Decimal(Decimal(text.parse().unwrap()));
        assert_eq!(key(Cell::Int(7)), key(Cell::Float(7.0)));
        assert_eq!(key(Cell::Int(7)), key(decimal("7.00")));
        assert_eq!(key(decimal("7.50")), key(decimal("7.5")));
        assert_ne!(key(Cell::Text("a".into())), key(Cell::Text("a ".into())));
    }
}
