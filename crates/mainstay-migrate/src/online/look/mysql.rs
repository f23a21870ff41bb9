//! MySQL's and MariaDB's catalogue.

use mainstay_core::{Code, Result};
use mainstay_db::{Engine, Row};

use super::refused;
use crate::database::{Database, Facts};
use crate::online::expr::{mentions, same};
use crate::online::ground::{Column, Ground, Index, Key, KeyClass, flag, text};

const MYSQL: Engine = Engine::MySql;

/// The condition that a row of the catalogue is of the table.
fn of(facts: &Facts, table: &str) -> String {
    let (schema, table) = (facts.literal(&facts.schema), facts.literal(table));
    format!("TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}")
}

pub(super) async fn ground(database: &mut Database, table: &str) -> Result<Ground> {
    let of = of(&database.facts, table);
    let sql = format!(
        "SELECT CAST(TABLE_NAME AS CHAR), CAST(TABLE_TYPE AS CHAR), CAST(ENGINE AS CHAR), \
         CAST(COALESCE(TABLE_ROWS, 0) AS CHAR) FROM information_schema.TABLES WHERE {of}"
    );
    let rows = database.rows(&sql).await?;
    let Some(row) = rows.first() else {
        return Err(refused(format!("there is no table {table} in {}", database.facts.schema)));
    };
    if text(row, 1)? != "BASE TABLE" || !text(row, 2)?.eq_ignore_ascii_case("InnoDB") {
        return Err(refused(format!("{table} is no table of InnoDB")));
    }
    let mariadb = database.facts.mariadb;
    let sql = format!(
        "SELECT CAST(COLUMN_NAME AS CHAR), CAST(COLUMN_TYPE AS CHAR), \
         CASE WHEN IS_NULLABLE = 'YES' THEN '1' END, CAST(COLUMN_DEFAULT AS CHAR), \
         CAST(EXTRA AS CHAR), \
         CASE WHEN COALESCE(GENERATION_EXPRESSION, '') <> '' THEN '1' END, \
         CAST(CHARACTER_SET_NAME AS CHAR), CAST(COLLATION_NAME AS CHAR), \
         CAST(COLUMN_COMMENT AS CHAR), CASE WHEN COLUMN_KEY = 'PRI' THEN '1' END \
         FROM information_schema.COLUMNS WHERE {of} ORDER BY ORDINAL_POSITION"
    );
    let rows = database.rows(&sql).await?;
    let columns: Vec<_> = rows.iter().map(|row| column(row, mariadb)).collect::<Result<_>>()?;
    let (key, indexes) = indexes(database, &of, &columns).await?;
    let triggers = format!(
        "SELECT CAST(TRIGGER_NAME AS CHAR) FROM information_schema.TRIGGERS \
         WHERE EVENT_OBJECT_SCHEMA = {} AND EVENT_OBJECT_TABLE = {}",
        database.facts.literal(&database.facts.schema),
        database.facts.literal(table)
    );
    let triggers = database.rows(&triggers).await?;
    Ok(Ground {
        table: text(row, 0)?,
        rows: text(row, 3)?.parse().unwrap_or(0),
        columns,
        key,
        indexes,
        triggers: triggers.iter().map(|row| text(row, 0)).collect::<Result<_>>()?,
        by_rowid: false,
    })
}

fn column(row: &Row, mariadb: bool) -> Result<Column> {
    let (mut kind, extra) = (text(row, 1)?, text(row, 4)?.to_ascii_lowercase());
    let charset = text(row, 6)?;
    if !charset.is_empty() {
        kind = format!("{kind} CHARACTER SET {charset} COLLATE {}", text(row, 7)?);
    }
    let default = match row.at::<Option<String>>(3)? {
        // MariaDB tells an expression; MySQL tells a value, unless it says otherwise.
        Some(text) if mariadb => (!text.eq_ignore_ascii_case("NULL")).then_some(text),
        Some(text) if text.to_ascii_uppercase().starts_with("CURRENT_TIMESTAMP") => Some(text),
        Some(text) if extra.contains("default_generated") => Some(format!("({text})")),
        Some(text) if text.starts_with("b'") => Some(text),
        Some(text) => Some(crate::database::literal(MYSQL, &text)),
        None => None,
    };
    Ok(Column {
        name: text(row, 0)?,
        kind,
        nullable: flag(row, 2)?,
        default,
        generated: flag(row, 5)?,
        numbered: extra.contains("auto_increment"),
        on_update: extra.contains("on update"),
        primary: flag(row, 9)?,
        comment: text(row, 8)?,
    })
}

async fn indexes(
    database: &mut Database,
    of: &str,
    columns: &[Column],
) -> Result<(Vec<Key>, Vec<Index>)> {
    let sql = format!(
        "SELECT CAST(INDEX_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), CAST(SUB_PART AS CHAR), \
         CASE WHEN NON_UNIQUE = 0 THEN '1' END, CAST(INDEX_TYPE AS CHAR), CAST(COLLATION AS CHAR) \
         FROM information_schema.STATISTICS WHERE {of} ORDER BY INDEX_NAME, SEQ_IN_INDEX"
    );
    let (mut key, mut indexes) = (Vec::new(), Vec::<Index>::new());
    for row in database.rows(&sql).await? {
        let (name, column, part) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?);
        if name == "PRIMARY" {
            let class = class(columns, &column)?;
            key.push(Key { name: column, class });
            continue;
        }
        if indexes.last().is_none_or(|last| last.name != name) {
            indexes.push(Index {
                name,
                unique: flag(&row, 3)?,
                constraint: None,
                columns: Vec::new(),
                definition: String::new(),
                plain: true,
            });
        }
        let Some(index) = indexes.last_mut() else { continue };
        index.plain &= text(&row, 4)? == "BTREE" && !column.is_empty();
        let mut shown = MYSQL.quote(&column);
        if !part.is_empty() {
            shown += &format!("({part})");
        }
        if text(&row, 5)? == "D" {
            shown += " DESC";
        }
        let comma = if index.definition.is_empty() { "" } else { ", " };
        index.definition += &format!("{comma}{shown}");
        index.columns.push(column);
    }
    for index in &mut indexes {
        index.definition = format!("({})", index.definition);
    }
    Ok((key, indexes))
}

/// Errors: MIG-017 for a type by whose values rows can't be told to come after others.
fn class(columns: &[Column], name: &str) -> Result<KeyClass> {
    let kind = columns.iter().find(|c| c.name == name).map_or("", |c| c.kind.as_str());
    let word: String = kind.chars().take_while(char::is_ascii_alphanumeric).collect();
    Ok(match word.to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "year" => KeyClass::Number,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            KeyClass::Binary
        }
        "enum" | "set" | "bit" | "float" | "double" => {
            return Err(refused(format!("the primary key's column `{name}` is of type {word}"))
                .why("rows can't be gone through in the order of its values"));
        }
        _ => KeyClass::Text,
    })
}

/// What uses the column, but for the plain indexes.
pub(super) async fn users(
    database: &mut Database,
    ground: &Ground,
    column: &Column,
) -> Result<Vec<String>> {
    let (schema, table) =
        (database.facts.literal(&database.facts.schema), database.facts.literal(&ground.table));
    let name = database.facts.literal(&column.name);
    let mut found = Vec::new();
    let keys = format!(
        "SELECT CONCAT('foreign key ', CONSTRAINT_NAME, ' of ', TABLE_NAME) \
         FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND \
         ((TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} AND COLUMN_NAME = {name}) OR \
          (REFERENCED_TABLE_SCHEMA = {schema} AND REFERENCED_TABLE_NAME = {table} \
           AND REFERENCED_COLUMN_NAME = {name}))"
    );
    for row in database.rows(&keys).await? {
        found.push(text(&row, 0)?);
    }
    let generated = format!(
        "SELECT CONCAT('column ', COLUMN_NAME, ', which is generated'), \
         CAST(GENERATION_EXPRESSION AS CHAR), '' FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}"
    );
    let views = format!(
        "SELECT CONCAT('view ', TABLE_NAME), CAST(VIEW_DEFINITION AS CHAR), {table} \
         FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema}"
    );
    let triggers = format!(
        "SELECT CONCAT('trigger ', TRIGGER_NAME), CAST(ACTION_STATEMENT AS CHAR), '' \
         FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {schema} \
         AND EVENT_OBJECT_TABLE = {table}"
    );
    for sql in [generated, views, triggers, checks(&database.facts, &ground.table)] {
        let rows = match database.rows(&sql).await {
            // A server without checks has no table of them.
            Err(error) if error.code() == Code::Undefined => continue,
            rows => rows?,
        };
        for row in rows {
            let (who, body, also) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?);
            if mentions(&body, MYSQL, &column.name)
                && (also.is_empty() || mentions(&body, MYSQL, &also))
            {
                found.push(who);
            }
        }
    }
    Ok(found)
}

/// The indexes of the column without which a foreign key, of this table or to it, could not be.
pub(super) async fn needed_indexes(
    database: &mut Database,
    ground: &Ground,
    column: &Column,
) -> Result<Vec<String>> {
    let (schema, table) =
        (database.facts.literal(&database.facts.schema), database.facts.literal(&ground.table));
    let sql = format!(
        "SELECT CAST(CONSTRAINT_NAME AS CHAR), CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR) \
         FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL \
         AND TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} ORDER BY 2, 1, ORDINAL_POSITION"
    );
    let mut rows = database.rows(&sql).await?;
    let sql = format!(
        "SELECT CAST(CONSTRAINT_NAME AS CHAR), \
         CONCAT(CAST(TABLE_SCHEMA AS CHAR), '.', CAST(TABLE_NAME AS CHAR)), \
         CAST(REFERENCED_COLUMN_NAME AS CHAR) \
         FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_SCHEMA = {schema} \
         AND REFERENCED_TABLE_NAME = {table} ORDER BY 2, 1, ORDINAL_POSITION"
    );
    rows.extend(database.rows(&sql).await?);
    let mut keys: Vec<(String, Vec<String>)> = Vec::new();
    for row in &rows {
        let who = format!("foreign key {} of {}", text(row, 0)?, text(row, 1)?);
        match keys.last_mut() {
            Some((last, columns)) if *last == who => columns.push(text(row, 2)?),
            _ => keys.push((who, vec![text(row, 2)?])),
        }
    }
    let going = |index: &&Index| index.columns.iter().any(|c| same(MYSQL, c, &column.name));
    let begins = |index: &Index, columns: &[String]| {
        index.columns.len() >= columns.len()
            && index.columns.iter().zip(columns).all(|(a, b)| same(MYSQL, a, b))
    };
    let mut left = ground.clone();
    left.indexes.retain(|index| !going(&index));
    let mut found = Vec::new();
    for (who, columns) in keys.iter().filter(|(_, columns)| !left.has_index_on(MYSQL, columns)) {
        let index = ground.indexes.iter().filter(going).find(|index| begins(index, columns));
        found.extend(index.map(|index| format!("{who}, which needs the index {}", index.name)));
    }
    Ok(found)
}

fn checks(facts: &Facts, table: &str) -> String {
    let (schema, table) = (facts.literal(&facts.schema), facts.literal(table));
    if facts.mariadb {
        return format!(
            "SELECT CONCAT('check ', CONSTRAINT_NAME), CAST(CHECK_CLAUSE AS CHAR), '' \
             FROM information_schema.CHECK_CONSTRAINTS \
             WHERE CONSTRAINT_SCHEMA = {schema} AND TABLE_NAME = {table}"
        );
    }
    format!(
        "SELECT CONCAT('check ', c.CONSTRAINT_NAME), CAST(c.CHECK_CLAUSE AS CHAR), '' \
         FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t \
         ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME \
         WHERE t.TABLE_SCHEMA = {schema} AND t.TABLE_NAME = {table} AND t.CONSTRAINT_TYPE = 'CHECK'"
    )
}
