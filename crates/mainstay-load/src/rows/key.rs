//! What a key may be, and how each engine is given many of them as one value.

use std::hash::Hash;

use mainstay_core::Result;
use mainstay_db::{Row, Value, sea_query::ArrayType};
use uuid::Uuid;

/// The type of a key: `i16`, `i32`, `i64`, `String` or `Uuid`. It must be the type that the column is read
/// as, so `i64` for a BIGINT.
pub trait Key: Clone + Eq + Hash + Send + Sync + sealed::Sealed + 'static {}

/// What a parent's key may be: a key, or an `Option` of one, whose `None` belongs to nothing.
pub trait ToKey {
    /// The key.
    type Key: Key;

    /// The key, if there is one.
    fn to_key(self) -> Option<Self::Key>;
}

pub(super) mod sealed {
    use super::{ArrayType, Result, Row, Value};

    pub trait Sealed: Sized {
        /// As an element of PostgreSQL's arrays.
        const ARRAY: ArrayType;
        /// Whether SQLite keeps it as bytes, which JSON writes as hexadecimal.
        const BYTES: bool = false;

        fn to_value(&self) -> Value;

        /// As an element of a JSON array.
        fn write_json(&self, out: &mut String);

        /// From the first column of `row`. Errors: DB-014, DB-015.
        fn read(row: &Row) -> Result<Option<Self>>;
    }
}

macro_rules! key {
    ($type:ty, $array:ident, $bytes:literal, |$key:ident, $out:ident| $write:expr) => {
        impl Key for $type {}

        impl sealed::Sealed for $type {
            const ARRAY: ArrayType = ArrayType::$array;
            const BYTES: bool = $bytes;

            fn to_value(&self) -> Value {
                Value::from(self.clone())
            }

            fn write_json(&self, $out: &mut String) {
                let $key = self;
                $write
            }

            fn read(row: &Row) -> Result<Option<Self>> {
                row.at(0)
            }
        }

        impl ToKey for $type {
            type Key = $type;

            fn to_key(self) -> Option<$type> {
                Some(self)
            }
        }

        impl ToKey for Option<$type> {
            type Key = $type;

            fn to_key(self) -> Option<$type> {
                self
            }
        }
    };
}

key!(i16, SmallInt, false, |key, out| *out += &key.to_string());
key!(i32, Int, false, |key, out| *out += &key.to_string());
key!(i64, BigInt, false, |key, out| *out += &key.to_string());
key!(String, String, false, |key, out| *out += &serde_json::Value::from(key.as_str()).to_string());
key!(Uuid, Uuid, true, |key, out| *out += &format!("\"{}\"", key.simple()));
