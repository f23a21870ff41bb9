//! Processes that are killed with -9: nothing is lost, nothing is done twice, and who kills its workers is
//! found out.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_core::config;
use mainstay_core::rng::Rng;
use mainstay_db::Db;
use mainstay_jobs::{Context, Jobs, Worker};

use crate::support::{Here, Note, Seen, note, until};

/// Tells a victim where the database is.
const VICTIM: &str = "MAINSTAY_TEST_VICTIM";

macro_rules! on_every_engine {
    ($($name:ident),*) => {
        on_every_engine!(@on sqlite Sqlite $($name)*);
        on_every_engine!(@on postgres Postgres $($name)*);
        on_every_engine!(@on mariadb MariaDb $($name)*);
    };
    (@on $module:ident $backend:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::support::run(crate::support::Backend::$backend, super::$name).await;
                }
            )*
        }
    };
}

on_every_engine!(the_ledger_balances, who_kills_its_workers_is_found_out);

/// A worker of its own process; killed by its parent, or by a job that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is started by other tests, as a process of its own"]
async fn victim() {
    let url = config::variable(VICTIM).expect("started by another test");
    let db = Db::connect(&url).await.unwrap();
    let _worker = Worker::builder(&db, Seen::default())
        .poll_interval(Duration::from_millis(50))
        .handle(|note: Note, ctx: Context<Seen>| async move {
            if note.text == "poison" {
                std::process::abort();
            }
            let id = ctx.id().0;
            ctx.transaction(|tx| async move {
                tx.query("INSERT INTO effects (id) VALUES ($1)").bind(id).execute().await.map(drop)
            })
            .await
        })
        .start()
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

fn start(here: &Here) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::victim"])
        .env(VICTIM, &here.url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn effects(here: &Here) -> BTreeMap<i64, i64> {
    let rows: Vec<(i64, i64)> =
        here.db.query("SELECT id, COUNT(*) FROM effects GROUP BY id").all().await.unwrap();
    rows.into_iter().collect()
}

async fn the_ledger_balances(here: Here) {
    const JOBS: usize = 600;
    here.run("CREATE TABLE effects (id BIGINT NOT NULL)").await;
    let jobs: Vec<Note> = (0..JOBS).map(|n| note(n.to_string())).collect();
    let rng = Rng::seeded(11);
    let mut victims = [start(&here), start(&here)];
    for part in jobs.chunks(JOBS / 12) {
        here.db.enqueue_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(rng.u64(20..300))).await;
        let victim = &mut victims[rng.u64(0..2) as usize];
        end(victim);
        *victim = start(&here);
    }
    until("all are done", || async { effects(&here).await.len() == JOBS }).await;
    until("none is left", || async { here.count("mainstay_job").await == 0 }).await;
    for mut victim in victims {
        end(&mut victim);
    }
    let all = effects(&here).await;
    assert!(all.values().all(|count| *count == 1), "done twice: {all:?}");
    assert_eq!(here.count("mainstay_ready").await, 0);
}

async fn who_kills_its_workers_is_found_out(here: Here) {
    here.run("CREATE TABLE effects (id BIGINT NOT NULL)").await;
    let mut jobs: Vec<Note> = (0..20).map(|n| note(n.to_string())).collect();
    jobs.insert(7, note("poison"));
    here.db.enqueue_all(&jobs).await.unwrap();
    let mut victim = start(&here);
    until("it is found out", || {
        if victim.try_wait().unwrap().is_some() {
            victim = start(&here);
        }
        async { here.count("mainstay_finished").await == 1 }
    })
    .await;
    until("the others are done", || async { effects(&here).await.len() == 20 }).await;
    end(&mut victim);
    let (state, errors, payload): (i16, String, String) =
        here.db.query("SELECT state, errors, payload FROM mainstay_job").one().await.unwrap();
    assert_eq!(state, 3);
    assert!(errors.contains("JOB-008") && payload.contains("poison"), "{errors}");
}
