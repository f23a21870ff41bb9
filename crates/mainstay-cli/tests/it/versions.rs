//! `mainstay versions` as its user calls it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command::{run, text};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path
    }
}

/// Without the scratch folder's name.
fn said(bytes: &[u8], folder: &Folder) -> String {
    text(bytes).replace(&format!("{}/", folder.0.path().display()), "")
}

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn document(properties: &Value, required: &Value, more: bool) -> Value {
    let order = json!({ "type": "object", "properties": properties, "required": required });
    let body = json!({ "content": { "application/json": { "schema": order } } });
    let mut paths = json!({ "/orders": { "post": { "requestBody": body } } });
    let extra = if more { "/users" } else { "/carts" };
    paths[extra] = json!({ "get": {} });
    json!({ "openapi": "3.1.0", "info": { "title": "Shop", "version": "1" }, "paths": paths })
}

fn two(folder: &Folder) -> (PathBuf, PathBuf) {
    let name = json!({ "name": { "type": "string" } });
    let split = json!({ "first": { "type": "string" }, "name": { "type": "integer" } });
    (
        folder.file("v1.json", &document(&name, &json!([]), false)),
        folder.file("v2.json", &document(&split, &json!(["first"]), true)),
    )
}

#[test]
fn breaking_changes_come_first_and_fail() {
    let folder = Folder::new();
    let (old, new) = two(&folder);
    let output = run(&["versions", "diff", arg(&old), arg(&new)]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(said(&output.stdout, &folder), @r"
    breaking
      /carts
        the path is gone (path-removed)
      POST /orders
        request body .name: it is integer, and was string (type-changed)
        request body .first: it is new and required (property-required)
    compatible
      /users
        the path is new (path-added)
    ");
    assert!(said(&output.stderr, &folder).starts_with("error[APP-001]: 3 breaking changes from "));
    let breaking = run(&["versions", "diff", arg(&old), arg(&new), "--breaking"]);
    assert!(!text(&breaking.stdout).contains("compatible"));
    let json = run(&["versions", "diff", arg(&old), arg(&new), "--json"]);
    assert_eq!(json.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&value["breaking"], value["differences"].as_array().unwrap().len()),
        (&json!(3), 4)
    );
    let same = run(&["versions", "diff", arg(&old), arg(&old)]);
    assert!(same.status.success());
    assert_eq!(text(&same.stdout), "nothing breaks, and nothing else changed\n");
}

#[test]
fn a_malformed_document_is_told_with_its_file_and_place() {
    let folder = Folder::new();
    let (old, _) = two(&folder);
    let bad = json!({ "openapi": "3.0.3", "paths": { "/a": { "get": { "parameters": {} } } } });
    let bad = folder.file("bad.json", &bad);
    let output = run(&["versions", "diff", arg(&old), arg(&bad)]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(said(&output.stderr, &folder), @r"
    error[HTTP-014]: /paths/~1a/get/parameters: it must be an array
      why: in the newer document
           OLD is v1.json, NEW is bad.json
      fix: correct the document at the place named
      see: mainstay explain HTTP-014
    ");
    std::fs::write(&bad, "{\n  oops").unwrap();
    let output = run(&["versions", "diff", arg(&bad), arg(&old)]);
    let said = said(&output.stderr, &folder);
    assert!(said.contains("APP-003") && said.contains("bad.json:2:3"), "{said}");
}

fn used(version: &str, client: &str, requests: u64, first_s: i64, last_s: i64) -> Value {
    json!({
        "version": version, "route": "POST /orders", "client": client,
        "requests": requests, "refused": 0, "first_s": first_s, "last_s": last_s,
    })
}

#[test]
fn reports_of_replicas_are_one() {
    let folder = Folder::new();
    let day = 24 * 3600;
    let one = json!({ "since_s": day, "used": [
        used("1", "phone/3", 5, 2 * day, 3 * day), used("2", "web", 9, day, day),
    ] });
    let other = json!({ "since_s": 0, "used": [
        used("1", "phone/3", 2, day, 2 * day), used("1", "till\u{1b}[2J", 40, 0, 60),
    ] });
    let (one, other) = (folder.file("a.json", &one), folder.file("b.json", &other));
    let output = run(&["versions", "report", arg(&one), arg(&other)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @r"
    counted since 1970-01-01 00:00 UTC
    version  client   route         requests  refused  since                 last
          1  till[2J  POST /orders        40        0  1970-01-01 00:00 UTC  1970-01-01 00:01 UTC
          1  phone/3  POST /orders         7        0  1970-01-02 00:00 UTC  1970-01-04 00:00 UTC
          2  web      POST /orders         9        0  1970-01-02 00:00 UTC  1970-01-02 00:00 UTC
    ");
    let output = run(&["versions", "report", arg(&one), arg(&other), "--version", "v2", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value, json!({ "since_s": 0, "used": [used("2", "web", 9, day, day)] }));
    let none = run(&["versions", "report", arg(&one), "--version", "3"]);
    assert!(text(&none.stdout).ends_with("nobody used version 3\n"));
}

#[test]
fn a_report_is_read_from_a_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/versions", listener.local_addr().unwrap());
    let service = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        let body = json!({ "since_s": 0, "used": [used("1", "web", 1, 0, 0)] }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let output = run(&["versions", "report", &url]);
    assert!(service.join().unwrap().starts_with("GET /versions HTTP/1.1"));
    assert!(text(&output.stdout).contains("POST /orders"), "{}", text(&output.stderr));
}
