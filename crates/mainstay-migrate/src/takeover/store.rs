//! Writes a history that was taken over: all of it at once, also on MySQL, whose DDL commits by
//! itself, so that no later run finds a table without its rows and begins from nothing.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::pair::Taken;
use super::read::When;
use crate::database::{Database, Facts};
use crate::history::{History, create_sql};
use crate::progress::{self, Progress};

/// What the table is called on MySQL until it has its rows, after its own name.
pub(super) const ASIDE: &str = "_takeover";

/// Adds `taken` to the history, which is made if it is not there.
pub(super) async fn write(database: &mut Database, history: History, taken: &Taken) -> Result<()> {
    let facts = database.facts.clone();
    let mut target = facts.clone();
    let aside = facts.engine == Engine::MySql && !history.exists;
    if facts.engine == Engine::MySql {
        progress::create(database).await?;
    }
    if aside {
        target.table += ASIDE;
        let create = create_sql(&facts).replace(&facts.history(), &target.history());
        database.run(&format!("DROP TABLE IF EXISTS {}", target.history())).await?;
        database.run(&create).await?;
    }
    database.begin().await?;
    let written = rows(database, &facts, &target, history, taken).await;
    match written {
        Ok(()) => database.run("COMMIT").await?,
        Err(error) => {
            // The first error is the one to be told; the session ends with this.
            let _ = database.rollback().await;
            return Err(error);
        }
    };
    if aside {
        let sql = format!("RENAME TABLE {} TO {}", target.history(), facts.history());
        database.run(&sql).await?;
    }
    Ok(())
}

async fn rows(
    database: &mut Database,
    facts: &Facts,
    target: &Facts,
    mut history: History,
    taken: &Taken,
) -> Result<()> {
    if facts.engine != Engine::MySql {
        if !history.exists {
            database.run(&create_sql(facts)).await?;
        }
        progress::create(database).await?;
    }
    for (row, on) in &taken.rows {
        let (row, insert) = history.insert_sql(target, row.clone());
        database.run(&insert).await?;
        if let Some(on) = expression(facts, on) {
            let q = |name| facts.engine.quote(name);
            let sql = format!(
                "UPDATE {} SET {} = {on} WHERE {} = {}",
                target.history(),
                q("installed_on"),
                q("installed_rank"),
                row.rank
            );
            database.run(&sql).await?;
        }
        history.rows.push(row);
    }
    for (key, sha256) in &taken.hashes {
        let complete = Progress { sha256: sha256.clone(), ..Progress::default() };
        database.run(&progress::write_sql(facts, key, &complete)).await?;
    }
    Ok(())
}

/// The time as the history keeps it: by the session's clock, on SQLite in UTC.
fn expression(facts: &Facts, on: &When) -> Option<String> {
    match (on, facts.engine) {
        (When::Unknown, _) => None,
        (When::Local(text), _) | (When::Utc(text), Engine::Sqlite) => Some(facts.literal(text)),
        (When::Utc(text), Engine::Postgres) => {
            Some(format!("{}::timestamptz", facts.literal(&format!("{text}+00"))))
        }
        (When::Utc(text), Engine::MySql) => {
            let text = facts.literal(text);
            Some(format!("COALESCE(CONVERT_TZ({text}, '+00:00', @@session.time_zone), {text})"))
        }
    }
}
