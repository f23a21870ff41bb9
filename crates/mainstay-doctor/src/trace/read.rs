//! Reading a trace: each line by itself, leniently about what is missing and strictly about what is not
//! JSON.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::io::BufRead;
use std::sync::Arc;

use mainstay_core::{Code, Error, Result};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Bind, Event, Returned, ScopeOf, Texts};

/// The longest line, in bytes.
pub const LINE_MAX: usize = 16 << 20;

/// A line, as it may come: everything but the text may be missing, null or of another type.
#[derive(Deserialize)]
struct Line {
    at_us: Option<Json>,
    dur_us: Option<Json>,
    scope: Option<Json>,
    task: Option<Json>,
    tx: Option<Json>,
    conn: Option<Json>,
    site: Option<Json>,
    sql: Option<String>,
    binds: Option<Json>,
    rows: Option<Json>,
    returned: Option<Json>,
    error: Option<Json>,
}

/// Reads a trace to its end, and puts it in the order of time. Empty lines are passed over, and so are
/// objects without `sql`, which later versions may add.
///
/// It holds the trace in memory.
///
/// Errors: DOC-019 where a line is not an object, or longer than [`LINE_MAX`], with its number; and where
/// it can't be read.
///
/// ```
/// let trace = r#"{"at_us": 5, "sql": "SELECT 1", "rows": 1}"#;
/// assert_eq!(mainstay_doctor::trace::read(trace.as_bytes())?[0].rows, Some(1));
/// # Ok::<(), mainstay_core::Error>(())
/// ```
pub fn read(mut reader: impl BufRead) -> Result<Vec<Event>> {
    let mut names = Names::default();
    let mut out: Vec<Event> = Vec::new();
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let failed = |e: std::io::Error| {
            Error::new(Code::DoctorTrace, format!("line {number} can't be read")).cause(e)
        };
        let mut limited = std::io::Read::take(&mut reader, LINE_MAX as u64 + 1);
        if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        if line.len() > LINE_MAX {
            let what = format!("line {number} is longer than {LINE_MAX} bytes");
            return Err(Error::new(Code::DoctorTrace, what));
        }
        let text = line.trim_ascii();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if text.is_empty() {
            continue;
        }
        let parsed: Line = serde_json::from_slice(text).map_err(|e| {
            let what = format!("line {number} is no statement: an object with \"sql\" is expected");
            // serde's own message quotes what it found, which may be a value.
            let where_ = format!("column {}: {:?}", e.column(), e.classify());
            Error::new(Code::DoctorTrace, what).why(where_)
        })?;
        let before = out.last().map_or(0, |e| e.at_us);
        out.extend(names.event(parsed, before));
    }
    out.sort_by_key(|e| e.at_us);
    Ok(out)
}

/// What many lines have in common, kept once.
#[derive(Default)]
struct Names {
    texts: Texts,
    strings: HashMap<String, Arc<str>>,
}

impl Names {
    fn string(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.strings.insert(text.to_owned(), Arc::clone(&new));
        new
    }

    fn event(&mut self, line: Line, before: u64) -> Option<Event> {
        let sql = self.texts.get(line.sql.as_deref()?);
        let dur_us = line.dur_us.as_ref().and_then(number).unwrap_or(0);
        let site = line.site.as_ref().and_then(Json::as_str).filter(|s| !s.is_empty());
        Some(Event {
            at_us: line.at_us.as_ref().and_then(number).unwrap_or(before),
            dur_us,
            scope: line.scope.as_ref().and_then(|s| self.scope(s)),
            task: line.task.as_ref().and_then(identity),
            tx: line.tx.as_ref().and_then(identity),
            conn: line.conn.as_ref().and_then(identity),
            site: site.map(|s| self.string(s)),
            sql,
            binds: line
                .binds
                .as_ref()
                .and_then(Json::as_array)
                .map(|all| all.iter().map(Bind::json).collect()),
            rows: line.rows.as_ref().and_then(number),
            returned: line.returned.map(|r| self.returned(r)).unwrap_or_default(),
            error: line.error.as_ref().and_then(|e| self.error(e)),
        })
    }

    fn scope(&mut self, scope: &Json) -> Option<ScopeOf> {
        let Json::Object(fields) = scope else {
            return Some(ScopeOf { id: identity(scope)?, name: None });
        };
        let name = fields.get("name").and_then(Json::as_str).filter(|n| !n.is_empty());
        // A scope without an id is at least that of its name.
        let id = fields.get("id").and_then(identity);
        let id = id.or_else(|| identity(&Json::String(name?.to_owned())))?;
        Some(ScopeOf { id, name: name.map(|n| self.string(n)) })
    }

    fn returned(&mut self, returned: Json) -> Vec<Returned> {
        let Ok(columns) = serde_json::from_value::<BTreeMap<String, Json>>(returned) else {
            return Vec::new();
        };
        let column = |(column, values): (String, Json)| {
            let values = match &values {
                Json::Array(all) => all.iter().map(Bind::json).collect(),
                Json::Null => return None,
                one => vec![Bind::json(one)],
            };
            Some(Returned { column: self.string(&column), values })
        };
        columns.into_iter().filter_map(column).collect()
    }

    fn error(&mut self, error: &Json) -> Option<Arc<str>> {
        match error {
            Json::Null | Json::Bool(false) => None,
            Json::String(text) if text.is_empty() => None,
            Json::String(text) => Some(self.string(text)),
            _ => Some(self.string("failed")),
        }
    }
}

fn number(value: &Json) -> Option<u64> {
    match value {
        Json::Number(n) => n.as_u64().or_else(|| Some(n.as_f64()?.max(0.0) as u64)),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Equal for what is written alike, be it a number or a text.
fn identity(value: &Json) -> Option<u64> {
    let text = match value {
        Json::Number(n) => n.to_string(),
        Json::String(text) => text.clone(),
        _ => return None,
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_left_open() {
        let trace = "\n{\"sql\": \"SELECT 1\"}\n{\"sql\":\"SELECT 2\",\"at_us\":null,\"scope\":null,\
                     \"task\":\"a\",\"tx\":null,\"binds\":null,\"returned\":null,\"error\":null}\n{\"x\":1}\n";
        let events = read(trace.as_bytes()).unwrap();
        assert_eq!(events.len(), 2);
        let last = &events[1];
        assert!(last.scope.is_none() && last.tx.is_none() && last.error.is_none());
        assert!(last.task.is_some() && last.binds.is_none() && last.returned.is_empty());
    }

    #[test]
    fn identities_are_numbers_or_texts() {
        let trace = r#"{"sql":"a","task":7,"scope":{"id":"7","name":"GET /"},"at_us":9}
                       {"sql":"b","task":"7","scope":{"id":7},"at_us":3}"#;
        let events = read(trace.as_bytes()).unwrap();
        assert_eq!(events[0].sql.text, "b", "in the order of time");
        assert_eq!(events[0].task, events[1].task);
        assert_eq!(events[0].scope.as_ref().unwrap().id, events[1].scope.as_ref().unwrap().id);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_line_and_without_its_content() {
        let error = read("{\"sql\":\"a\"}\n{\"sql\": s3cret}\n".as_bytes()).unwrap_err();
        assert_eq!(error.code(), Code::DoctorTrace);
        assert!(error.what().contains("line 2"), "{error}");
        assert!(!error.report().contains("s3cret"), "{}", error.report());
    }
}
