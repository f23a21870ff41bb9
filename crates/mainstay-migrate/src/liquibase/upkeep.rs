//! A history put right by hand: a mark that a killed Liquibase left, a tag, and change sets that
//! count as run.

use mainstay_core::{Code, Error, Result};

use super::report::ChangelogReport;
use super::run::{Changelog, key};
use super::store::{self, How, who};
use crate::progress;

impl Changelog {
    /// Takes away the mark that a Liquibase left when it was killed. Waits while somebody migrates.
    /// Whether there was one.
    ///
    /// Errors: DB-032 where somebody migrates still.
    pub async fn release_locks(&self) -> Result<bool> {
        let mut database = self.connect().await?;
        if !database.has_table(store::lock_table_name(database.facts.engine)).await? {
            return Ok(false);
        }
        let table = store::lock_table(&database.facts);
        let marked = format!("SELECT 1 FROM {table} WHERE LOCKED");
        let marked = !database.rows(&marked).await?.is_empty();
        let sql = store::release_sql(&database.facts);
        database.run(&sql).await?;
        Ok(marked)
    }

    /// Gives the change set that ran last this tag, to which a rollback can go.
    ///
    /// Errors: MIG-007, MIG-016 where none ran, LOCK-003.
    pub async fn tag(&self, tag: &str) -> Result<()> {
        let mut database = self.connect().await?;
        let _locks = self.lock(&mut database).await?;
        let ran = store::read(&mut database).await?;
        let Some(row) = ran.last() else {
            let error =
                Error::new(Code::MigrationHistory, "no change set ran that could be tagged");
            return Err(error.fix("run update first"));
        };
        if let Some(old) = row.tag.as_deref().filter(|old| *old != tag) {
            self.tell.note(&format!("{} had the tag {old}", row.name()));
        }
        let sql = store::tag_sql(&database.facts, row, tag);
        database.run(&sql).await.map(drop)
    }

    /// Writes down that every change set ran that is meant and did not: of a database that was made in
    /// another way and has what they do. All in one transaction.
    ///
    /// Errors: as [`update`](Self::update).
    pub async fn changelog_sync(&self) -> Result<ChangelogReport> {
        let mut opened = self.open().await?;
        let _locks = self.lock(&mut opened.database).await?;
        opened.ran = store::read(&mut opened.database).await?;
        let rows = store::index(&opened.ran);
        let mut order = store::last_order(&opened.ran);
        let deployment = store::deployment_id();
        let mut report = ChangelogReport::default();
        let database = &mut opened.database;
        database.begin().await?;
        for set in &opened.log.sets {
            if !opened.meant.means(set)? || rows.contains_key(&who(set)) {
                continue;
            }
            order += 1;
            let (facts, dbms) = (&database.facts, opened.target.name());
            let record =
                store::record_sql(facts, set, dbms, None, How::Executed, order, &deployment);
            // What was done of it half-way does not count any more.
            let forget = progress::remove_sql(facts, &key(set));
            database.run(&record).await?;
            database.run(&forget).await?;
            report.ran.push(set.name());
        }
        database.run("COMMIT").await?;
        Ok(report)
    }
}
