//! Decisions: one row for each transaction, by whoever comes first. It is the commit point.

use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db, Engine};

use crate::create::create;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mainstay_two_phase (\
     id CHAR(32) NOT NULL PRIMARY KEY, decision VARCHAR(6) NOT NULL, \
     decided_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";

const CREATE_NUMBER: &str = "CREATE TABLE IF NOT EXISTS mainstay_two_phase_log (\
     one INTEGER NOT NULL PRIMARY KEY, number BIGINT NOT NULL)";

/// What is to become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Commit,
    Abort,
}

#[derive(Clone, Debug)]
pub(super) struct Log {
    db: Db,
    /// Its own, for ever: XA's names are a whole server's, where others have logs of theirs.
    pub(super) number: u64,
}

impl Log {
    pub(super) async fn open(db: Db) -> Result<Self> {
        create(&db, CREATE.to_owned()).await?;
        create(&db, CREATE_NUMBER.to_owned()).await?;
        let drawn = Rng::system().u64(0..1 << 62).cast_signed();
        let first = db
            .query("INSERT INTO mainstay_two_phase_log (one, number) VALUES (1, $1)")
            .bind(drawn)
            .execute()
            .await;
        match first {
            Err(error) if !is_there(&error) => return Err(error),
            _ => {}
        }
        let sql = "SELECT number FROM mainstay_two_phase_log WHERE one = 1";
        let number: i64 = db.query(sql).scalar().await?;
        Ok(Self { db, number: number.cast_unsigned() })
    }

    /// Decides, unless somebody has; returns what is decided. Errors: TX-003 and those of the statement, after which it may
    /// be decided.
    pub(super) async fn decide(&self, whole: u128, decision: Decision) -> Result<Decision> {
        let text = if decision == Decision::Commit { "commit" } else { "abort" };
        let inserted = self
            .db
            .query("INSERT INTO mainstay_two_phase (id, decision) VALUES ($1, $2)")
            .bind(id(whole))
            .bind(text)
            .execute()
            .await;
        match inserted {
            Ok(_) => Ok(decision),
            Err(error) if is_there(&error) => Ok(self.of(whole).await?.unwrap_or(Decision::Abort)),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn of(&self, whole: u128) -> Result<Option<Decision>> {
        let found: Option<(String,)> = self
            .db
            .query("SELECT decision FROM mainstay_two_phase WHERE id = $1")
            .bind(id(whole))
            .optional()
            .await?;
        Ok(found.map(|(text,)| if text == "commit" { Decision::Commit } else { Decision::Abort }))
    }

    /// All parts are settled.
    pub(super) async fn forget(&self, whole: u128) -> Result<()> {
        let gone = self.db.query("DELETE FROM mainstay_two_phase WHERE id = $1").bind(id(whole));
        gone.execute().await.map(drop)
    }

    /// Those that are to be committed.
    pub(super) async fn commits(&self) -> Result<Vec<u128>> {
        let sql =
            "SELECT id FROM mainstay_two_phase WHERE decision = 'commit' ORDER BY id LIMIT 10000";
        let rows: Vec<(String,)> = self.db.query(sql).all().await?;
        Ok(rows.iter().filter_map(|(id,)| u128::from_str_radix(id, 16).ok()).collect())
    }
}

impl Log {
    /// A decision against one stays for a week: a coordinator that slept for as long as that must still find it.
    pub(super) async fn forget_aborts(&self) -> Result<()> {
        let week =
            if self.db.engine() == Engine::MySql { "INTERVAL 7 DAY" } else { "INTERVAL '7 days'" };
        let sql = format!(
            "DELETE FROM mainstay_two_phase WHERE decision = 'abort' AND decided_at < CURRENT_TIMESTAMP - {week}"
        );
        self.db.query(AssertSqlSafe(sql)).execute().await.map(drop)
    }
}

fn id(whole: u128) -> String {
    format!("{whole:032x}")
}

fn is_there(error: &Error) -> bool {
    error.code() == Code::Unique
}
