//! Tables that a crate keeps in its user's database: made once, by whoever comes first, and known by their
//! version. A service's own tables are migrations, not this.

use mainstay_core::{Code, Error, Result};
use sqlx::AssertSqlSafe;

use crate::db::Db;
use crate::engine::Engine;

/// Some tables, and how they are made.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// What they are, for people: `the tables of jobs`.
    pub what: &'static str,
    /// Of the tables that this release works with.
    pub version: i64,
    /// The table whose one row, `version`, says which they are.
    pub known_by: &'static str,
    /// The scripts that make them. Each passes over what is there, and the last writes the version down, so
    /// that an installation that was cut off goes on.
    pub parts: fn(Engine) -> Vec<&'static str>,
    /// Of the errors that they are missing or of another version.
    pub code: Code,
}

impl Tables {
    /// The statements that make them, for who puts them into a migration of their own.
    pub fn schema(&self, engine: Engine) -> String {
        (self.parts)(engine).join("\n")
    }

    /// Makes them, unless they are there. Several processes may call it at once.
    ///
    /// Cancel safe: dropped half-way, it is all undone; on MySQL what was made stays, and the next call goes
    /// on from there.
    ///
    /// Errors: [`code`](Self::code) (tables of another version), and those of a statement.
    pub async fn install(&self, db: &Db) -> Result<()> {
        if self.found(db).await?.is_some() {
            return self.check(db).await;
        }
        let outcome = match db.engine() {
            // It commits each CREATE at once; what is there is passed over.
            Engine::MySql => {
                let lock = db.advisory_lock(self.known_by).acquire().await?;
                let made = self.make(db).await;
                lock.release().await.and(made)
            }
            Engine::Sqlite | Engine::Postgres => {
                db.transaction(|tx| async move {
                    let _turn = tx.advisory_lock(self.known_by).acquire().await?;
                    self.make(&tx).await
                })
                .await
            }
        };
        match outcome {
            // Two processes at once, where the lock could not be had.
            Err(error) if self.found(db).await?.is_none() => Err(error),
            _ => self.check(db).await,
        }
    }

    async fn make(&self, db: &Db) -> Result<()> {
        if self.found(db).await?.is_some() {
            return Ok(());
        }
        for part in (self.parts)(db.engine()) {
            db.script(part).await?;
        }
        Ok(())
    }

    /// Errors: [`code`](Self::code) where they are not ours to work with.
    pub async fn check(&self, db: &Db) -> Result<()> {
        match self.found(db).await? {
            Some(version) if version == self.version => Ok(()),
            Some(other) => {
                let (what, version) = (self.what, self.version);
                let told =
                    format!("{what} are of version {other}, and this program knows {version}");
                Err(Error::new(self.code, told)
                    .fix("deploy the release that made them, or a newer one"))
            }
            None => Err(self.missing()),
        }
    }

    fn missing(&self) -> Error {
        Error::new(self.code, format!("{} are not there", self.what))
    }

    /// The error of a statement on them, told as what to do where they are not there or have not all of their
    /// columns. All else stays as it is: a transaction is run again by the error's own code.
    pub fn named(&self, error: Error) -> Error {
        if error.code() != Code::Undefined {
            return error;
        }
        let what = format!("{} are not there, or are of another release", self.what);
        Error::new(self.code, what).cause(error)
    }

    async fn found(&self, db: &Db) -> Result<Option<i64>> {
        let exists = match db.engine() {
            Engine::Sqlite => {
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1"
            }
            Engine::Postgres => {
                "SELECT CASE WHEN to_regclass(CAST($1 AS TEXT)) IS NULL THEN 0::bigint ELSE 1 END"
            }
            Engine::MySql => {
                "SELECT COUNT(*) FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = $1"
            }
        };
        let there: i64 = db.query(exists).bind(self.known_by).scalar().await?;
        if there == 0 {
            return Ok(None);
        }
        let version = AssertSqlSafe(format!("SELECT version FROM {}", self.known_by));
        let found: Option<(i64,)> = db.query(version).optional().await?;
        Ok(found.map(|(version,)| version))
    }
}
