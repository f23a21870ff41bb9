//! `mainstay jobs` as its user calls it.

use std::process::Command;
use std::time::Duration;

use mainstay_core::Error;
use mainstay_db::Db;
use mainstay_jobs::{Context, Event, Job, Jobs, Worker};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Job for Mail {
    const NAME: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    const MAX_ATTEMPTS: u32 = 1;
}

#[derive(Serialize, Deserialize)]
struct Moved {
    to: String,
}

impl Event for Moved {
    const NAME: &'static str = "moved";
}

struct Shell {
    url: String,
}

impl Shell {
    /// What it prints, and whether it went well.
    fn run(&self, args: &[&str]) -> (String, bool) {
        let (text, code) = self.code(args);
        (text, code == Some(0))
    }

    /// What it prints, and the code that it exits with.
    fn code(&self, args: &[&str]) -> (String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.arg("jobs").args(args).env("DATABASE_URL", &self.url).env("USER", "ada");
        let out = command.output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (String::from_utf8(text).unwrap(), out.status.code())
    }

    fn json(&self, args: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.arg("jobs").args(args).arg("--json").env("DATABASE_URL", &self.url);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    }
}

/// A fresh database with the tables of jobs.
async fn fresh(folder: &tempfile::TempDir) -> (Shell, Db) {
    let url = format!("sqlite:{}", folder.path().join("j.db").display());
    let db = Db::connect(&url).await.unwrap();
    mainstay_jobs::install(&db).await.unwrap();
    (Shell { url }, db)
}

/// A job that failed for good, one that waits, and one for later.
async fn filled(db: &Db) {
    let mail = Mail { to: "private@example.com".to_owned() };
    db.enqueue(&mail).header("trace", "t-1").await.unwrap();
    let worker = Worker::builder(db, ())
        .queue(mainstay_jobs::Queue::new("mail"))
        .handle(|_: Mail, _: Context<()>| async { Err::<(), _>(Error::user("no such mailbox")) })
        .start()
        .await
        .unwrap();
    for _ in 0..3_000 {
        let dead: i64 = db.query("SELECT COUNT(*) FROM mainstay_finished").scalar().await.unwrap();
        if dead == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.drain(Duration::from_secs(20)).await.unwrap();
    db.enqueue(&Mail { to: "b".to_owned() }).await.unwrap();
    db.enqueue(&Mail { to: "c".to_owned() }).delay(Duration::from_secs(3_600)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_shown_and_acted_on() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("j.db").display());
    let shell = Shell { url: url.clone() };
    let (text, fine) = shell.run(&["list"]);
    assert!(!fine && text.contains("error[JOB-001]") && text.contains("fix:"), "{text}");
    assert!(shell.run(&["install"]).1);
    let db = Db::connect(&url).await.unwrap();
    filled(&db).await;

    let (text, _) = shell.run(&["list"]);
    assert!(text.contains("dead") && text.contains("APP-001 no such mailbox"), "{text}");
    assert!(!text.contains("private@"), "payloads are not listed: {text}");
    let dead = shell.json(&["list", "--state", "dead"]);
    assert_eq!((dead[0]["id"].as_i64(), dead[0]["queue"].as_str()), (Some(1), Some("mail")));
    let (text, _) = shell.run(&["show", "1"]);
    assert!(text.contains("attempt 1 failed") && !text.contains("private@"), "{text}");
    assert!(shell.run(&["show", "1", "--payload"]).0.contains("private@"));
    let (text, fine) = shell.run(&["show", "99"]);
    assert!(!fine && text.contains("error[JOB-011]"), "{text}");

    assert_eq!(shell.json(&["retry", "--dead", "--queue", "mail"])["count"], 1);
    let (text, fine) = shell.run(&["cancel", "1", "99"]);
    assert!(
        !fine && text.contains("job 1: cancelled") && text.contains("job 99: there is no"),
        "{text}"
    );
    assert!(shell.run(&["delete", "1"]).1);
    assert!(shell.run(&["pause", "mail"]).1);
    assert!(shell.run(&["drain", "--queue", "mail", "--timeout", "5"]).1);
    let (text, _) = shell.run(&["stats"]);
    assert!(text.contains("paused") && text.contains("position"), "{text}");
    let stats = shell.json(&["stats"]);
    assert_eq!(
        (stats["queues"][0]["ready"].as_u64(), stats["queues"][0]["scheduled"].as_u64()),
        (Some(1), Some(1))
    );
    assert!(shell.run(&["resume", "mail"]).1);
    assert!(shell.run(&["dash", "--once"]).0.contains("mail"));
    let audit = shell.json(&["audit"]);
    let actions: Vec<_> =
        audit.as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["resume", "pause", "pause", "delete", "cancel", "retry"]);
    let (text, fine) = shell.run(&["replay", "nobody", "--from", "start"]);
    assert!(!fine && text.contains("there is no group `nobody`"), "{text}");
    let (text, fine) = shell.run(&["list", "--state", "sleepy"]);
    assert!(!fine && text.contains("no state of a job"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_jobs_are_acted_on_only_where_it_is_said_which() {
    let folder = tempfile::tempdir().unwrap();
    let (shell, db) = fresh(&folder).await;
    filled(&db).await;
    for args in [["retry", "--dead"], ["delete", "--dead"], ["cancel", "--state=scheduled"]] {
        let (text, code) = shell.code(&args);
        let all = ["--queue", "--name", "--all"].iter().all(|one| text.contains(one));
        assert!(code == Some(2) && all, "{args:?} {code:?} {text}");
    }
    for args in [
        &["retry"][..],
        &["cancel", "--dead", "--all"],
        &["cancel", "--state", "dead", "--all"],
        &["delete", "--state", "ready", "--all"],
        &["delete", "1", "--all"],
        &["retry", "1", "--dead", "--all"],
        &["retry", "1", "--dry-run"],
        &["retry", "--dead", "--all", "--queue", "mail"],
    ] {
        let (text, code) = shell.code(args);
        assert_eq!(code, Some(2), "{args:?} {text}");
    }

    let (text, fine) = shell.run(&["retry", "--dead", "--all", "--dry-run"]);
    assert!(fine && text.contains("1 jobs would be ready again"), "{text}");
    assert_eq!(shell.json(&["delete", "--dead", "--name", "mail", "--dry-run"])["count"], 1);
    assert_eq!(shell.json(&["retry", "--dead", "--queue", "elsewhere"])["count"], 0);
    assert_eq!(shell.json(&["list", "--state", "dead"]).as_array().unwrap().len(), 1);
    assert_eq!(shell.json(&["retry", "--dead", "--name", "mail"])["count"], 1);
    assert_eq!(shell.json(&["cancel", "--state", "ready", "--queue", "mail"])["count"], 2);
    let (text, fine) = shell.run(&["delete", "--state", "cancelled", "--all"]);
    assert!(fine && text.contains("2 jobs were deleted"), "{text}");
    assert_eq!(shell.json(&["list"]).as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_found_page_by_page_and_told_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let (shell, db) = fresh(&folder).await;
    filled(&db).await;
    db.enqueue(&Mail { to: "d".to_owned() }).unique("mail d").await.unwrap();
    let ids = |args: &[&str]| -> Vec<i64> {
        let all = shell.json(args);
        all.as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&["list", "--limit", "2"]), [4, 3]);
    assert_eq!(ids(&["list", "--limit", "2", "--after", "3"]), [2, 1]);
    let (text, _) = shell.run(&["list", "--limit", "2"]);
    assert!(text.contains("--after 3"), "{text}");
    assert_eq!(ids(&["list", "--key", "mail d"]), [4]);
    assert_eq!(ids(&["list", "--since", "1h", "--queue", "mail", "--name", "mail"]), [4, 3, 2, 1]);
    assert!(ids(&["list", "--until", "1h"]).is_empty());
    assert!(ids(&["list", "--since", "2999-01-01T00:00:00Z"]).is_empty());
    for wrong in ["--since=yesterday", "--limit=0", "--after=x"] {
        assert_eq!(shell.code(&["list", wrong]).1, Some(2), "{wrong}");
    }

    let (text, _) = shell.run(&["show", "1"]);
    for part in ["enqueued", "attempt 1 failed: APP-001", "dead", "trace: t-1", "timeline"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let job = shell.json(&["show", "1", "--payload"]);
    assert_eq!(job["errors"].as_array().unwrap().len(), 1);
    assert!(job["payload"].as_str().unwrap().contains("private@"));
    assert_eq!(shell.json(&["show", "1"])["payload"], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_shown_with_their_lag() {
    let folder = tempfile::tempdir().unwrap();
    let (shell, db) = fresh(&folder).await;
    let worker = Worker::builder(&db, ())
        .subscribe("billing", |_: Moved, _: Context<()>| async { Ok(()) })
        .start()
        .await
        .unwrap();
    worker.drain(Duration::from_secs(20)).await.unwrap();
    db.publish(&Moved { to: "x".to_owned() }).await.unwrap();

    let paused = shell.json(&["pause", "group:billing"]);
    assert_eq!(paused["done"], "`group:billing` is paused");
    let groups = shell.json(&["groups"]);
    assert_eq!(groups[0]["name"], "billing");
    assert_eq!(groups[0]["events"][0], "moved");
    assert_eq!((groups[0]["lag"].as_u64(), groups[0]["paused"].as_bool()), (Some(1), Some(true)));
    let (text, fine) = shell.run(&["groups"]);
    for part in ["billing", "paused", "lag", "moved", "ago"] {
        assert!(fine && text.contains(part), "{part} in {text}");
    }
    assert!(shell.run(&["dash", "--once"]).0.contains("billing"));
    assert_eq!(shell.json(&["dash"])["groups"][0]["lag"], 1);
    assert_eq!(shell.json(&["resume", "group:billing"])["done"], "`group:billing` goes on");
    assert_eq!(shell.json(&["replay", "billing", "--from", "start"])["count"], 0);
    assert_eq!(shell.json(&["audit"])[0]["action"], "replay");
    assert!(shell.json(&["install"])["done"].is_string());
}
