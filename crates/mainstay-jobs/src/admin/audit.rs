//! Who did what.

use chrono::{DateTime, Utc};
use mainstay_core::Result;
use mainstay_db::Db;
use serde::Serialize;

use super::{Admin, time};
use crate::schema::named;
use crate::store::{Sql, now};

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// With what else.
    pub detail: Option<String>,
}

impl Admin {
    /// Writes down what is done, in the transaction that does it.
    pub(super) async fn note(
        &self,
        tx: &Db,
        action: &str,
        target: &str,
        detail: Option<&str>,
    ) -> Result<()> {
        const NOTE: Sql = Sql {
            sqlite: concat!(
                "INSERT INTO mainstay_audit (at_us, actor, action, target, detail) VALUES (",
                now!(sqlite),
                ", $1, $2, $3, $4)"
            ),
            postgres: concat!(
                "INSERT INTO mainstay_audit (at_us, actor, action, target, detail) VALUES (",
                now!(postgres),
                ", $1, $2, $3, $4)"
            ),
            mysql: concat!(
                "INSERT INTO mainstay_audit (at_us, actor, action, target, detail) VALUES (",
                now!(mysql),
                ", $1, $2, $3, $4)"
            ),
        };
        let target: String = target.chars().take(200).collect();
        let note = tx.query(NOTE.on(tx.engine())).bind(self.actor.as_str()).bind(action);
        note.bind(target).bind(detail).execute().await.map(drop).map_err(named)
    }

    /// What was done, the latest first; at most 10,000.
    ///
    /// Errors: JOB-001, and those of a statement.
    pub async fn audit(&self, limit: u32) -> Result<Vec<Audit>> {
        type Row = (i64, String, String, String, Option<String>);
        let rows: Vec<Row> = self
            .db
            .query(
                "SELECT at_us, actor, action, target, detail FROM mainstay_audit \
                 ORDER BY id DESC LIMIT $1",
            )
            .bind(i64::from(limit.clamp(1, 10_000)))
            .all()
            .await
            .map_err(named)?;
        let read = |(at_us, actor, action, target, detail): Row| Audit {
            at: time(at_us),
            actor,
            action,
            target,
            detail,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
