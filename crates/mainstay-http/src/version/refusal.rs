//! What a caller gets whose version does not exist, is gone, is off for the moment, or contradicts
//! itself.

use std::time::Duration;

use axum::http::StatusCode;
use mainstay_core::Code;
use serde_json::Value;

use super::Stage;
use super::known::Known;
use super::resolve::Misnamed;
use super::source::By;
use super::versions::Inner;
use super::when::Moment;
use crate::problem::Problem;

/// Of what a caller wrote, no more than this is written back.
const ECHO_MAX: usize = 64;

pub(super) fn misnamed(versions: &Inner, wrong: &Misnamed<'_>) -> Problem {
    let existing = existing(versions);
    let listed = existing.join(", ");
    let (status, title, code, detail) = match wrong {
        Misnamed::Missing => {
            let detail = format!("this needs a version: {listed}");
            (StatusCode::BAD_REQUEST, "Version needed", Code::HttpVersion, detail)
        }
        Misnamed::Unknown { by, text } => {
            // What can't be negotiated is not acceptable; all else is a bad request.
            let status = match by {
                By::Accept => StatusCode::NOT_ACCEPTABLE,
                _ => StatusCode::BAD_REQUEST,
            };
            let detail = format!("{by} names {}; there are {listed}", echo(text));
            (status, "Unknown version", Code::HttpVersion, detail)
        }
        Misnamed::Malformed { by, text } => {
            let detail =
                format!("{by} says {}, which is no version; there are {listed}", echo(text));
            let code = match by {
                By::Path | By::Query(_) => Code::HttpVersion,
                _ => Code::HttpHeader,
            };
            (StatusCode::BAD_REQUEST, "Malformed version", code, detail)
        }
        Misnamed::Contradiction { one, other } => {
            let detail = format!(
                "{} names version {}, and {} names version {}",
                one.0, one.1, other.0, other.1
            );
            (StatusCode::BAD_REQUEST, "Contradicting versions", Code::HttpVersionConflict, detail)
        }
    };
    Problem::new(status, title, detail).with_code(code).with("versions", existing)
}

/// Past its sunset.
pub(super) fn gone(versions: &Inner, known: &Known) -> Problem {
    let ended = known.sunset.map(Moment::told).unwrap_or_default();
    let detail = format!("version {} ended on {ended}{}", known.version, advice(versions, known));
    let problem = Problem::new(StatusCode::GONE, "Version ended", detail);
    with_successor(versions, known, problem.with_code(Code::HttpVersionGone))
}

/// Off until `until`.
pub(super) fn brownout(versions: &Inner, known: &Known, now: Moment, until: Moment) -> Problem {
    let end = known.sunset.map(|sunset| format!(" and ends on {}", sunset.told()));
    let detail = format!(
        "version {} is switched off until {}{}{}",
        known.version,
        until.told(),
        end.unwrap_or_default(),
        advice(versions, known),
    );
    let after = Duration::from_secs((until.0 - now.0).max(1).unsigned_abs());
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Version switched off", detail)
        .with_code(Code::HttpVersionBrownout)
        .retry_after(after);
    with_successor(versions, known, problem)
}

fn with_successor(versions: &Inner, known: &Known, problem: Problem) -> Problem {
    let problem =
        problem.with("version", known.version.to_string()).with("versions", existing(versions));
    match known.successor {
        Some(place) => problem.with("successor", versions.known[place].version.to_string()),
        None => problem,
    }
}

fn advice(versions: &Inner, known: &Known) -> String {
    known.successor.map_or_else(String::new, |place| {
        format!("; move to version {}", versions.known[place].version)
    })
}

/// Those that have not ended, as a JSON array's items.
fn existing(versions: &Inner) -> Vec<String> {
    let now = versions.now();
    let lives = |known: &&Known| known.stage(now) != Stage::Sunset;
    versions.known.iter().filter(lives).map(|known| known.version.to_string()).collect()
}

fn echo(text: &str) -> Value {
    Value::from(text.chars().take(ECHO_MAX).collect::<String>())
}
