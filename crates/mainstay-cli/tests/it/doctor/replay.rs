//! `mainstay doctor`: a trace in, findings out.

use std::process::{Command, Output};

const LOOP: &str = r#"{"at_us":1,"scope":{"id":1,"name":"GET /posts"},"site":"posts.rs:9","sql":"SELECT id FROM posts","rows":3,"returned":{"id":[1,2,3]}}
{"at_us":2,"scope":{"id":1,"name":"GET /posts"},"site":"posts.rs:12","sql":"SELECT * FROM comments WHERE post_id = $1","binds":[1]}
{"at_us":3,"scope":{"id":1,"name":"GET /posts"},"site":"posts.rs:12","sql":"SELECT * FROM comments WHERE post_id = $1","binds":[2]}
{"at_us":4,"scope":{"id":1,"name":"GET /posts"},"site":"posts.rs:12","sql":"SELECT * FROM comments WHERE post_id = $1","binds":[3]}
"#;

fn replay(trace: &str, more: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    std::fs::write(&path, trace).unwrap();
    let call = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["doctor", "replay", path.to_str().unwrap()])
        .args(more)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&call.stdout).into_owned();
    (call, text)
}

#[test]
fn a_trace_with_an_n_plus_one_is_told_and_fails() {
    let (call, text) = replay(LOOP, &[]);
    assert_eq!(call.status.code(), Some(1));
    assert!(text.contains("warning[DOC-001]: N+1") && text.contains("at: posts.rs:12"), "{text}");
    let (call, text) = replay(LOOP, &["--json"]);
    assert_eq!(call.status.code(), Some(1));
    let findings: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(findings[0]["code"], "DOC-001");
    assert_eq!(findings[0]["place"], "posts.rs:12");
    assert_eq!(findings[0]["scope"], "GET /posts");
    assert_eq!(findings[0]["cost"]["round_trips"], 2);
}

#[test]
fn a_healthy_trace_passes_and_a_broken_one_names_its_line() {
    let (call, text) = replay(LOOP.lines().next().unwrap(), &[]);
    assert!(call.status.success() && text.contains("nothing is wrong in 1 statements"), "{text}");
    let (call, text) = replay("{\"sql\":\"SELECT 1\"}\nnot json\n", &["--json"]);
    assert_eq!((call.status.code(), text.as_str()), (Some(1), ""));
    let error = String::from_utf8_lossy(&call.stderr).into_owned();
    assert!(error.contains("DOC-019") && error.contains("line 2"), "{error}");
}

#[test]
fn it_says_how_a_trace_is_recorded() {
    let call =
        Command::new(env!("CARGO_BIN_EXE_mainstay")).args(["doctor", "record"]).output().unwrap();
    assert!(call.status.success());
    assert!(String::from_utf8_lossy(&call.stdout).contains("record_to"));
}
