//! A statement that can't be in one transaction with the note that it is done, and whose end nobody
//! heard: did it take effect? What it changes is looked at before it runs, and again afterwards.

use mainstay_core::Result;
use mainstay_db::Engine;

use crate::concurrent::{ConcurrentIndex, Standing};
use crate::database::Database;
use crate::progress::hash_of;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    NotDone,
    /// It runs again; that what it makes exists, or what it drops does not, means that it was done.
    Unclear,
}

/// How the tables look that `sql` changes; empty where that can't be told. MySQL's alone: of the
/// others' statements that run outside transactions none changes a table.
pub(crate) async fn look(database: &mut Database, sql: &str) -> String {
    if database.facts.engine != Engine::MySql {
        return String::new();
    }
    let tables = crate::lint::tables_of(sql, Engine::MySql);
    let mut seen = Vec::new();
    for table in &tables {
        let shown = database.rows(&format!("SHOW CREATE TABLE {}", quoted(table))).await;
        let shown = shown.ok().and_then(|rows| rows.first()?.at::<String>(1).ok());
        seen.push(shown.map_or_else(String::new, |text| without_counter(&text)));
    }
    if tables.is_empty() { String::new() } else { hash_of(seen.iter().map(String::as_str)) }
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

/// Whether `sql` took effect, before which the tables looked like `before`.
pub(crate) async fn resolve(database: &mut Database, sql: &str, before: &str) -> Result<Outcome> {
    if database.facts.engine == Engine::Postgres
        && let Some(index) = ConcurrentIndex::parse(sql)
    {
        return Ok(match index.standing(database).await? {
            Standing::Valid => Outcome::Done,
            Standing::Absent | Standing::Invalid => Outcome::NotDone,
        });
    }
    if before.is_empty() {
        return Ok(Outcome::Unclear);
    }
    let now = look(database, sql).await;
    Ok(if now == before { Outcome::NotDone } else { Outcome::Done })
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
