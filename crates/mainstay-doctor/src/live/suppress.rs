//! Suppressions: findings that somebody has looked at and lives with, for a reason and up to a day.

use std::time::SystemTime;

use chrono::{DateTime, NaiveDate, Utc};
use mainstay_core::{Code, Error, Result};
use serde::Deserialize;

use crate::finding::{Cost, Finding, Severity};

/// Suppressions that a doctor takes.
pub(super) const SUPPRESSIONS_MAX: usize = 1000;

/// Silences findings of one code at some places, up to a day.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// Such as `DOC-001`.
    pub code: String,
    /// The place (`src/report.rs:88`) or the route or job (`GET /report`), with `*` for anything.
    pub at: String,
    /// Why it is lived with.
    pub reason: String,
    /// The last day on which it is silent, in UTC, such as `2027-01-31`.
    pub until: NaiveDate,
}

impl Suppression {
    /// Errors: CFG-003 where the code is none of the doctor's, or a reason or a place is missing.
    pub(super) fn check(&self) -> Result<()> {
        let code = Code::parse(&self.code).filter(|c| c.as_str().starts_with("DOC-"));
        let what = match code {
            None => format!("{} is no finding of the doctor's", self.code),
            Some(_) if self.reason.trim().is_empty() => {
                format!("the suppression of {} at {} has no reason", self.code, self.at)
            }
            Some(_) if self.at.trim().is_empty() => {
                format!("the suppression of {} has no place", self.code)
            }
            Some(_) => return Ok(()),
        };
        Err(Error::new(Code::ConfigValue, what).fix("give code, at, reason and until"))
    }

    fn silences(&self, finding: &Finding) -> bool {
        let at = [finding.place.as_deref(), finding.scope.as_deref()];
        finding.code.as_str().eq_ignore_ascii_case(&self.code)
            && at.into_iter().flatten().any(|text| matches(&self.at, text))
    }

    fn expired(&self, now: SystemTime) -> bool {
        DateTime::<Utc>::from(now).date_naive() > self.until
    }
}

/// Takes out what is silenced, and adds what has to be said of expired suppressions.
pub(super) fn apply(
    suppressions: &[Suppression],
    findings: Vec<Finding>,
    now: SystemTime,
) -> Vec<Finding> {
    let (over, active): (Vec<_>, Vec<_>) = suppressions.iter().partition(|s| s.expired(now));
    let mut out: Vec<Finding> =
        findings.into_iter().filter(|f| !active.iter().any(|s| s.silences(f))).collect();
    out.extend(over.into_iter().map(|s| expired(s, now)));
    out
}

fn expired(suppression: &Suppression, now: SystemTime) -> Finding {
    let Suppression { code, at, reason, until } = suppression;
    Finding {
        code: Code::DoctorSuppression,
        severity: Severity::Warning,
        what: format!("the suppression of {code} at `{at}` expired on {until}"),
        scope: None,
        place: None,
        evidence: vec![format!("its reason was: {reason}")],
        fix: Code::DoctorSuppression.fix().to_owned(),
        cost: Cost::default(),
        first_seen: now,
        last_seen: now,
        count: 1,
    }
}

/// Whether all of `text` is as `pattern` says; `*` is anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (pattern, text, same) in [
            ("src/a.rs:5", "src/a.rs:5", true),
            ("src/a.rs:5", "src/a.rs:55", false),
            ("src/*", "src/a.rs:5", true),
            ("*a.rs:*", "src/a.rs:5", true),
            ("GET *", "POST /", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), same, "{pattern} {text}");
        }
    }

    #[test]
    fn it_is_silent_up_to_its_day_and_told_after_it() {
        let day = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s * 86_400);
        let suppression = Suppression {
            code: "DOC-001".into(),
            at: "src/report.rs:*".into(),
            reason: "three rows at most".into(),
            until: NaiveDate::from_ymd_opt(1970, 1, 10).unwrap(),
        };
        suppression.check().unwrap();
        let mut finding = expired(&suppression, day(0));
        finding.code = Code::DoctorNPlusOne;
        finding.place = Some("src/report.rs:9".into());
        let all = std::slice::from_ref(&suppression);
        assert_eq!(apply(all, vec![finding.clone()], day(9)), []);
        let told = apply(all, vec![finding.clone()], day(10));
        assert_eq!(told.len(), 2);
        assert!(told[1].what.contains("expired on 1970-01-10"), "{}", told[1]);
        finding.place = Some("src/other.rs:9".into());
        assert_eq!(apply(all, vec![finding.clone()], day(9)), [finding]);
        let bad = Suppression { reason: " ".into(), ..suppression };
        assert_eq!(bad.check().unwrap_err().code(), Code::ConfigValue);
    }
}
