//! A statement as a line of a trace. Values are written as hashes that only this trace's salt makes, and
//! literals in the text as placeholders.

use serde_json::{Map, Value as Json, json};

use mainstay_core::observe::ValueHash;

use super::{Bind, Event};

/// `event` as a line, without the line's end.
pub(crate) fn line(event: &Event, salt: u64) -> String {
    let (sql, literals) = event.sql.without_literals();
    let value = |bind: &Bind| match bind {
        Bind::Null => Json::Null,
        Bind::Many => Json::Array(Vec::new()),
        Bind::One(hash, _) => Json::String(format!("{:016x}", ValueHash::resalted(*hash, salt))),
    };
    let mut binds: Option<Vec<Json>> =
        event.binds.as_ref().map(|binds| binds.iter().map(value).collect());
    if !literals.is_empty() {
        let binds = binds.get_or_insert_default();
        binds.resize(event.sql.params, Json::Null);
        binds.extend(literals.iter().map(value));
    }
    let returned: Map<String, Json> = event
        .returned
        .iter()
        .map(|r| (r.column.to_string(), r.values.iter().map(value).collect()))
        .collect();
    json!({
        "at_us": event.at_us,
        "dur_us": event.dur_us,
        "scope": event.scope.as_ref().map(|s| json!({ "id": s.id, "name": s.name.as_deref() })),
        "task": event.task,
        "tx": event.tx,
        "conn": event.conn,
        "site": event.site.as_deref(),
        "sql": sql,
        "binds": binds,
        "rows": event.rows,
        "returned": returned,
        "error": event.error.as_deref(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn a_line_is_read_back_with_its_values_hashed() {
        let trace = r#"{"at_us":3,"dur_us":4,"scope":{"id":1,"name":"GET /"},"task":2,"site":"a.rs:5",
            "sql":"SELECT id FROM a WHERE mail = 'me@home.example' AND b = $1","binds":[77],"rows":2,
            "returned":{"id":[77,null]},"error":"DB-020"}"#.replace('\n', " ");
        let event = &read(trace.as_bytes()).unwrap()[0];
        let written = line(event, 42);
        assert!(!written.contains("me@home") && !written.contains("77,"), "{written}");
        let again = &read(written.as_bytes()).unwrap()[0];
        assert_eq!(again.sql.fingerprint, event.sql.fingerprint);
        assert_eq!((again.at_us, again.dur_us, again.rows), (3, 4, Some(2)));
        let binds = again.binds.as_ref().unwrap();
        assert_eq!(binds[0].hash(), again.returned[0].values[0].hash());
        assert_eq!((binds.len(), again.returned[0].values[1]), (2, Bind::Null));
        assert_ne!(line(event, 43), written, "another salt makes other hashes");
    }
}
