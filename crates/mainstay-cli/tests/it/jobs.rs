//! `mainstay jobs` as its user calls it.

use std::process::Command;
use std::time::Duration;

use mainstay_core::Error;
use mainstay_db::Db;
use mainstay_jobs::{Context, Job, Jobs, Worker};
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

struct Shell {
    url: String,
}

impl Shell {
    /// What it prints, and whether it went well.
    fn run(&self, args: &[&str]) -> (String, bool) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.arg("jobs").args(args).env("DATABASE_URL", &self.url).env("USER", "ada");
        let out = command.output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (String::from_utf8(text).unwrap(), out.status.success())
    }

    fn json(&self, args: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.arg("jobs").args(args).arg("--json").env("DATABASE_URL", &self.url);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    }
}

/// A job that failed for good, one that waits, and one for later.
async fn filled(db: &Db) {
    db.enqueue(&Mail { to: "private@example.com".to_owned() }).await.unwrap();
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
