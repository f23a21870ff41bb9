//! A changelog of a thousand change sets, run by the command as a whole process, beside the real
//! Liquibase.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mainstay::clock::Clock;

use crate::report::{Better, Case, median};
use crate::servers::{Engine, Fresh, fresh};

const SETS: usize = 1000;
const ROUNDS: usize = 3;

/// The command, beside this program.
pub(crate) fn mainstay() -> std::path::PathBuf {
    let own = std::env::current_exe().expect("it runs");
    own.with_file_name("mainstay")
}

pub(crate) async fn run() -> Vec<Case> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut text = "--liquibase formatted sql\n".to_owned();
    for n in 1..=SETS {
        let _ = write!(
            text,
            "\n--changeset a:{n}\nCREATE TABLE t{n} (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL);\n"
        );
    }
    std::fs::write(folder.path().join("root.sql"), text).expect("a changelog");
    let mut cases = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut applied: [Vec<f64>; 2] = Default::default();
        let mut started: [Vec<f64>; 2] = Default::default();
        for _ in 0..ROUNDS {
            for theirs in [false, true] {
                let database = fresh(engine).await;
                let once = || timed(theirs, engine, &database, folder.path());
                applied[usize::from(theirs)].push(once());
                started[usize::from(theirs)].push(once());
            }
        }
        for (what, all) in [("run", applied), ("found done", started)] {
            let [ours, theirs] = all.map(median);
            let case = format!("1,000 change sets {what}, a process, {}", engine.name());
            cases.push(Case::new(case, "ms", Better::Lower, ours).peer("Liquibase 4.28", theirs));
        }
    }
    cases
}

#[expect(clippy::disallowed_methods, reason = "a tool, not a service: it has no configuration")]
fn timed(theirs: bool, engine: Engine, database: &Fresh, folder: &Path) -> f64 {
    let mut command = if theirs {
        let class_path = std::env::var("MAINSTAY_TEST_LIQUIBASE")
            .expect("the real Liquibase is installed by `cargo xtask bench`");
        let mut java = Command::new("java");
        java.args(["-cp", &class_path, "liquibase.integration.commandline.LiquibaseCommandLine"])
            .args(["--show-banner=false", "--changelog-file=root.sql"]);
        jdbc(&mut java, engine, &database.url);
        java.arg("update");
        java
    } else {
        let mut ours = Command::new(mainstay());
        ours.args(["migrate", "--json", "--url", &database.url, "liquibase"]).args([
            "--changelog-file",
            "root.sql",
            "update",
        ]);
        ours
    };
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let clock = Clock::system();
    let begun = clock.now();
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
    (clock.now() - begun).as_secs_f64() * 1e3
}

fn jdbc(java: &mut Command, engine: Engine, url: &str) {
    if engine == Engine::Sqlite {
        java.arg(format!("--url=jdbc:sqlite:{}", url.trim_start_matches("sqlite:")));
        return;
    }
    let rest = url.trim_start_matches("postgres://");
    let (user, place) = rest.split_once('@').expect("a user");
    let (user, password) = user.split_once(':').expect("a password");
    let place = place.split('?').next().unwrap_or(place);
    java.arg(format!("--url=jdbc:postgresql://{place}?sslmode=disable"))
        .args([format!("--username={user}"), format!("--password={password}")]);
}
