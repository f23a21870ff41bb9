//! Index advice and judged plans for the statements that a service spends most time on, while it runs.
//!
//! It asks on a connection of its own, runs nothing, and has a budget; what it does not get done is done later.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Result};
use mainstay_db::{Connect, Db};
use mainstay_pool::Options as PoolOptions;

use super::Inner;
use super::costs::Spent;
use crate::advice::{Advice, Options, Query, Suggestion, advise};
use crate::finding::{Cost, Finding};
use crate::plan::explain;

/// Statements of one handle that are planned in one go.
const STATEMENTS_MAX: usize = 20;
/// One that is advised on has one more to try indexes on.
const CONNECTIONS: u32 = 2;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Rules that an index advised on would answer.
const BY_INDEX: [Code; 4] =
    [Code::PlanScan, Code::PlanLoop, Code::PlanTransientIndex, Code::PlanSort];

/// Looks every so often, for as long as there is a doctor.
pub(super) async fn every(doctor: Weak<Inner>, clock: Clock, pause: Duration) {
    loop {
        clock.sleep(pause).await;
        if !look(&doctor).await {
            return;
        }
    }
}

/// Plans what was spent most on. Whether there is still a doctor.
pub(super) async fn look(doctor: &Weak<Inner>) -> bool {
    let mut pool = 0;
    // The doctor is let go of while databases answer, so that it ends when its last handle does.
    while let Some((connect, spent, options)) = doctor.upgrade().and_then(|d| d.due(pool)) {
        pool += 1;
        let Some(connect) = connect.filter(|_| !spent.is_empty()) else { continue };
        match Box::pin(planned(connect, &spent, &options)).await {
            Ok(findings) => {
                let Some(doctor) = doctor.upgrade() else { return false };
                let mut engine = doctor.engine();
                for finding in findings {
                    engine.ledger.add(finding);
                }
            }
            Err(error) => tracing::warn!(%error, "the doctor could not plan statements"),
        }
    }
    doctor.strong_count() > 0
}

async fn planned(connect: Connect, spent: &[Spent], options: &Options) -> Result<Vec<Finding>> {
    let pool = PoolOptions {
        max_size: CONNECTIONS,
        min_idle: 0,
        leak_after: None,
        transaction_idle_after: None,
        ..PoolOptions::default()
    };
    let db = connect.name("doctor").pool(pool).connect().await?;
    let findings = Box::pin(findings(&db, spent, options));
    let findings = options.clock.timeout(options.budget, findings).await;
    let closed = db.close(CLOSE_TIMEOUT).await;
    let Some(findings) = findings else { return Ok(Vec::new()) };
    closed.and(findings)
}

async fn findings(db: &Db, spent: &[Spent], options: &Options) -> Result<Vec<Finding>> {
    let queries: Vec<Query> = spent.iter().map(|s| Query::unplaced(&*s.sql)).collect();
    let advice: Advice = advise(db, &queries, options).await?;
    let mut found: Vec<Finding> =
        advice.suggestions.iter().filter_map(|s| missing(s, spent, &options.clock)).collect();
    let served: HashSet<usize> =
        advice.suggestions.iter().flat_map(|s| &s.serves).map(|s| s.statement).collect();
    for (at, (query, spent)) in queries.iter().zip(spent).enumerate() {
        // What can't be planned is somebody else's error: the statement's own says more.
        let Ok(explained) = explain(db, query, false, options).await else { continue };
        let rest = explained.findings.iter();
        let rest = rest.filter(|f| !(served.contains(&(at + 1)) && BY_INDEX.contains(&f.code)));
        found.extend(rest.map(|judged| told(judged.finding(&options.clock), spent)));
    }
    Ok(found)
}

/// Told at the place that lost most by it.
fn missing(suggestion: &Suggestion, spent: &[Spent], clock: &Clock) -> Option<Finding> {
    let serves = suggestion.serves.iter().filter_map(|s| spent.get(s.statement.checked_sub(1)?));
    let worst = serves.max_by_key(|s| s.total_us)?;
    Some(told(suggestion.finding(clock), worst))
}

fn told(finding: Finding, spent: &Spent) -> Finding {
    let mut evidence = finding.evidence;
    evidence.push(format!(
        "ran {} times, {:.1?} together, {:.1?} at most",
        spent.count,
        spent.total(),
        Duration::from_micros(spent.worst_us)
    ));
    Finding {
        place: spent.site.as_deref().map(str::to_owned),
        scope: spent.scope.as_deref().map(str::to_owned),
        cost: Cost { round_trips: 0, pool_time: spent.total() },
        evidence,
        ..finding
    }
}

impl Inner {
    /// What is due of the handle `pool`; `None` if there is no such handle, or nobody wants advice.
    fn due(&self, pool: usize) -> Option<(Option<Connect>, Vec<Spent>, Options)> {
        let options = self.advice.clone()?;
        let connect = self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let connect = connect.get(pool)?.1.clone();
        let mut engine = self.engine();
        engine.tick(&self.hot, self.hot.clock.wall());
        let now_us = self.hot.micros(self.hot.clock.now());
        let costs = engine.costs.as_mut()?;
        Some((connect, costs.dearest(pool, STATEMENTS_MAX, now_us), options))
    }
}
