//! `mainstay lab isolation`: runs every anomaly at every level, and finds out which really happen.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use mainstay_core::clock::Clock;
use mainstay_core::{Error, Result};
use mainstay_db::{Db, Engine, Isolation};
use serde::Serialize;

use super::scenarios::{ANOMALIES, Anomaly, Do, SCENARIOS, Scenario, Seen};
use super::session::{Answer, Session};
use super::table::Table;

/// A step that takes longer than this, or than many round trips, is taken to wait for somebody.
const WAITS_AFTER: Duration = Duration::from_millis(110);
const ROUND_TRIPS: u32 = 30;
/// How long one that the server does not call waiting is waited for.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long the end of a scenario may take: longer than PostgreSQL needs to find a deadlock.
const END_MAX: Duration = Duration::from_secs(30);
/// Scenarios under way at once, on servers: most of the time is spent waiting.
const AT_ONCE: usize = 3;

/// Whether a level keeps an anomaly from happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did not happen.
    Prevented,
    /// It did not happen to a transaction that only reads, and did to one that writes.
    PreventedForReads,
    /// It happened.
    Possible,
}

/// What was found of one anomaly at one level.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The anomaly's name: see [`ANOMALIES`].
    pub anomaly: &'static str,
    /// What the level does about it.
    pub verdict: Verdict,
    /// How it was kept from happening: `waits`, and the codes of errors.
    pub how: BTreeSet<String>,
}

/// One level with all anomalies.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The level, as SQL writes it.
    pub level: &'static str,
    /// Whether transactions have it that ask for none.
    pub default: bool,
    /// In the order of [`ANOMALIES`].
    pub cells: Vec<Cell>,
}

/// What a database really does at each of its levels.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// The engine and its version.
    pub server: String,
    /// From the weakest on.
    pub levels: Vec<Row>,
}

/// Runs all of it on `db`, whose pool must have room for twelve. Tells `progress` the parts that are
/// done, of [`parts`].
///
/// Errors: those of a statement; what it made is dropped again.
pub async fn isolation(db: &Db, progress: impl Fn(usize)) -> Result<Matrix> {
    let server = version(db).await?;
    let default = default_level(db).await?;
    let clock = Clock::system();
    let waits_after = WAITS_AFTER.max(round_trip(db, &clock).await? * ROUND_TRIPS);
    // SQLite has one writer, so that scenarios side by side would wait for each other.
    let at_once = if db.engine() == Engine::Sqlite { 1 } else { AT_ONCE };
    let mut levels = Vec::new();
    let mut done = 0;
    for level in levels_of(db) {
        let outcomes = futures_util::stream::iter(SCENARIOS)
            .map(|scenario| one(db, level, scenario, waits_after))
            .buffered(at_once);
        let mut outcomes = std::pin::pin!(outcomes);
        let mut found = Vec::new();
        while let Some(outcome) = outcomes.next().await {
            found.push(outcome?);
            done += 1;
            progress(done);
        }
        let cells = ANOMALIES.iter().map(|anomaly| cell(anomaly, &found)).collect();
        levels.push(Row { level: level.as_sql(), default: Some(level) == default, cells });
    }
    Ok(Matrix { server, levels })
}

/// How many parts there are to be done on `db`.
pub fn parts(db: &Db) -> usize {
    levels_of(db).count() * SCENARIOS.len()
}

fn levels_of(db: &Db) -> impl Iterator<Item = Isolation> {
    let engine = db.engine();
    Isolation::ALL.into_iter().filter(move |level| level.is_of(engine))
}

async fn version(db: &Db) -> Result<String> {
    let sql = match db.engine() {
        Engine::Postgres => "SELECT 'PostgreSQL ' || current_setting('server_version')",
        Engine::MySql => {
            "SELECT IF(VERSION() LIKE '%MariaDB%', CONCAT('MariaDB ', SUBSTRING_INDEX(VERSION(), '-', 1)), CONCAT('MySQL ', VERSION()))"
        }
        Engine::Sqlite => "SELECT 'SQLite ' || sqlite_version()",
    };
    db.query(sql).scalar().await
}

async fn default_level(db: &Db) -> Result<Option<Isolation>> {
    let text: String = match db.engine() {
        Engine::Sqlite => return Ok(Some(Isolation::Serializable)),
        Engine::Postgres => {
            let sql = "SELECT upper(current_setting('default_transaction_isolation'))";
            db.query(sql).scalar().await?
        }
        Engine::MySql => {
            // MySQL 8 and MariaDB before 11 know it by different names.
            let row = db.query(
                "SHOW VARIABLES WHERE variable_name IN ('tx_isolation', 'transaction_isolation')",
            );
            let rows: Vec<(String, String)> = row.all().await?;
            rows.into_iter().next().map(|(_, level)| level.replace('-', " ")).unwrap_or_default()
        }
    };
    Ok(Isolation::ALL.into_iter().find(|level| level.as_sql() == text))
}

async fn round_trip(db: &Db, clock: &Clock) -> Result<Duration> {
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let begun: Instant = clock.now();
        db.query("SELECT 1").execute().await?;
        least = least.min(clock.now() - begun);
    }
    Ok(least)
}

/// One scenario with what was found.
type Found = (&'static Scenario, bool, BTreeSet<String>);

async fn one(
    db: &Db,
    level: Isolation,
    scenario: &'static Scenario,
    waits_after: Duration,
) -> Result<Found> {
    let table = Table::create(db).await?;
    let seen = play(db, level, scenario, waits_after, &table).await;
    table.drop().await?;
    let (seen, waited) = seen?;
    let mut how = BTreeSet::new();
    if waited {
        how.insert("waits".to_owned());
    }
    for answer in &seen.answers {
        if let Answer::Failed(code) = answer {
            how.insert(code.as_str().to_owned());
        }
    }
    Ok((scenario, (scenario.happened)(&seen), how))
}

/// Has the transactions take their steps in order. Who waits for a lock is left behind: the steps that
/// it is to take wait with it.
async fn play(
    db: &Db,
    level: Isolation,
    scenario: &Scenario,
    waits_after: Duration,
    table: &Table<'_>,
) -> Result<(Seen, bool)> {
    let mut sessions: Vec<Session> =
        (0..3).map(|_| Session::begin(db, level, table.name())).collect();
    let mut answers = vec![Answer::Skipped; scenario.steps.len()];
    let mut waited = false;
    let mut waiting = [false; 3];
    for (number, (who, step)) in scenario.steps.iter().copied().enumerate() {
        sessions[who].order(number, step).await;
        if !waiting[who] {
            waiting[who] = !settles(db, &mut sessions[who], waits_after, &mut answers).await;
            waited |= waiting[who];
        }
        if step != Do::Commit && step != Do::Rollback {
            continue;
        }
        // An end lets others go on: what they waited for is to have happened before the next step.
        for other in (0..3).filter(|other| *other != who) {
            if waiting[other] {
                waiting[other] =
                    !settles(db, &mut sessions[other], waits_after, &mut answers).await;
            }
        }
    }
    for session in &mut sessions {
        let (come, all) = session.answers(END_MAX).await;
        for (number, answer) in come {
            answers[number] = answer;
        }
        if !all {
            return Err(Error::new(
                mainstay_core::Code::LockTimeout,
                format!("a transaction of the scenario {} did not end", scenario.anomaly),
            ));
        }
    }
    let mut committed = [false; 3];
    for (number, (who, step)) in scenario.steps.iter().enumerate() {
        committed[*who] |= *step == Do::Commit && answers[number] == Answer::Ended;
    }
    Ok((Seen { answers, committed, rows: table.rows().await? }, waited))
}

/// Waits until a transaction has done what it was told, or waits for a lock; whether it has.
async fn settles(
    db: &Db,
    session: &mut Session,
    waits_after: Duration,
    answers: &mut [Answer],
) -> bool {
    let mut left = STEP_MAX;
    let mut waits = 0;
    loop {
        let (come, all) = session.answers(waits_after).await;
        for (number, answer) in come {
            answers[number] = answer;
        }
        left = left.saturating_sub(waits_after);
        if all || left.is_zero() {
            return all;
        }
        // A server that can be asked knows better than the time that has passed. InnoDB's word may be
        // a tenth of a second old, so it is asked twice.
        match session.waits(db).await {
            None => return false,
            Some(false) => waits = 0,
            Some(true) if waits > 0 => return false,
            Some(true) => waits += 1,
        }
    }
}

fn cell(anomaly: &Anomaly, found: &[Found]) -> Cell {
    let of: Vec<&Found> = found.iter().filter(|(s, ..)| s.anomaly == anomaly.id).collect();
    let happened = |writes| of.iter().any(|(s, happened, _)| s.writes == writes && *happened);
    let reads = of.iter().any(|(s, ..)| !s.writes);
    let verdict = match (happened(false), happened(true)) {
        (false, false) => Verdict::Prevented,
        (false, true) if reads => Verdict::PreventedForReads,
        _ => Verdict::Possible,
    };
    let how = of.iter().flat_map(|(_, _, how)| how.iter().cloned()).collect();
    Cell { anomaly: anomaly.id, verdict, how }
}
