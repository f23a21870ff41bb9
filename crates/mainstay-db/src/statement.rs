//! A statement that is ready to be sent: its text, what is known of the text, its values.

use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::What;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::engine::Engine;
use crate::text::{Text, Texts};
use crate::value::{self, Arguments, Value};

/// What may be given as SQL: a `&'static str`, or, where the text must be made at run time,
/// [`AssertSqlSafe`] around a `String`, which says that somebody looked at how it is made.
#[diagnostic::on_unimplemented(
    message = "SQL made at run time must be vouched for",
    note = "write it as a literal with $1, $2, ... and bind the values, use `Db::build` with sea-query, \
            or wrap a text that holds no input of a user in `AssertSqlSafe`"
)]
pub trait IntoSql: sealed::Sealed {
    #[doc(hidden)]
    fn into_sql(self) -> Sql;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &'static str {}
    impl Sealed for sqlx::AssertSqlSafe<String> {}
}

impl IntoSql for &'static str {
    fn into_sql(self) -> Sql {
        Sql::Static(self)
    }
}

impl IntoSql for AssertSqlSafe<String> {
    fn into_sql(self) -> Sql {
        Sql::Dynamic(self.0.into())
    }
}

/// A SQL text, static or shared.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum Sql {
    Static(&'static str),
    Dynamic(Arc<str>),
}

impl Sql {
    pub fn as_str(&self) -> &str {
        match self {
            Sql::Static(sql) => sql,
            Sql::Dynamic(sql) => sql,
        }
    }

    /// As reports of what is under way tell it.
    pub(crate) fn to_what(&self) -> What {
        match self {
            Sql::Static(sql) => What::Static(sql),
            Sql::Dynamic(sql) => What::Shared(Arc::clone(sql)),
        }
    }

    pub(crate) fn to_driver(&self) -> SqlStr {
        match self {
            Sql::Static(sql) => sql.into_sql_str(),
            Sql::Dynamic(sql) => AssertSqlSafe(Arc::clone(sql)).into_sql_str(),
        }
    }

    pub(crate) fn text(&self, texts: &Texts, engine: Engine) -> Result<Arc<Text>> {
        match self {
            Sql::Static(sql) => texts.of_static(sql, engine),
            Sql::Dynamic(sql) => texts.of_dynamic(sql, engine),
        }
    }
}

/// A text with its values, and where the program wrote it.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) sql: Sql,
    pub(crate) values: Vec<Value>,
    pub(crate) place: Place,
}

impl Statement {
    /// What the driver of `engine` is given. Errors: DB-012 (count), DB-016 (kind), DB-010 (text).
    pub(crate) fn prepare(self, text: &Text, engine: Engine) -> Result<(SqlStr, Arguments)> {
        let (params, bound) = (text.params, self.values.len());
        if params != bound {
            return Err(Error::new(
                Code::BindCount,
                format!(
                    "the statement has {} but {} bound",
                    count(params, "placeholder"),
                    count(bound, "value is")
                ),
            )
            .why(self.sql.as_str().to_owned())
            .at(self.place));
        }
        let arguments = match engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite => value::sqlite(self.values).map(Arguments::Sqlite),
            #[cfg(feature = "postgres")]
            Engine::Postgres => value::postgres(self.values).map(Arguments::Postgres),
            #[cfg(feature = "mysql")]
            Engine::MySql => value::mysql(in_order(self.values, text)).map(Arguments::MySql),
            #[allow(unreachable_patterns, reason = "reached where an engine is left out")]
            _ => unreachable!("no handle of an engine that is left out"),
        };
        let arguments = arguments.map_err(|e| e.at(self.place))?;
        let sql = match &text.positional {
            Some((sql, _)) => AssertSqlSafe(Arc::clone(sql)).into_sql_str(),
            None => self.sql.to_driver(),
        };
        Ok((sql, arguments))
    }
}

fn count(n: usize, what: &str) -> String {
    match (n, what.strip_suffix(" is")) {
        (1, _) => format!("1 {what}"),
        (n, Some(what)) => format!("{n} {what}s are"),
        (n, None) => format!("{n} {what}s"),
    }
}

/// The values as MySQL's `?` take them: in order of appearance, some several times.
#[cfg(feature = "mysql")]
fn in_order(mut values: Vec<Value>, text: &Text) -> Vec<Value> {
    let Some((_, order)) = &text.positional else { return values };
    if order.iter().copied().eq(0..values.len()) {
        return values;
    }
    let mut last_use = vec![0; values.len()];
    order.iter().enumerate().for_each(|(at, n)| last_use[*n] = at);
    order
        .iter()
        .enumerate()
        .map(|(at, n)| {
            if last_use[*n] == at {
                std::mem::replace(&mut values[*n], Value::Bool(None))
            } else {
                values[*n].clone()
            }
        })
        .collect()
}
