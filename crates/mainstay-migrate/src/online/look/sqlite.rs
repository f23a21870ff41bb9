//! SQLite's catalogue: the texts of its definitions, and the pragmas that say what they mean.

use mainstay_core::Result;
use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::refused;
use crate::database::Database;
use crate::online::expr::{mentions, same, tokens};
use crate::online::ground::{Column, Ground, Index, Key, KeyClass, flag, text};
use crate::online::rebuild::Definition;

const SQLITE: Engine = Engine::Sqlite;

pub(super) async fn ground(database: &mut Database, table: &str) -> Result<Ground> {
    let name = database.facts.literal(table);
    let sql = format!(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name = {name} COLLATE NOCASE"
    );
    let rows = database.rows(&sql).await?;
    let Some(row) = rows.first() else {
        return Err(refused(format!("there is no table {table}")));
    };
    let (table, sql) = (text(row, 0)?, text(row, 1)?);
    let Some(definition) = Definition::parse(&sql) else {
        return Err(refused(format!("{table} is no ordinary table")).why(sql));
    };
    let columns = columns(database, &name, &definition).await?;
    let rowids: [&str; 3] = ["rowid", "_rowid_", "oid"];
    let free = |id: &&str| !columns.iter().any(|c| same(SQLITE, &c.name, id));
    let rowid = (!definition.without_rowid()).then(|| rowids.into_iter().find(free)).flatten();
    let key = match rowid {
        Some(rowid) => vec![rowid.to_owned()],
        None => primary(database, &name).await?,
    };
    let quoted = database.facts.engine.quote(&table);
    let rows = database.text(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {quoted}")).await?;
    let triggers = format!(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = {name} COLLATE NOCASE"
    );
    let triggers = database.rows(&triggers).await?;
    Ok(Ground {
        rows: rows.and_then(|n| n.parse().ok()).unwrap_or(0),
        columns,
        key: key.into_iter().map(|name| Key { name, class: KeyClass::Text }).collect(),
        indexes: indexes(database, &name).await?,
        triggers: triggers.iter().map(|row| text(row, 0)).collect::<Result<_>>()?,
        by_rowid: rowid.is_some(),
        table,
    })
}

async fn columns(
    database: &mut Database,
    name: &str,
    definition: &Definition,
) -> Result<Vec<Column>> {
    let sql = format!(
        "SELECT name, type, CASE WHEN \"notnull\" = 0 THEN '1' END, dflt_value, \
         CASE WHEN hidden > 1 THEN '1' END, CASE WHEN pk > 0 THEN '1' END \
         FROM pragma_table_xinfo({name}) WHERE hidden <> 1 ORDER BY cid"
    );
    let mut columns = Vec::new();
    for row in database.rows(&sql).await? {
        let (name, mut kind) = (text(&row, 0)?, text(&row, 1)?);
        if let Some(collation) = definition.collation(&name) {
            kind = format!("{kind} COLLATE {}", SQLITE.quote(&collation));
        }
        columns.push(Column {
            name,
            kind,
            nullable: flag(&row, 2)?,
            default: row.at::<Option<String>>(3)?.map(|text| format!("({text})")),
            generated: flag(&row, 4)?,
            primary: flag(&row, 5)?,
            ..Column::default()
        });
    }
    Ok(columns)
}

async fn primary(database: &mut Database, name: &str) -> Result<Vec<String>> {
    let sql = format!("SELECT name FROM pragma_table_info({name}) WHERE pk > 0 ORDER BY pk");
    database.rows(&sql).await?.iter().map(|row| text(row, 0)).collect()
}

async fn indexes(database: &mut Database, name: &str) -> Result<Vec<Index>> {
    let sql = format!(
        "SELECT l.name, CASE WHEN l.\"unique\" THEN '1' END, \
         CASE WHEN l.partial = 0 AND NOT EXISTS (SELECT 1 FROM pragma_index_xinfo(l.name) x \
           WHERE x.key = 1 AND x.cid = -2) THEN '1' END, \
         s.sql, (SELECT group_concat(x.name, char(10)) FROM (SELECT name FROM \
           pragma_index_xinfo(l.name) WHERE key = 1 ORDER BY seqno) x) \
         FROM pragma_index_list({name}) l LEFT JOIN sqlite_schema s \
         ON s.type = 'index' AND s.name = l.name WHERE l.origin <> 'pk' ORDER BY 1"
    );
    let mut indexes = Vec::new();
    for row in database.rows(&sql).await? {
        let (name, sql) = (text(&row, 0)?, text(&row, 3)?);
        let bracket = tokens(&sql, SQLITE)
            .into_iter()
            .find(|(token, range)| *token == Token::Other && &sql[range.clone()] == "(");
        indexes.push(Index {
            // One without a text belongs to a UNIQUE in the table's definition.
            constraint: sql.is_empty().then(|| name.clone()),
            name,
            unique: flag(&row, 1)?,
            plain: flag(&row, 2)?,
            columns: text(&row, 4)?.lines().map(str::to_owned).collect(),
            definition: bracket.map_or("", |(_, range)| &sql[range.start..]).to_owned(),
        });
    }
    Ok(indexes)
}

/// What uses the column, but for the plain indexes.
pub(super) async fn users(
    database: &mut Database,
    ground: &Ground,
    column: &Column,
) -> Result<Vec<String>> {
    let name = database.facts.literal(&ground.table);
    let mut found = Vec::new();
    let rows = database
        .rows(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY 2",
        )
        .await?;
    for row in rows {
        let (kind, object, of, sql) =
            (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?, text(&row, 3)?);
        let about = kind == "view" || (kind == "trigger" && !same(SQLITE, &of, &ground.table));
        let own = kind == "trigger" && same(SQLITE, &of, &ground.table);
        let uses = mentions(&sql, SQLITE, &column.name);
        if uses && (own || (about && mentions(&sql, SQLITE, &ground.table))) {
            found.push(format!("{kind} {object}"));
        }
        if kind == "table" && same(SQLITE, &object, &ground.table) {
            let definition = Definition::parse(&sql);
            found.extend(definition.map(|d| d.users(&column.name)).unwrap_or_default());
        }
    }
    let keys = format!(
        "SELECT m.name || '''s foreign key' FROM sqlite_schema m, pragma_foreign_key_list(m.name) f \
         WHERE m.type = 'table' AND f.\"table\" = {name} COLLATE NOCASE AND f.\"to\" = {} COLLATE NOCASE",
        database.facts.literal(&column.name)
    );
    for row in database.rows(&keys).await? {
        found.push(text(&row, 0)?);
    }
    Ok(found)
}
