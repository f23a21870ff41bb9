//! What the pool and the transactions report by themselves, as findings.

use std::time::{Duration, SystemTime};

use mainstay_core::observe::{
    Checkout, Finding as Suspect, FindingKind, Hold, HoldKind, Statement, Transaction,
};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place};
use mainstay_db::Deadlock;

use crate::finding::{Cost, Finding, Severity};

fn finding(
    code: Code,
    severity: Severity,
    place: Place,
    scope: Option<&Scope>,
    now: SystemTime,
) -> Finding {
    Finding {
        code,
        severity,
        what: String::new(),
        scope: scope.map(|s| s.name().to_owned()),
        place: Some(place.to_string()),
        evidence: Vec::new(),
        fix: code.fix().to_owned(),
        cost: Cost::default(),
        first_seen: now,
        last_seen: now,
        count: 1,
    }
}

fn lines(error: &Error) -> Vec<String> {
    error.reason().into_iter().flat_map(str::lines).map(str::to_owned).collect()
}

fn costs(pool_time: Duration) -> Cost {
    Cost { round_trips: 0, pool_time }
}

pub(super) fn hold(event: &Hold<'_>, now: SystemTime) -> Option<Finding> {
    let (code, severity) = match event.kind {
        HoldKind::Leak => (Code::DoctorLeak, Severity::Error),
        HoldKind::Nested => (Code::DoctorNested, Severity::Warning),
        HoldKind::IdleInTransaction => (Code::DoctorIdleTransaction, Severity::Warning),
        // The leak was told.
        HoldKind::LeakReturned => return None,
    };
    // Of two, the line to change is where the second is asked for; the report tells of the first.
    let place = event.second.unwrap_or(event.place);
    let mut out = finding(code, severity, place, event.scope, now);
    event.report.what().clone_into(&mut out.what);
    out.evidence = lines(event.report);
    let which = if event.second.is_some() { "the first one " } else { "" };
    out.evidence.push(format!("pool `{}`, {which}held for {:.1?}", event.pool, event.held));
    event.report.advice().clone_into(&mut out.fix);
    out.cost = costs(event.held);
    Some(out)
}

pub(super) fn suspect(event: &Suspect<'_>, now: SystemTime) -> Option<Finding> {
    let (code, severity) = match event.kind {
        FindingKind::OuterHandle => (Code::DoctorEscaped, Severity::Error),
        FindingKind::NetworkCall => (Code::DoctorNetworkCall, Severity::Warning),
        // It is an error of its own, and no habit of the program.
        FindingKind::HookFailed => return None,
    };
    let mut out = finding(code, severity, event.place, event.scope, now);
    event.report.what().clone_into(&mut out.what);
    out.evidence = lines(event.report);
    event.report.advice().clone_into(&mut out.fix);
    out.cost = costs(event.open);
    Some(out)
}

pub(super) fn long_hold(event: &Checkout<'_>, now: SystemTime) -> Finding {
    let mut out = finding(Code::DoctorLongHold, Severity::Warning, event.place, event.scope, now);
    out.what = format!("a connection was held for {:.1?}", event.held);
    out.evidence.push(format!("of pool `{}`; it had waited {:.1?} for it", event.pool, event.wait));
    out.cost = costs(event.held);
    out
}

pub(super) fn long_transaction(event: &Transaction<'_>, now: SystemTime) -> Finding {
    let code = Code::DoctorLongTransaction;
    let mut out = finding(code, Severity::Warning, event.place, event.scope, now);
    out.what = format!("a transaction was open for {:.1?}", event.duration);
    out.evidence.push(format!("it ran {} statements on pool `{}`", event.statements, event.pool));
    out.cost = costs(event.duration);
    out
}

/// One side of a conflict: see `storms` for what is made of several.
pub(super) fn conflict(event: &Transaction<'_>, error: &Error, now: SystemTime) -> Finding {
    let code = Code::DoctorSerialization;
    let mut out = finding(code, Severity::Warning, event.place, event.scope, now);
    out.evidence = lines(error);
    let tries = u64::from(event.retry_after.is_some());
    out.cost = Cost { round_trips: tries * u64::from(event.statements), pool_time: event.duration };
    out
}

pub(super) fn deadlock(event: &Statement<'_>, error: &Error, now: SystemTime) -> Finding {
    let mut out = finding(Code::DoctorDeadlock, Severity::Warning, event.place, event.scope, now);
    "two transactions waited for each other's locks".clone_into(&mut out.what);
    match error.detail::<Deadlock>() {
        Some(deadlock) => {
            for (n, side) in deadlock.sides.iter().enumerate() {
                let who = if n == 0 { "the victim" } else { "the other" };
                let (sql, place) = (&side.waited.sql, side.waited.place);
                let begun =
                    side.transaction.map(|p| format!(", begun at {p},")).unwrap_or_default();
                out.evidence.push(format!("{who}{begun} waited in `{sql}` at {place}"));
                for step in &side.before {
                    out.evidence.push(format!("  after `{}` at {}", step.sql, step.place));
                }
            }
            let server = deadlock.server.lines().filter(|l| !l.trim().is_empty());
            out.evidence.extend(server.take(8).map(|l| format!("server: {}", l.trim())));
        }
        None => out.evidence = lines(error),
    }
    out.cost = costs(event.duration);
    out
}
