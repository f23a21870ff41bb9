//! A statement that selects by keys: the one place where it says `IN ($keys)`, in each engine's words.
//! It knows no more of SQL than that.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::lex::{Lexer, Token};
use mainstay_db::{AssertSqlSafe, Db, Engine, FromRow, Query, Value};

use super::key::Key;

/// The most keys of a statement. Four to the fifth: see [`Statement::sql`].
const KEYS_MAX: usize = 1024;

/// A statement that selects rows by keys, with values for its other placeholders. A `&'static str` will do
/// where it has none; a text that is made at run time is [`AssertSqlSafe`]`(text).into()`.
///
/// It must select the key as its **first column**, and say `IN ($keys)` exactly once. All keys are then one
/// value: an array on PostgreSQL (`= ANY($1)`), JSON on SQLite. MySQL, which has neither in a form that its
/// indexes and collations serve well, gets a list of 1, 4, 16, 64, 256 or 1024 values, the last key
/// repeated; so no text depends on the number of keys, but for six of them there. More than 1024 keys are
/// asked for in several statements, one after the other.
///
/// ```
/// use mainstay_load::Rows;
///
/// let paid = Rows::new(
///     "SELECT user_id, id, cents FROM orders WHERE status = $1 AND user_id IN ($keys) ORDER BY id",
/// )
/// .bind("paid");
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is asked until it is given to load_many, load_one or a loader"]
pub struct Rows {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

impl Rows {
    /// A statement whose values, if it has any, are to be bound.
    pub fn new(sql: &'static str) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// Binds the next of `$1, $2, ...`.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

impl From<&'static str> for Rows {
    fn from(sql: &'static str) -> Self {
        Self::new(sql)
    }
}

/// Of a text that somebody vouches for.
impl From<AssertSqlSafe<String>> for Rows {
    fn from(sql: AssertSqlSafe<String>) -> Self {
        Self { sql: sql.0.into(), values: Vec::new() }
    }
}

/// As it is for an engine.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    before: String,
    after: String,
    values: Vec<Value>,
    engine: Engine,
    is_bytes: bool,
}

impl Statement {
    /// Errors: LOAD-003.
    pub(super) fn new<K: Key>(rows: Rows, engine: Engine) -> Result<Self> {
        let Rows { sql, values } = rows;
        let sql = &*sql;
        let (mut found, mut params) = (Vec::new(), 0);
        // The last tokens that mean something: NOT, IN, (, $, keys.
        let mut last: [(usize, &str); 5] = [(0, ""); 5];
        for (token, span) in Lexer::new(sql, engine) {
            match token {
                Token::Space | Token::Comment => continue,
                Token::Param(n) => params = params.max(n),
                _ => {}
            }
            // A quoted `keys` is a name.
            let text = match token {
                Token::Word | Token::Other => &sql[span.clone()],
                _ => "",
            };
            if text == ")" && last[2].1 == "(" && last[3].1 == "$" && last[4].1 == "keys" {
                let (at, is_in) = (last[1].0, last[1].1.eq_ignore_ascii_case("IN"));
                if !is_in || last[0].1.eq_ignore_ascii_case("NOT") {
                    return Err(unusable("`($keys)` stands after IN, and not after NOT IN", sql));
                }
                found.push(at..span.end);
            }
            last.rotate_left(1);
            last[4] = (span.start, text);
        }
        let [span] = &found[..] else {
            let times = found.len();
            return Err(unusable(&format!("it has `IN ($keys)` {times} times, and not once"), sql));
        };
        if params != values.len() {
            let bound = values.len();
            return Err(unusable(
                &format!("{params} values are to be bound, and {bound} are"),
                sql,
            ));
        }
        let (before, after) = (sql[..span.start].to_owned(), sql[span.end..].to_owned());
        Ok(Self { before, after, values, engine, is_bytes: K::BYTES })
    }

    /// The text for so many keys, and how many values it takes for them.
    ///
    /// On MySQL both grow by fours: six texts to prepare at most, of which the longest repeats no key more
    /// often than it has others, and a half.
    fn sql(&self, keys: usize) -> (String, usize) {
        let first = self.values.len() + 1;
        let (list, count) = match self.engine {
            Engine::Postgres => (format!("= ANY(${first})"), 1),
            Engine::Sqlite => {
                let value = if self.is_bytes { "unhex(value)" } else { "value" };
                (format!("IN (SELECT {value} FROM json_each(${first}))"), 1)
            }
            Engine::MySql => {
                let mut count = 1;
                while count < keys {
                    count *= 4;
                }
                let mut list = String::with_capacity(8 * count + 8);
                for n in first..first + count {
                    let comma = if n == first { "IN (" } else { ", " };
                    let _ = write!(list, "{comma}${n}");
                }
                (list + ")", count)
            }
        };
        (format!("{}{list}{}", self.before, self.after), count)
    }

    /// The rows of each key, in the order of the statement. `keys` are distinct.
    ///
    /// Errors: those of a statement; LOAD-003 (a row whose key is none of them).
    pub(super) async fn groups<K: Key, C: FromRow>(
        &self,
        db: &Db,
        keys: &[K],
        place: Place,
    ) -> Result<Vec<Vec<C>>> {
        let index: HashMap<&K, usize> = keys.iter().enumerate().map(|(at, k)| (k, at)).collect();
        let mut groups: Vec<Vec<C>> = keys.iter().map(|_| Vec::new()).collect();
        for keys in keys.chunks(KEYS_MAX) {
            for row in self.query(db, keys, place).rows().await? {
                let key = K::read(&row).map_err(|e| e.at(place))?;
                let at = key.and_then(|key| index.get(&key));
                let at = at.ok_or_else(|| unfit(place))?;
                groups[*at].push(row.read().map_err(|e| e.at(place))?);
            }
        }
        Ok(groups)
    }

    fn query<'d, K: Key>(&self, db: &'d Db, keys: &[K], place: Place) -> Query<'d> {
        let (sql, count) = self.sql(keys.len());
        let mut query = db.query(AssertSqlSafe(sql)).at(place);
        for value in &self.values {
            query = query.bind(value.clone());
        }
        match self.engine {
            Engine::Postgres => {
                let all = keys.iter().map(K::to_value).collect();
                query.bind(Value::Array(K::ARRAY, Some(Box::new(all))))
            }
            Engine::Sqlite => query.bind(json(keys)),
            Engine::MySql => (0..count)
                .fold(query, |query, n| query.bind(keys[n.min(keys.len() - 1)].to_value())),
        }
    }
}

fn json<K: Key>(keys: &[K]) -> String {
    let mut out = String::with_capacity(keys.len() * 8 + 2);
    for key in keys {
        out.push(if out.is_empty() { '[' } else { ',' });
        key.write_json(&mut out);
    }
    out.push(']');
    out
}

fn unusable(why: &str, sql: &str) -> Error {
    Error::new(Code::LoadStatement, "a statement for loading by keys can't be used")
        .why(format!("{why}: {sql}"))
}

/// What a statement found is not what the keys asked for.
fn unfit(place: Place) -> Error {
    Error::new(Code::LoadStatement, "a row has a key that was not asked for, or none")
        .why(
            "the first column must be the key that is compared with `$keys`, and no collation may \
             take different keys for the same",
        )
        .at(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &'static str, engine: Engine, keys: usize) -> Result<(String, usize)> {
        let params = usize::from(sql.contains("$1"));
        let rows = (0..params).fold(Rows::new(sql), |rows, _| rows.bind(1));
        Ok(Statement::new::<i64>(rows, engine)?.sql(keys))
    }

    #[test]
    fn the_text_does_not_follow_the_number_of_keys() {
        let sql = "SELECT a FROM t WHERE b = $1 AND a in ( $keys ) -- IN ($keys)";
        let postgres = "SELECT a FROM t WHERE b = $1 AND a = ANY($2) -- IN ($keys)";
        for keys in [1, 2, 1000] {
            assert_eq!(text(sql, Engine::Postgres, keys).unwrap(), (postgres.to_owned(), 1));
        }
        let (sqlite, count) = text(sql, Engine::Sqlite, 7).unwrap();
        assert!(sqlite.contains("a IN (SELECT value FROM json_each($2)) --"), "{sqlite}");
        assert_eq!(count, 1);
        let counts: std::collections::BTreeSet<_> =
            (1..=KEYS_MAX).map(|keys| text(sql, Engine::MySql, keys).unwrap()).collect();
        assert_eq!(counts.len(), 6);
        let (mysql, count) = text(sql, Engine::MySql, 3).unwrap();
        assert!(mysql.contains("a IN ($2, $3, $4, $5) --"), "{mysql}");
        assert_eq!(count, 4);
    }

    #[test]
    fn what_cant_be_used_is_told() {
        for sql in [
            "SELECT a FROM t",
            "SELECT a FROM t WHERE a = '($keys)'",
            "SELECT a FROM t WHERE a NOT IN ($keys)",
            "SELECT a FROM t WHERE f($keys)",
            "SELECT a FROM t WHERE a IN ($keys) AND b IN ($keys)",
        ] {
            for engine in [Engine::Sqlite, Engine::Postgres, Engine::MySql] {
                assert_eq!(text(sql, engine, 1).unwrap_err().code(), Code::LoadStatement, "{sql}");
            }
        }
        let rows = Rows::new("SELECT a FROM t WHERE b = $1 AND a IN ($keys)");
        let error = Statement::new::<i64>(rows, Engine::Sqlite).unwrap_err();
        assert!(error.reason().unwrap().starts_with("1 values are to be bound"), "{error:?}");
    }

    #[test]
    fn keys_are_written_as_json() {
        assert_eq!(json(&[1i64, -2]), "[1,-2]");
        assert_eq!(json(&["a\"b".to_owned()]), r#"["a\"b"]"#);
        assert_eq!(json(&[uuid::Uuid::nil()]), format!("[\"{}\"]", "0".repeat(32)));
    }
}
