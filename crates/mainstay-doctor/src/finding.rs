//! What the doctor says: one thing that is wrong, where, why it is believed, what it costs and what to do.

use std::fmt;
use std::time::{Duration, SystemTime};

use mainstay_core::Code;
use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Hint,
    /// Costs time, or will under load.
    Warning,
    /// Loses data, or stops the service.
    Error,
}

/// What a finding costs, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Round trips to the database that were not needed.
    pub round_trips: u64,
    /// How long connections of the pool were held for it.
    #[serde(rename = "pool_time_us", serialize_with = "micros")]
    pub pool_time: Duration,
}

/// One thing that is wrong. What is found again at the same place is the same finding, counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Which of them: `mainstay explain CODE` says more.
    #[serde(serialize_with = "code")]
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in a line that names what it is about.
    pub what: String,
    /// The route or the job that it was found in.
    pub scope: Option<String>,
    /// `file:line` of the program.
    pub place: Option<String>,
    /// Why it is believed: what was seen, a line each.
    pub evidence: Vec<String>,
    /// What to write instead: code, SQL or a setting.
    pub fix: String,
    /// What it costs.
    pub cost: Cost,
    /// When it was first seen.
    #[serde(serialize_with = "unix_ms")]
    pub first_seen: SystemTime,
    /// And last.
    #[serde(serialize_with = "unix_ms")]
    pub last_seen: SystemTime,
    /// How often.
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(crate) fn code<S: Serializer>(code: &Code, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(code.as_str())
}

fn micros<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(time.as_micros().try_into().unwrap_or(u64::MAX))
}

fn unix_ms<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    to.serialize_u64(since.as_millis().try_into().unwrap_or(u64::MAX))
}

/// In the form of the errors' reports.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Hint => "hint",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.what)?;
        for seen in &self.evidence {
            write!(f, "\n  why: {seen}")?;
        }
        if let Some(place) = &self.place {
            write!(f, "\n   at: {place}")?;
        }
        if let Some(scope) = &self.scope {
            write!(f, "\n   in: {scope}")?;
        }
        if self.cost != Cost::default() {
            let Cost { round_trips, pool_time } = self.cost;
            write!(f, "\n cost: {round_trips} round trips, {pool_time:.1?} of the pool")?;
        }
        for line in self.fix.lines() {
            write!(f, "\n  fix: {line}")?;
        }
        write!(f, "\n seen: {} times\n  see: mainstay explain {}", self.count, self.code)
    }
}
