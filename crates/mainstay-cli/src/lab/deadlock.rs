//! `mainstay lab deadlock`: two transactions lock two rows in opposite orders and meet in the middle.
//! One is the victim; run again, it gets through.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use mainstay_core::observe::{Outcome, Statement, Subscriber, Transaction};
use mainstay_core::{Code, Result};
use mainstay_db::{AssertSqlSafe, Db};
use serde::Serialize;
use tokio::sync::Barrier;

use super::table::Table;

/// What happened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The deadlock's report; `None` on an engine that lets one write at a time.
    pub deadlock: Option<String>,
    /// Attempts of both transactions, those rolled back included.
    pub attempts: u32,
    /// The rows in the end: each of the two has taken 1 from one and given it to the other.
    pub rows: Vec<(i64, i64)>,
}

#[derive(Clone, Default)]
struct Watch {
    deadlock: Arc<Mutex<Option<String>>>,
    attempts: Arc<AtomicU32>,
}

impl Subscriber for Watch {
    fn statement(&self, event: &Statement<'_>) {
        if let Outcome::Failed(error) = event.outcome
            && error.code() == Code::Deadlock
        {
            let mut seen = self.deadlock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.get_or_insert_with(|| error.report());
        }
    }

    fn transaction(&self, event: &Transaction<'_>) {
        if event.statements > 0 {
            self.attempts.fetch_add(1, SeqCst);
        }
    }
}

/// Runs it on `db`. `say` is told what is about to happen.
///
/// Errors: those of a statement; what it made is dropped again.
pub async fn deadlock(db: &Db, say: impl Fn(&str) + Sync) -> Result<Report> {
    let table = Table::create(db).await?;
    let watch = Watch::default();
    db.observer().subscribe(watch.clone());
    let meet =
        Meet { barrier: Barrier::new(2), row_locks: db.engine() != mainstay_db::Engine::Sqlite };
    let (name, meet, say) = (table.name(), &meet, &say);
    let both = futures_util::future::join(
        transfer(db, name, ("A", 1, 2), meet, say),
        transfer(db, name, ("B", 2, 1), meet, say),
    );
    let (a, b) = both.await;
    let rows = table.rows().await;
    table.drop().await?;
    a.and(b)?;
    let deadlock = watch.deadlock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    Ok(Report { deadlock, attempts: watch.attempts.load(SeqCst), rows: rows? })
}

/// Where both wait for each other once, with their first row locked.
struct Meet {
    barrier: Barrier,
    row_locks: bool,
}

async fn transfer(
    db: &Db,
    table: &str,
    (who, from, to): (&str, i64, i64),
    meet: &Meet,
    say: &(impl Fn(&str) + Sync),
) -> Result<()> {
    let attempts = AtomicU32::new(0);
    let takes = format!("UPDATE {table} SET value = value - 1 WHERE id = $1");
    let gives = format!("UPDATE {table} SET value = value + 1 WHERE id = $1");
    db.transaction(|tx| {
        let attempt = attempts.fetch_add(1, SeqCst) + 1;
        let (takes, gives) = (takes.clone(), gives.clone());
        async move {
            if attempt > 1 {
                say(&format!("{who} was the victim: it is run again"));
            }
            say(&format!("{who} changes row {from}, and has it locked"));
            tx.query(AssertSqlSafe(takes)).bind(from).execute().await?;
            // SQLite's second writer is not here before the first is through.
            if attempt == 1 && meet.row_locks {
                meet.barrier.wait().await;
            }
            say(&format!("{who} wants row {to}"));
            tx.query(AssertSqlSafe(gives)).bind(to).execute().await.map(drop)
        }
    })
    .await?;
    say(&format!("{who} is committed"));
    Ok(())
}
