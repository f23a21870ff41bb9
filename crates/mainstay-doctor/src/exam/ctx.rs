//! What a check asks the database with: one session, each statement within its time.
//!
//! On PostgreSQL each check is a read-only transaction of its own, so that none keeps a snapshot or locks for long, and
//! settings hold behind a pooler too.

use std::time::{Duration, Instant, SystemTime};

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row, Session};

use super::options::Options;
use super::words;
use crate::finding::{Cost, Finding, Severity};

/// The server ends a statement itself; who hears nothing for this much longer gives it up.
const GRACE: Duration = Duration::from_millis(500);
/// A server that takes longer for nothing is in trouble.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// What is known of the server before the first check.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) version: String,
    /// Such as 150004, or 101100 for MariaDB 10.11.
    pub(super) number: i64,
    pub(super) mariadb: bool,
    /// A replica, which others write.
    pub(super) replica: bool,
    /// Others' sessions and statements are shown to us.
    pub(super) sees_sessions: bool,
    /// How long the counters count, at least.
    pub(super) observed_s: f64,
    pub(super) connections: i64,
    pub(super) connections_max: i64,
}

/// What a check found.
#[derive(Debug)]
pub(super) enum Answer {
    Good(String),
    Found(String, Vec<Finding>),
    Unknown(String),
}

pub(super) struct Ctx {
    pub(super) session: Session,
    pub(super) options: Options,
    pub(super) facts: Facts,
    pub(super) clock: Clock,
    /// When all must be over.
    pub(super) until: Instant,
    pub(super) at: SystemTime,
    pub(super) statements: Vec<super::Statement>,
}

impl Ctx {
    pub(super) fn engine(&self) -> Engine {
        self.session.engine()
    }

    /// Begins a check: what PostgreSQL is told holds until [`ends`](Self::ends).
    pub(super) async fn begins(&mut self) -> Result<()> {
        let sql = match self.engine() {
            Engine::Postgres => format!(
                "BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = {}; \
                 SET LOCAL lock_timeout = 200; SET LOCAL application_name = 'mainstay-doctor'; \
                 SET LOCAL search_path = pg_catalog",
                self.options.statement_timeout().as_millis()
            ),
            Engine::MySql | Engine::Sqlite => "SELECT 1".to_owned(),
        };
        self.rows(&sql).await.map(drop)
    }

    pub(super) async fn ends(&mut self) -> Result<()> {
        match self.engine() {
            Engine::Postgres => self.rows("ROLLBACK").await.map(drop),
            Engine::MySql | Engine::Sqlite => Ok(()),
        }
    }

    /// Lets go of what the check has locked so far, as the sequences that it looked at.
    pub(super) async fn begins_anew(&mut self) -> Result<()> {
        self.ends().await?;
        self.begins().await
    }

    /// The rows that `sql` answers with: one round trip, nothing prepared.
    ///
    /// Errors: the server's; DB-035 where it does not answer in time, and then the session is not to be used any more.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        let limit = self.options.statement_timeout() + GRACE;
        let until = (self.clock.now() + limit).min(self.until + GRACE);
        let asked = self.session.rows(sql, Vec::new());
        self.clock.timeout_at(until, asked).await.unwrap_or_else(|| {
            let what = format!("no answer within {}", words::duration(limit));
            Err(Error::new(Code::Deadline, what))
        })
    }

    pub(super) fn finding(
        &self,
        (code, severity): (Code, Severity),
        what: String,
        evidence: Vec<String>,
        fix: String,
    ) -> Finding {
        finding(self.at, (code, severity), what, evidence, fix)
    }

    /// `findings` if there are any, the worst first and not too many of them; else that all is well with `good`.
    pub(super) fn judged(&self, mut findings: Vec<Finding>, good: impl Into<String>) -> Answer {
        if findings.is_empty() {
            return Answer::Good(good.into());
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let (all, max) = (findings.len(), self.options.findings_max);
        findings.truncate(max);
        let detail = if all > max {
            format!("{} found, {max} are shown", words::number(all as u64))
        } else {
            format!("{} found", words::number(all as u64))
        };
        Answer::Found(detail, findings)
    }
}

pub(super) fn finding(
    at: SystemTime,
    (code, severity): (Code, Severity),
    what: String,
    evidence: Vec<String>,
    fix: String,
) -> Finding {
    Finding {
        code,
        severity,
        what,
        scope: None,
        place: None,
        evidence,
        fix,
        cost: Cost::default(),
        first_seen: at,
        last_seen: at,
        count: 1,
    }
}

/// A column as a text, empty for NULL.
pub(super) fn text(row: &Row, at: usize) -> Result<String> {
    Ok(row.at::<Option<String>>(at)?.unwrap_or_default())
}

/// A column as a number, 0 for NULL.
pub(super) fn whole(row: &Row, at: usize) -> Result<i64> {
    Ok(row.at::<Option<i64>>(at)?.unwrap_or_default())
}

pub(super) fn real(row: &Row, at: usize) -> Result<f64> {
    Ok(row.at::<Option<f64>>(at)?.unwrap_or_default())
}

/// Texts joined by a character that none of them has.
pub(super) fn list(row: &Row, at: usize) -> Result<Vec<String>> {
    let joined = text(row, at)?;
    Ok(joined.split('\u{1f}').filter(|part| !part.is_empty()).map(str::to_owned).collect())
}
