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
                let sql = format!(
                    "SELECT setval(s.name::regclass, GREATEST(COALESCE(m.highest, 1), 1), \
                     m.highest IS NOT NULL) \
                     FROM (SELECT pg_get_serial_sequence({}, {}) AS name) s, \
                     (SELECT max({name})::bigint AS highest FROM {table}) m WHERE s.name IS NOT NULL",
                    target.literal(&table),
                    target.literal(&column.name)
                );
                target.run(&sql).await?;
            }
            Ok(())
        }
    }
}
