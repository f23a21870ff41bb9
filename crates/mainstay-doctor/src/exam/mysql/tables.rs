//! Tables without a key or without transactions, numbers near their end, texts of three bytes, free room.

use std::collections::{BTreeMap, HashMap, HashSet};

use mainstay_core::{Code, Result};
use mainstay_db::Engine;

use super::super::ctx::{Answer, Ctx, text, whole};
use super::super::words;
use crate::finding::Severity;

/// Tables that are read.
const TABLES_MAX: usize = 50_000;
const NEAR: f64 = 0.75;
const AT_THE_END: f64 = 0.9;

fn q(name: &str) -> String {
    Engine::MySql.quote(name)
}

pub(super) async fn primary_keys(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT DISTINCT CAST(table_name AS CHAR) FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND index_name = 'PRIMARY'";
    let keyed =
        ctx.rows(sql).await?.iter().map(|row| text(row, 0)).collect::<Result<HashSet<_>>>()?;
    let sql = format!(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() \
         AND table_type = 'BASE TABLE' LIMIT {TABLES_MAX}"
    );
    let mut found = Vec::new();
    for row in ctx.rows(&sql).await? {
        let table = text(&row, 0)?;
        if keyed.contains(&table) {
            continue;
        }
        let what = format!("{table} has no primary key");
        let evidence = vec!["InnoDB gives its rows a hidden one, behind one lock, and a replica reads all of it for each change".to_owned()];
        let fix = format!(
            "ALTER TABLE {} ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY FIRST;",
            q(&table)
        );
        found.push(ctx.finding((Code::DoctorKeyMissing, Severity::Warning), what, evidence, fix));
    }
    Ok(ctx.judged(found, "each table has one"))
}

/// The largest number of a column's type.
fn largest(kind: &str) -> f64 {
    let bits = match kind.split(['(', ' ']).next().unwrap_or_default() {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" | "integer" => 32,
        _ => 64,
    };
    2f64.powi(if kind.contains("unsigned") { bits } else { bits - 1 }) - 1.0
}

pub(super) async fn sequences(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(column_type AS CHAR) \
         FROM information_schema.columns WHERE table_schema = DATABASE() AND extra LIKE '%auto_increment%'";
    let mut columns = HashMap::new();
    for row in ctx.rows(sql).await? {
        columns.insert(text(&row, 0)?, (text(&row, 1)?, text(&row, 2)?));
    }
    let sql = "SELECT CAST(table_name AS CHAR), CAST(auto_increment AS DOUBLE) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND auto_increment IS NOT NULL";
    let mut found = Vec::new();
    for row in ctx.rows(sql).await? {
        let (table, next): (_, f64) = (text(&row, 0)?, row.at(1)?);
        let Some((column, kind)) = columns.get(&table) else { continue };
        let used = next / largest(kind);
        if used < NEAR {
            continue;
        }
        let left = (largest(kind) - next + 1.0).max(0.0) as u64;
        let what = format!(
            "{table}.{column} has used {}: {} numbers are left",
            words::percent(used.min(1.0)),
            words::number(left)
        );
        let evidence = vec![format!("it is {kind}")];
        let severity = if used >= AT_THE_END { Severity::Error } else { Severity::Warning };
        let fix = format!(
            "ALTER TABLE {} MODIFY {} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT;\n\
             -- copies the table while writers wait: mainstay migrate expand does it in phases; what refers to it first",
            q(&table),
            q(column)
        );
        found.push(ctx.finding((Code::DoctorSequenceEnding, severity), what, evidence, fix));
    }
    let all = words::count(columns.len(), "counter", "counters");
    Ok(ctx.judged(found, format!("{all}, none is near its end")))
}

pub(super) async fn engines(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT CAST(table_name AS CHAR), CAST(engine AS CHAR), CAST(COALESCE(table_rows, 0) AS SIGNED) \
         FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' \
         AND engine IN ('MyISAM', 'Aria', 'MEMORY', 'CSV', 'ARCHIVE', 'MRG_MyISAM') ORDER BY table_name LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let (table, engine) = (text(row, 0)?, text(row, 1)?);
        let severity = if engine == "MEMORY" { Severity::Hint } else { Severity::Warning };
        let what = format!("{table} is kept by {engine}");
        let evidence = vec![format!(
            "what is done in it is not rolled back, and writers lock all of its {} rows",
            words::number(whole(row, 2)?)
        )];
        let fix = format!("ALTER TABLE {} ENGINE = InnoDB;  -- writers wait", q(&table));
        Ok(ctx.finding((Code::DoctorStorageEngine, severity), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "each table is InnoDB's"))
}

pub(super) async fn encoding(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND character_set_name IN ('utf8', 'utf8mb3') ORDER BY table_name, ordinal_position \
         LIMIT {TABLES_MAX}"
    );
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in ctx.rows(&sql).await? {
        tables.entry(text(&row, 0)?).or_default().push(text(&row, 1)?);
    }
    let found = tables.into_iter().map(|(table, mut columns)| {
        let all = words::count(columns.len(), "column", "columns");
        columns.truncate(5);
        let what = format!("{all} of {table} can't hold every character");
        let evidence = vec![format!("utf8mb3: {}", columns.join(", "))];
        let fix = format!(
            "ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4;  -- copies the table",
            q(&table)
        );
        ctx.finding((Code::DoctorEncoding, Severity::Warning), what, evidence, fix)
    });
    let found = found.collect();
    Ok(ctx.judged(found, "no column is of utf8mb3"))
}

pub(super) async fn bloat(ctx: &mut Ctx) -> Result<Answer> {
    let min = ctx.options.bytes_min;
    let sql = format!(
        "SELECT CAST(table_name AS CHAR), CAST(data_free AS SIGNED), CAST(data_length + index_length AS SIGNED) \
         FROM information_schema.tables WHERE table_schema = DATABASE() AND data_free >= {min} \
         AND data_free > data_length + index_length ORDER BY data_free DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let (table, free) = (text(row, 0)?, words::bytes(whole(row, 1)?.max(0) as u64));
        let what = format!("{table} has {free} that hold nothing");
        let evidence = vec![format!("{} are in use", words::bytes(whole(row, 2)?.max(0) as u64))];
        let fix = format!("OPTIMIZE TABLE {};", q(&table));
        Ok(ctx.finding((Code::DoctorTableBloated, Severity::Hint), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, format!("none is half empty with more than {}", words::bytes(min))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_tells_where_it_ends() {
        assert!((largest("int(11)") - 2_147_483_647.0).abs() < 1.0);
        assert!((largest("tinyint(3) unsigned") - 255.0).abs() < 1.0);
        assert!(largest("bigint(20)") > 9e18);
    }
}
