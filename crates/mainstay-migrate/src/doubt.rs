//! A statement that can't be in one transaction with the note that it is done, and whose end nobody
//! heard: did it take effect? What it changes is looked at before it runs, and again afterwards.

use mainstay_core::{Code, Result};
use mainstay_db::Engine;

use crate::concurrent::{ConcurrentIndex, Standing};
use crate::database::Database;
use crate::nature::words;
use crate::progress::hash_of;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    NotDone,
    /// It runs again; that what it makes exists, or what it drops does not, means that it was done.
    Unclear,
    /// Nobody can tell, and twice would be wrong.
    Unknown,
}

/// How the tables look that `sql` changes; empty where that can't be told. MySQL's alone: of the
/// others' statements that run outside transactions none changes a table.
pub(crate) async fn look(database: &mut Database, sql: &str) -> Result<String> {
    const UNSEEN: [&str; 5] = ["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "VIEW"];
    let words = words(sql, Engine::MySql);
    let unseen = words.iter().take(6).any(|word| UNSEEN.contains(&word.as_str()));
    if database.facts.engine != Engine::MySql || unseen {
        return Ok(String::new());
    }
    let tables = crate::lint::tables_of(sql, Engine::MySql);
    let mut seen = Vec::new();
    for table in &tables {
        let shown = database.rows(&format!("SHOW CREATE TABLE {}", quoted(table))).await;
        seen.push(match shown {
            Ok(rows) => match rows.first() {
                Some(row) => without_counter(&row.at::<String>(1)?),
                None => String::new(),
            },
            Err(error) if error.code() == Code::Undefined => String::new(),
            Err(error) => return Err(error),
        });
    }
    Ok(if tables.is_empty() { String::new() } else { hash_of(seen.iter().map(String::as_str)) })
}

fn quoted(table: &str) -> String {
    let parts: Vec<_> = table.split('.').map(|part| Engine::MySql.quote(part)).collect();
    parts.join(".")
}

/// Without `AUTO_INCREMENT=7`, which rows change.
fn without_counter(shown: &str) -> String {
    let Some((before, after)) = shown.split_once(" AUTO_INCREMENT=") else {
        return shown.to_owned();
    };
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Whether doing it once more where it was done already would go unnoticed, and be wrong: what it does
/// can't be seen, or is the same done twice as not at all.
fn is_wrong_twice(sql: &str, engine: Engine) -> bool {
    let words = words(sql, engine);
    let first = words.first().map_or("", String::as_str);
    let swaps = first == "RENAME" && {
        let mut tables = crate::lint::tables_of(sql, engine);
        let named = tables.len();
        tables.sort();
        tables.dedup();
        tables.len() < named || named > 2
    };
    matches!(first, "CALL" | "DO" | "EXECUTE")
        || swaps
        || words.iter().any(|word| word == "EXCHANGE")
}

/// Whether `sql` took effect, before which the tables looked like `before`.
pub(crate) async fn resolve(database: &mut Database, sql: &str, before: &str) -> Result<Outcome> {
    let engine = database.facts.engine;
    if engine == Engine::Postgres
        && let Some(index) = ConcurrentIndex::parse(sql)
    {
        return Ok(match index.standing(database).await? {
            Standing::Valid => Outcome::Done,
            Standing::Absent | Standing::Invalid => Outcome::NotDone,
        });
    }
    let wrong_twice = is_wrong_twice(sql, engine);
    if before.is_empty() {
        return Ok(if wrong_twice { Outcome::Unknown } else { Outcome::Unclear });
    }
    Ok(match look(database, sql).await? == before {
        true if wrong_twice => Outcome::Unknown,
        true => Outcome::NotDone,
        false => Outcome::Done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_left_out() {
        let shown =
            "CREATE TABLE `t` (...) ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4";
        let expected = "CREATE TABLE `t` (...) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
        assert_eq!(without_counter(shown), expected);
        assert_eq!(without_counter(expected), expected);
    }
}
