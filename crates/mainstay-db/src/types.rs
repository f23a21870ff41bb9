//! Types that the drivers do not read alike on every engine, made to.

use std::ops::Deref;

use sqlx::error::BoxDynError;
use sqlx::{Decode, Type};

use crate::value::Value;

/// An exact decimal number, of up to 28 significant digits.
///
/// PostgreSQL and MySQL keep it as NUMERIC and DECIMAL. SQLite has no such type: it is written and
/// read as text, so its column must be TEXT, and SQL arithmetic on it is not exact there. Money is
/// better kept as an integer of its smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(pub rust_decimal::Decimal);

impl Deref for Decimal {
    type Target = rust_decimal::Decimal;

    fn deref(&self) -> &rust_decimal::Decimal {
        &self.0
    }
}

impl From<rust_decimal::Decimal> for Decimal {
    fn from(value: rust_decimal::Decimal) -> Self {
        Self(value)
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Self {
        Value::Decimal(Some(value.0))
    }
}

/// A PostgreSQL array. On the other engines, which have none, reading one is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Array<T>(pub Vec<T>);

impl<T> Deref for Array<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::Postgres;
    use sqlx::postgres::{PgHasArrayType, PgTypeInfo, PgValueRef};

    use super::{Array, BoxDynError, Decimal, Decode, Type};

    impl Type<Postgres> for Decimal {
        fn type_info() -> PgTypeInfo {
            <rust_decimal::Decimal as Type<Postgres>>::type_info()
        }
    }

    impl<'r> Decode<'r, Postgres> for Decimal {
        fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
            <rust_decimal::Decimal as Decode<Postgres>>::decode(value).map(Self)
        }
    }

    impl<T: PgHasArrayType> Type<Postgres> for Array<T> {
        fn type_info() -> PgTypeInfo {
            T::array_type_info()
        }

        fn compatible(ty: &PgTypeInfo) -> bool {
            T::array_compatible(ty)
        }
    }

    impl<'r, T> Decode<'r, Postgres> for Array<T>
    where
        Vec<T>: Decode<'r, Postgres>,
    {
        fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
            <Vec<T> as Decode<Postgres>>::decode(value).map(Self)
        }
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use sqlx::MySql;
    use sqlx::mysql::{MySqlTypeInfo, MySqlValueRef};

    use super::{Array, BoxDynError, Decimal, Decode, Type};

    impl Type<MySql> for Decimal {
        fn type_info() -> MySqlTypeInfo {
            <rust_decimal::Decimal as Type<MySql>>::type_info()
        }

        fn compatible(ty: &MySqlTypeInfo) -> bool {
            <rust_decimal::Decimal as Type<MySql>>::compatible(ty)
        }
    }

    impl<'r> Decode<'r, MySql> for Decimal {
        fn decode(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
            <rust_decimal::Decimal as Decode<MySql>>::decode(value).map(Self)
        }
    }

    impl<T> Type<MySql> for Array<T> {
        fn type_info() -> MySqlTypeInfo {
            <str as Type<MySql>>::type_info()
        }
    }

    impl<'r, T> Decode<'r, MySql> for Array<T> {
        fn decode(_: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
            Err("MySQL has no arrays".into())
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
    use sqlx::{Sqlite, TypeInfo};

    use super::{Array, BoxDynError, Decimal, Decode, Type};

    impl Type<Sqlite> for Decimal {
        fn type_info() -> SqliteTypeInfo {
            <str as Type<Sqlite>>::type_info()
        }

        /// Not REAL: what a float has lost can't be read back exactly.
        fn compatible(ty: &SqliteTypeInfo) -> bool {
            matches!(ty.name(), "TEXT" | "INTEGER" | "NUMERIC")
        }
    }

    impl<'r> Decode<'r, Sqlite> for Decimal {
        fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
            // SQLite gives an integer's text as well.
            let text = <&str as Decode<Sqlite>>::decode(value)?;
            Ok(Self(rust_decimal::Decimal::from_str_exact(text)?))
        }
    }

    impl<T> Type<Sqlite> for Array<T> {
        fn type_info() -> SqliteTypeInfo {
            <str as Type<Sqlite>>::type_info()
        }
    }

    impl<'r, T> Decode<'r, Sqlite> for Array<T> {
        fn decode(_: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
            Err("SQLite has no arrays".into())
        }
    }
}
