//! Tables, columns and indexes.

use std::collections::{HashMap, HashSet};

use mainstay_core::{Code, Result};
use mainstay_db::Engine;

use super::super::ctx::{Answer, Ctx, list, text, whole};
use super::super::redundant::{Shape, pairs};
use super::super::words;
use super::pragma;
use crate::finding::Severity;
use crate::guard;

/// Indexes, foreign keys and columns that are read.
const READ_MAX: usize = 100_000;
/// Of a smaller file the planner's guesses are good enough.
const ANALYZE_MIN: i64 = 1 << 20;
/// Of all numbers that AUTOINCREMENT gives.
const NEAR: f64 = 0.75;
const ROWS_SMALL: i64 = 1_000;

fn q(name: &str) -> String {
    Engine::Sqlite.quote(name)
}

/// All indexes, by table, the older first.
async fn indexes(ctx: &mut Ctx) -> Result<Vec<Shape>> {
    let sql = format!(
        "SELECT m.name, l.name, l.\"unique\" = 1, l.origin <> 'c', \
         (SELECT group_concat(coalesce(x.name, '(of ' || l.name || ')') || char(30) || x.desc || ' ' || upper(x.coll), char(31)) \
           FROM pragma_index_xinfo(l.name) x WHERE x.key = 1), \
         CASE WHEN l.partial = 1 THEN coalesce(s.sql, l.name) ELSE '' END \
         FROM sqlite_schema m JOIN pragma_index_list(m.name) l \
         LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name \
         WHERE m.type = 'table' ORDER BY m.name, l.seq DESC LIMIT {READ_MAX}"
    );
    let rows = ctx.rows(&sql).await?;
    let shapes = rows.iter().map(|row| {
        Ok(Shape {
            table: text(row, 0)?,
            name: text(row, 1)?,
            method: "btree".to_owned(),
            unique: whole(row, 2)? != 0,
            bound: whole(row, 3)? != 0,
            keys: list(row, 4)?,
            condition: condition(&text(row, 5)?),
            ..Shape::default()
        })
    });
    shapes.collect()
}

/// What follows WHERE in a partial index's text; the whole of it where that can't be told.
fn condition(sql: &str) -> String {
    let at = sql.to_ascii_uppercase().find(" WHERE ");
    at.map_or(sql, |at| &sql[at..]).split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) async fn duplicates(ctx: &mut Ctx) -> Result<Answer> {
    let shapes = indexes(ctx).await?;
    let found = pairs(&shapes).into_iter().map(|pair| {
        let (goes, stays) = (&shapes[pair.goes], &shapes[pair.stays]);
        let what = format!("{} on {} is superfluous", goes.name, goes.table);
        let (severity, why) = if pair.same {
            (Severity::Warning, "has the same columns in the same order")
        } else {
            (Severity::Hint, "begins with the same columns in the same order")
        };
        let evidence = vec![format!("{} {why}", stays.name)];
        let fix = format!("DROP INDEX {};", q(&goes.name));
        ctx.finding((Code::DoctorIndexDuplicate, severity), what, evidence, fix)
    });
    let found = found.collect();
    let all = words::count(shapes.len(), "index", "indexes");
    Ok(ctx.judged(found, format!("{all}, none makes another superfluous")))
}

pub(super) async fn foreign_keys(ctx: &mut Ctx) -> Result<Answer> {
    let rows = rows_of_tables(ctx).await?;
    let shapes = indexes(ctx).await?;
    let mut leading: HashMap<&str, Vec<Vec<&str>>> = HashMap::new();
    for shape in shapes.iter().filter(|shape| shape.condition.is_empty()) {
        let names = shape.keys.iter().filter_map(|key| key.split('\u{1e}').next()).collect();
        leading.entry(&shape.table).or_default().push(names);
    }
    // The rowid's own column needs no index.
    let sql = format!(
        "SELECT m.name, f.\"table\", group_concat(f.\"from\", char(31)), \
         count(*) = 1 AND (SELECT count(*) FROM pragma_table_info(m.name) t WHERE t.pk > 0) = 1 AND EXISTS \
           (SELECT 1 FROM pragma_table_info(m.name) t WHERE t.pk = 1 AND upper(t.type) = 'INTEGER' AND t.name = f.\"from\") \
         FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' \
         GROUP BY m.name, f.id ORDER BY m.name, f.id LIMIT {READ_MAX}"
    );
    let mut found = Vec::new();
    for row in ctx.rows(&sql).await? {
        let (table, other, columns) = (text(&row, 0)?, text(&row, 1)?, list(&row, 2)?);
        let wanted: HashSet<_> = columns.iter().map(|column| column.to_ascii_lowercase()).collect();
        let covered = leading.get(table.as_str()).is_some_and(|all| {
            all.iter().any(|names| {
                let first: HashSet<_> = names
                    .iter()
                    .take(columns.len())
                    .map(|name| name.to_ascii_lowercase())
                    .collect();
                first == wanted
            })
        });
        if covered || whole(&row, 3)? != 0 {
            continue;
        }
        let names = columns.iter().map(|column| q(column)).collect::<Vec<_>>().join(", ");
        let what = format!(
            "no index on {table} begins with {}, which refers to {other}",
            columns.join(", ")
        );
        let evidence = vec![format!(
            "each delete in {other}, and each change of its key, reads all of {table}"
        )];
        let small = rows.get(&table).is_some_and(|rows| *rows < ROWS_SMALL);
        let severity = if small { Severity::Hint } else { Severity::Warning };
        let index = q(&format!("{table}_{}", columns.join("_")));
        let fix = format!("CREATE INDEX {index} ON {} ({names});", q(&table));
        found.push(ctx.finding((Code::DoctorForeignKeyUnindexed, severity), what, evidence, fix));
    }
    Ok(ctx.judged(found, "each has an index"))
}

/// What ANALYZE has counted, if it ever ran.
async fn rows_of_tables(ctx: &mut Ctx) -> Result<HashMap<String, i64>> {
    if !exists(ctx, "sqlite_stat1").await? {
        return Ok(HashMap::new());
    }
    let rows =
        ctx.rows("SELECT tbl, max(CAST(stat AS INTEGER)) FROM sqlite_stat1 GROUP BY tbl").await?;
    rows.iter().map(|row| Ok((text(row, 0)?, whole(row, 1)?))).collect()
}

async fn exists(ctx: &mut Ctx, table: &str) -> Result<bool> {
    let table = guard::quote(Engine::Sqlite, table);
    let rows = ctx.rows(&format!("SELECT 1 FROM sqlite_schema WHERE name = {table}")).await?;
    Ok(!rows.is_empty())
}

pub(super) async fn primary_keys(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT m.name FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND m.sql NOT LIKE 'CREATE VIRTUAL %' \
         AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name) t WHERE t.pk > 0) ORDER BY 1 LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let what = format!("{} has no primary key", text(row, 0)?);
        let evidence = vec!["its rows have a rowid, which VACUUM may change".to_owned()];
        let fix = "make it anew with id INTEGER PRIMARY KEY, and copy the rows".to_owned();
        Ok(ctx.finding((Code::DoctorKeyMissing, Severity::Hint), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "each table has one"))
}

pub(super) async fn sequences(ctx: &mut Ctx) -> Result<Answer> {
    if !exists(ctx, "sqlite_sequence").await? {
        return Ok(Answer::Good("there is no AUTOINCREMENT".to_owned()));
    }
    let sql = format!(
        "SELECT name, CAST(seq AS INTEGER) FROM sqlite_sequence ORDER BY 2 DESC LIMIT {READ_MAX}"
    );
    let rows = ctx.rows(&sql).await?;
    let mut found = Vec::new();
    for row in &rows {
        let (table, last) = (text(row, 0)?, whole(row, 1)?);
        let used = words::share(last, i64::MAX);
        if used < NEAR {
            continue;
        }
        let what =
            format!("{table} has used {} of its numbers: its last is {last}", words::percent(used));
        let evidence = vec![
            "AUTOINCREMENT never gives a number again; after 2^63 - 1 inserts fail".to_owned(),
        ];
        let fix = format!(
            "UPDATE sqlite_sequence SET seq = (SELECT max(rowid) FROM {}) WHERE name = {};  -- after what has such numbers was moved",
            q(&table),
            guard::quote(Engine::Sqlite, &table)
        );
        found.push(ctx.finding((Code::DoctorSequenceEnding, Severity::Error), what, evidence, fix));
    }
    let all = words::count(rows.len(), "counter", "counters");
    Ok(ctx.judged(found, format!("{all}, none is near its end")))
}

pub(super) async fn statistics(ctx: &mut Ctx) -> Result<Answer> {
    let size = pragma(ctx, "page_count").await? * pragma(ctx, "page_size").await?;
    let rows = ctx.rows("SELECT count(*) FROM sqlite_schema WHERE type = 'index'").await?;
    let indexes = rows.first().map_or(Ok(0), |row| whole(row, 0))?;
    if size < ANALYZE_MIN || indexes == 0 {
        return Ok(Answer::Good("too small for them to matter".to_owned()));
    }
    if exists(ctx, "sqlite_stat1").await? {
        return Ok(Answer::Good("it was analyzed".to_owned()));
    }
    let what = "the database was never analyzed".to_owned();
    let evidence = vec![format!(
        "of {} indexes the planner does not know which one tells rows apart",
        words::number(indexes)
    )];
    let fix =
        "PRAGMA optimize;  -- before each close, or once a day; ANALYZE; the first time".to_owned();
    let found =
        ctx.finding((Code::DoctorStatisticsMissing, Severity::Warning), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}

/// What SQLite makes of a declared type that says something else: where that changes values.
fn oddity(kind: &str) -> Option<&'static str> {
    let kind = kind.to_ascii_uppercase();
    if kind.contains("INT") {
        let by_chance = ["POINT", "PRINT", "INTERVAL"].iter().any(|word| kind.contains(word));
        return by_chance.then_some("it is taken for a whole number, by the INT in it");
    }
    let text = ["CHAR", "CLOB", "TEXT", "BLOB"].iter().any(|word| kind.contains(word));
    (kind.contains("STRING") && !text).then_some("it is taken for a number: '007' is stored as 7")
}

pub(super) async fn types(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT m.name, t.name, t.type FROM sqlite_schema m JOIN pragma_table_info(m.name) t \
         WHERE m.type = 'table' AND (t.type LIKE '%STRING%' OR t.type LIKE '%INT%') ORDER BY m.name, t.cid LIMIT {READ_MAX}"
    );
    let mut found = Vec::new();
    for row in ctx.rows(&sql).await? {
        let (table, column, kind) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?);
        let Some(why) = oddity(&kind) else { continue };
        let what = format!("{table}.{column} is declared {kind}");
        let fix =
            "declare it TEXT, INTEGER, REAL or BLOB, in a new table that the rows are copied to"
                .to_owned();
        found.push(ctx.finding(
            (Code::DoctorTypeOdd, Severity::Warning),
            what,
            vec![why.to_owned()],
            fix,
        ));
    }
    Ok(ctx.judged(found, "each means what it says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_mean_another() {
        for odd in ["STRING", "string(20)", "FLOATING POINT", "INTERVAL"] {
            assert!(oddity(odd).is_some(), "{odd}");
        }
        for fine in ["INTEGER", "BIGINT", "VARCHAR(20)", "TEXT", "DATETIME", "", "unsigned big int"]
        {
            assert_eq!(oddity(fine), None, "{fine}");
        }
    }

    #[test]
    fn a_condition_is_what_follows_where() {
        assert_eq!(condition("CREATE INDEX a ON t (x) where  y > 1"), "where y > 1");
    }
}
