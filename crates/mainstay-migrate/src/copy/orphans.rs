//! Looks for rows of the target that refer to rows which are not there: where foreign keys went unseen
//! while rows came in, nobody else ever would.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::pair::Pairs;
use super::side::Side;

/// A foreign key of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ForeignKey {
    name: String,
    table: String,
    /// Quoted, with its schema.
    to: String,
    columns: Vec<(String, String)>,
}

/// Errors: COPY-002, naming the foreign key.
pub(super) async fn none(target: &mut Side, pairs: &Pairs) -> Result<()> {
    if target.engine == Engine::Sqlite {
        return none_in_sqlite(target, pairs).await;
    }
    for key in keys(target).await? {
        if !pairs.all.iter().any(|pair| pair.name() == key.table) {
            continue;
        }
        let sql = key.orphans(target.engine);
        if !target.session.rows(&sql, Vec::new()).await?.is_empty() {
            return Err(found(&key.table, &key.name));
        }
    }
    Ok(())
}

/// Its foreign keys need no name.
async fn none_in_sqlite(target: &mut Side, pairs: &Pairs) -> Result<()> {
    for pair in &pairs.all {
        let sql = format!(
            "SELECT \"parent\" FROM pragma_foreign_key_check({}) LIMIT 1",
            target.literal(pair.name())
        );
        let rows = target.session.rows(&sql, Vec::new()).await?;
        if let Some(row) = rows.first() {
            return Err(found(pair.name(), &format!("to {}", row.at::<String>(0)?)));
        }
    }
    Ok(())
}

fn found(table: &str, key: &str) -> Error {
    let what = format!("rows of {table} refer to rows that are not there: its foreign key {key}");
    Error::new(Code::CopyDiffers, what)
        .why("the source has such rows too, or it was written to meanwhile")
        .fix("correct them in the source, empty the table in the target, and copy again")
}

impl ForeignKey {
    /// Has a row if one refers to none.
    fn orphans(&self, engine: Engine) -> String {
        let own = |(from, _): &(String, String)| format!("a.{} IS NOT NULL", engine.quote(from));
        let both = |(from, to): &(String, String)| {
            format!("r.{} = a.{}", engine.quote(to), engine.quote(from))
        };
        let given: Vec<_> = self.columns.iter().map(own).collect();
        let joined: Vec<_> = self.columns.iter().map(both).collect();
        format!(
            "SELECT 1 FROM {} a WHERE {} AND NOT EXISTS (SELECT 1 FROM {} r WHERE {}) LIMIT 1",
            engine.quote(&self.table),
            given.join(" AND "),
            self.to,
            joined.join(" AND ")
        )
    }
}

async fn keys(target: &mut Side) -> Result<Vec<ForeignKey>> {
    let sql = match target.engine {
        // Those of partitions belong to those of their tables.
        Engine::Postgres => {
            "SELECT f.conname::text, c.relname::text, f.confrelid::regclass::text, a.attname::text, \
             r.attname::text FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k(own, other, place) \
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.own \
             JOIN pg_attribute r ON r.attrelid = f.confrelid AND r.attnum = k.other \
             WHERE f.contype = 'f' AND f.conparentid = 0 AND n.nspname = current_schema() \
             ORDER BY c.relname, f.conname, k.place"
        }
        Engine::MySql => {
            "SELECT CAST(constraint_name AS CHAR), CAST(table_name AS CHAR), \
             CONCAT('`', REPLACE(referenced_table_schema, '`', '``'), '`.`', \
             REPLACE(referenced_table_name, '`', '``'), '`'), CAST(column_name AS CHAR), \
             CAST(referenced_column_name AS CHAR) FROM information_schema.key_column_usage \
             WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL \
             ORDER BY table_name, constraint_name, ordinal_position"
        }
        Engine::Sqlite => return Ok(Vec::new()),
    };
    let mut keys: Vec<ForeignKey> = Vec::new();
    for row in target.session.rows(sql, Vec::new()).await? {
        let (name, table): (String, String) = (row.at(0)?, row.at(1)?);
        let pair: (String, String) = (row.at(3)?, row.at(4)?);
        match keys.last_mut() {
            Some(last) if last.name == name && last.table == table => last.columns.push(pair),
            _ => keys.push(ForeignKey { name, table, to: row.at(2)?, columns: vec![pair] }),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_two_columns_is_looked_at_as_one() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let key = ForeignKey {
            name: "k".to_owned(),
            table: "t".to_owned(),
            to: "u".to_owned(),
            columns: vec![pair("a", "x"), pair("b", "y")],
        };
        assert_eq!(
            key.orphans(Engine::Postgres),
            "SELECT 1 FROM \"t\" a WHERE a.\"a\" IS NOT NULL AND a.\"b\" IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM u r WHERE r.\"x\" = a.\"a\" AND r.\"y\" = a.\"b\") LIMIT 1"
        );
    }
}
