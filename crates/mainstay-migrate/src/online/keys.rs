//! Ranges of rows in the order of the key: where a batch ends, and which rows it has.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::ground::{Key, KeyClass, text};
use super::make::Site;
use crate::database::Database;

/// A key's values, as the cursor keeps them.
pub(crate) type Values = Vec<String>;

/// Where a batch ends, and how many rows it goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) last: Values,
    pub(crate) rows: u64,
}

/// The batch of up to `size` rows after `cursor`; `None` at the end.
pub(crate) async fn next(
    database: &mut Database,
    site: Site<'_>,
    cursor: &[String],
    size: u64,
) -> Result<Option<Batch>> {
    let (table, order) = (site.table(), order(site, ""));
    let (keys, after) = (shown(site), after(site, cursor));
    let sql = format!(
        "SELECT {keys} FROM {table} k WHERE {after} ORDER BY {order} LIMIT 1 OFFSET {}",
        size.saturating_sub(1)
    );
    if let Some(last) = read(database, &sql, site.ground.key.len()).await? {
        return Ok(Some(Batch { last, rows: size }));
    }
    // Fewer are left than a batch has.
    let down = self::order(site, " DESC");
    let sql = format!("SELECT {keys} FROM {table} k WHERE {after} ORDER BY {down} LIMIT 1");
    let Some(last) = read(database, &sql, site.ground.key.len()).await? else { return Ok(None) };
    let cast = if site.engine() == Engine::MySql { "CHAR" } else { "TEXT" };
    let count = format!(
        "SELECT CAST(COUNT(*) AS {cast}) FROM {table} WHERE {after} AND {}",
        up_to(site, &last)
    );
    let rows = database.text(&count).await?.and_then(|n| n.parse().ok()).unwrap_or(1);
    Ok(Some(Batch { last, rows }))
}

async fn read(database: &mut Database, sql: &str, columns: usize) -> Result<Option<Values>> {
    let rows = database.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    (0..columns).map(|n| text(row, n)).collect::<Result<_>>().map(Some)
}

/// The condition of the rows after `cursor`, up to and with `last`.
pub(crate) fn between(site: Site<'_>, cursor: &[String], last: &[String]) -> String {
    format!("{} AND {}", after(site, cursor), up_to(site, last))
}

/// With the table before each: PostgreSQL takes a bare name for the text that is selected under it.
fn order(site: Site<'_>, direction: &str) -> String {
    let all = site.ground.key.iter().map(|key| format!("k.{}{direction}", site.q(&key.name)));
    all.collect::<Vec<_>>().join(", ")
}

/// The key's columns as texts that [`literal`] makes literals of.
fn shown(site: Site<'_>) -> String {
    let one = |key: &Key| {
        let name = site.q(&key.name);
        match (site.engine(), key.class) {
            (Engine::Postgres, _) => format!("{name}::text"),
            (Engine::Sqlite, _) => format!("quote({name})"),
            (Engine::MySql, KeyClass::Binary) => format!("HEX({name})"),
            (Engine::MySql, KeyClass::Number | KeyClass::Text) => format!("CAST({name} AS CHAR)"),
        }
    };
    site.ground.key.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn literal(site: Site<'_>, key: &Key, value: &str) -> String {
    match (site.engine(), key.class) {
        // SQLite has made one of it already. On MySQL a text beside a number would be compared as a
        // floating-point number.
        (Engine::Sqlite, _) | (Engine::MySql, KeyClass::Number) => value.to_owned(),
        (Engine::MySql, KeyClass::Binary) => format!("x'{value}'"),
        (Engine::MySql | Engine::Postgres, _) => site.facts.literal(value),
    }
}

fn after(site: Site<'_>, cursor: &[String]) -> String {
    if cursor.is_empty() { "1 = 1".to_owned() } else { compared(site, cursor, ">", ">") }
}

fn up_to(site: Site<'_>, last: &[String]) -> String {
    compared(site, last, "<", "<=")
}

/// `(a, b) > (1, 2)`. MySQL uses no index for that: there it is `(a > 1 OR (a = 1 AND b > 2))`.
fn compared(site: Site<'_>, values: &[String], strict: &str, last: &str) -> String {
    let pairs: Vec<_> = site
        .ground
        .key
        .iter()
        .zip(values)
        .map(|(key, value)| (site.q(&key.name), literal(site, key, value)))
        .collect();
    if site.engine() != Engine::MySql && pairs.len() > 1 {
        let (names, literals): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        return format!("({}) {last} ({})", names.join(", "), literals.join(", "));
    }
    let mut out = String::new();
    for (n, (name, value)) in pairs.iter().enumerate().rev() {
        out = if n + 1 == pairs.len() {
            format!("{name} {last} {value}")
        } else {
            format!("({name} {strict} {value} OR ({name} = {value} AND {out}))")
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Facts;
    use crate::online::ground::Ground;

    fn ranges(engine: Engine, class: KeyClass) -> String {
        let key = |name: &str| Key { name: name.to_owned(), class };
        let ground = Ground { key: vec![key("a"), key("b")], ..Ground::default() };
        let facts = Facts::example(engine);
        let site = Site { facts: &facts, ground: &ground, change: "c" };
        let values = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        between(site, &values("1", "2"), &values("3", "4"))
    }

    #[test]
    fn a_range_uses_the_keys_index() {
        assert_eq!(
            ranges(Engine::Postgres, KeyClass::Text),
            "(\"a\", \"b\") > ('1', '2') AND (\"a\", \"b\") <= ('3', '4')"
        );
        assert_eq!(
            ranges(Engine::MySql, KeyClass::Number),
            "(`a` > 1 OR (`a` = 1 AND `b` > 2)) AND (`a` < 3 OR (`a` = 3 AND `b` <= 4))"
        );
    }
}
