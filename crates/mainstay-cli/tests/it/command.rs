//! The command as its user calls it.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mainstay_db::Db;
use mainstay_testkit::{Engine, Fresh};

fn mainstay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    // Nothing configured, whatever the one who runs the tests has set.
    command
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("RUST_LOG")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    mainstay(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_code_is_explained() {
    let output = run(&["explain", "tx-003"]);
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout), @r"
    TX-003
    COMMIT was sent and its answer was lost: it may have been done.

      kind  Operation
     again  look first: nobody knows whether it was done
       fix  look whether the effect is there before trying again
    ");
    let all = text(&run(&["explain"]).stdout);
    assert!(all.contains("POOL-002") && all.contains("LOCK-001"), "{all}");
}

#[test]
fn an_unknown_code_names_the_near_ones() {
    let output = run(&["explain", "lock-9"]);
    assert!(!output.status.success());
    insta::assert_snapshot!(text(&output.stderr), @r"
    error[APP-003]: there is no error code `lock-9`
      fix: one of LOCK-001, LOCK-002, LOCK-003, LOCK-004
      see: mainstay explain APP-003
    ");
}

#[test]
fn without_a_database_the_lab_makes_its_own() {
    let output = run(&["lab", "isolation"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("none is configured"), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let rest = shown.split_once('\n').unwrap().1;
    insta::assert_snapshot!(rest, @r"
                                                SERIALIZABLE*
    G0        dirty write                       ✓ w
    G1a       dirty read                        ✓ w
    G1b       intermediate read                 ✓ w
    G1c       circular information              ✓ w
    OTV       observed transaction vanishes     ✓ w
    P2        non-repeatable read               ✓ w
    PMP       phantom                           ✓ w
    P4        lost update                       ✓ w
    G-single  read skew                         ✓ w
    G2-item   write skew                        ✓ w
    G2        write skew on a condition         ✓ w

    ✓ prevented; where not by what is seen alone: w waits, c conflict (DB-030), d deadlock (DB-031)
    — it happens   R/O prevented for a transaction that only reads   * the default level

    G0        two transactions' writes are mixed
    G1a       a write is read that is rolled back later
    G1b       a write is read that is overwritten later in its transaction
    G1c       two transactions each read what the other wrote
    OTV       of a transaction's writes one is seen and the other not
    P2        the same row, read twice, has changed
    PMP       a row appears that a condition did not find before
    P4        of two changes that were made from the same state one is lost
    G-single  of two rows one is read before and one after a change of both
    G2-item   each changes a row because of what the other changes
    G2        each adds a row because none is there
    ");
}

#[test]
fn json_is_all_of_the_output() {
    let output = run(&["lab", "isolation", "--json"]);
    assert!(output.status.success());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["levels"][0]["level"], "SERIALIZABLE");
    assert_eq!(value["levels"][0]["cells"][0]["anomaly"], "G0");
    assert_eq!(value["levels"][0]["cells"][0]["verdict"], "prevented");
    assert_eq!(text(&output.stderr), "", "nothing else is said");
}

#[test]
fn a_wrong_url_and_a_server_that_is_down_are_told() {
    for (url, code) in [
        ("postgress://localhost/x", "CFG-004"),
        ("postgres://nobody:wrong@127.0.0.1:1/x", "DB-022"),
        ("sqlite:/no/such/folder/a.db", "DB-026"),
    ] {
        let output = run(&["lab", "isolation", "--url", url]);
        assert!(!output.status.success());
        let said = text(&output.stderr);
        assert!(said.contains(code) && said.contains("fix:"), "{url}: {said}");
        assert!(!said.contains("wrong"), "no password is printed: {said}");
    }
}

#[test]
fn a_lab_of_failures_shows_both_ways_and_what_the_doctor_said() {
    let output = run(&["lab", "n-plus-one"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    // Names have the process's number in them, and times are what they are.
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert!(shown.lines().any(|line| words(line) == ["statements", "201", "2"]), "{shown}");
    assert!(shown.contains("warning[DOC-001]: N+1: 200 times"), "{shown}");
    assert!(shown.contains("✓ the same books, in 2 statements instead of 201"), "{shown}");
}

#[test]
fn a_lab_of_failures_as_json_is_all_of_the_output() {
    let output = run(&["lab", "n-plus-one", "--json"]);
    assert!(output.status.success());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["before"]["statements"], 201);
    assert_eq!(value["before"]["findings"][0]["code"], "DOC-001");
    assert_eq!(value["after"]["findings"], serde_json::json!([]));
    assert_eq!(text(&output.stderr), "", "nothing else is said");
}

/// Stopped by Ctrl-C in the middle, it leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lab_that_is_stopped_drops_its_tables() {
    let fresh = Fresh::new(Engine::MariaDb).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    let count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    for scenario in ["isolation", "pool-exhaustion", "leak", "index-left-prefix"] {
        let mut lab = mainstay(&["lab", scenario, "--url", fresh.url()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..1000 {
            if db.query(count).scalar::<i64>().await.unwrap() > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let stopped = Command::new("kill").args(["-INT", &lab.id().to_string()]).status().unwrap();
        assert!(stopped.success(), "it was still at work");
        let status = lab.wait().unwrap();
        assert!(!status.success());
        assert_eq!(db.query(count).scalar::<i64>().await.unwrap(), 0, "{scenario}");
    }
    db.close(Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}
