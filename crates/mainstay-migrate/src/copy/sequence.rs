//! After the rows: numbers that the target gives by itself go on above those that were copied.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::kind::Kind;
use super::pair::Pair;
use super::side::Side;

/// Moves what numbers the rows of `pair` beyond the highest number there. SQLite does so by itself.
pub(super) async fn reset(target: &mut Side, pair: &Pair) -> Result<()> {
    let table = target.quote(&pair.target.name);
    match target.engine {
        Engine::Sqlite => Ok(()),
        Engine::MySql => {
            // Any number below the highest is taken for the next one.
            let sql = format!(
                "SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() \
                 AND table_name = {} AND extra LIKE '%auto_increment%'",
                target.literal(&pair.target.name)
            );
            if target.session.rows(&sql, Vec::new()).await?.is_empty() {
                return Ok(());
            }
            target.run(&format!("ALTER TABLE {table} AUTO_INCREMENT = 1")).await.map(drop)
        }
        Engine::Postgres => {
            for column in &pair.target.columns {
                // Only whole numbers are given by a sequence of the column's own.
                if !matches!(column.kind, Kind::Int { .. }) {
                    continue;
                }
                let name = target.quote(&column.name);
                let (of, own) = (target.literal(&table), target.literal(&column.name));
                // Those that the column owns, and those that its default takes numbers from, which other
                // tables may too: none goes back.
                let sql = format!(
                    "SELECT setval(s.id, GREATEST(m.highest, s.last, 1), \
                     m.highest IS NOT NULL OR s.last IS NOT NULL) \
                     FROM (SELECT q.id, pg_sequence_last_value(q.id) AS last FROM \
                      (SELECT pg_get_serial_sequence({of}, {own})::regclass AS id UNION \
                       SELECT d.refobjid::regclass FROM pg_attrdef x \
                       JOIN pg_attribute a ON a.attrelid = x.adrelid AND a.attnum = x.adnum \
                       JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = x.oid \
                       AND d.refclassid = 'pg_class'::regclass \
                       JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'S' \
                       WHERE x.adrelid = {of}::regclass AND a.attname = {own}) q \
                      WHERE q.id IS NOT NULL) s, \
                     (SELECT max({name})::bigint AS highest FROM {table}) m"
                );
                target.run(&sql).await?;
            }
            Ok(())
        }
    }
}
