//! The ledger: a million jobs, their workers killed with -9 a thousand times at random. What was enqueued,
//! what had its effect, how often, and what is left.

use mainstay::clock::Clock;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

use super::worker::{fill, open};

const JOBS: usize = 1_000_000;
const KILLS: usize = 1_000;
const WORKERS: usize = 4;
const LIMIT: Duration = Duration::from_secs(1_500);

fn start(url: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["victim", url, "effects"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a worker")
}

pub(crate) async fn run() -> Vec<Case> {
    let database = fresh(Engine::Postgres).await;
    let db = open(&database.url).await;
    db.query("CREATE TABLE effects (id BIGINT NOT NULL)").execute().await.expect("a table");
    fill(&db, JOBS, 500).await;
    let rng = mainstay::rng::Rng::seeded(6);
    let begun = Clock::system().now();
    let mut workers: Vec<Child> = (0..WORKERS).map(|_| start(&database.url)).collect();
    let mut kills = 0;
    let count = async |sql: &'static str| -> i64 { db.query(sql).scalar().await.expect("a count") };
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(50..350))).await;
        if kills < KILLS {
            let at = rng.u64(0..WORKERS as u64) as usize;
            workers[at].kill().await.expect("it is killed");
            workers[at] = start(&database.url);
            kills += 1;
            continue;
        }
        let left =
            count("SELECT COUNT(*) FROM (SELECT 1 FROM mainstay_job WHERE state = 0 LIMIT 1) AS j")
                .await;
        if left == 0 || Clock::system().now().saturating_duration_since(begun) > LIMIT {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for mut worker in workers {
        let _ = worker.kill().await;
    }
    let done = count("SELECT COUNT(DISTINCT id) FROM effects").await;
    let twice = count("SELECT COUNT(*) FROM effects").await - done;
    let left = count("SELECT COUNT(*) FROM mainstay_job WHERE state = 0").await;
    let dead = count("SELECT COUNT(*) FROM mainstay_job WHERE state = 3").await;
    let again = count("SELECT CAST(COALESCE(SUM(crashes), 0) AS BIGINT) FROM mainstay_job").await;
    println!(
        "ledger: {JOBS} enqueued, {kills} kills in {:.0?}, {done} with effect, {twice} twice, {left} left, \
         {dead} dead, {again} crashes counted on those",
        Clock::system().now().saturating_duration_since(begun)
    );
    let lost = JOBS as i64 - done - left - dead;
    let case = |name: &str, value: i64| {
        Case::new(
            format!("{name}, 1 M jobs, {kills} kills of 4 workers"),
            "count",
            Better::Lower,
            value as f64,
        )
    };
    vec![
        case("jobs lost", lost),
        case("effects twice", twice),
        case("jobs not done", left),
        case("jobs given up", dead),
        Case::new(
            "jobs a second under 1,000 kills",
            "jobs/s",
            Better::Higher,
            done as f64 / Clock::system().now().saturating_duration_since(begun).as_secs_f64(),
        ),
    ]
}
