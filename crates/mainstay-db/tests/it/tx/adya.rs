//! Histories of thousands of transactions, checked for every anomaly that their level forbids, by a
//! checker that knows nothing of how they were run: list-append, as Elle does it (Kingsbury and
//! Alvaro, VLDB 2020).

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use adya::r#gen::{Gen, GenOpts, Kind, TxnOp, op_line};
use adya::{History, Opts, Valid, Workload, check};
use mainstay_db::{Code, Db, Engine, Isolation, Result};

use crate::support::on_every_engine;

on_every_engine!(no_level_shows_an_anomaly_that_it_forbids);

const TRANSACTIONS: usize = 4000;
const WORKERS: usize = 10;
const KEYS: i64 = 1000;

/// What the engine promises at the level, in the checker's words.
fn promised(engine: Engine, level: Isolation) -> &'static str {
    match (engine, level) {
        (Engine::Sqlite, _) | (Engine::MySql, Isolation::Serializable) => "strict-serializable",
        (Engine::Postgres, Isolation::RepeatableRead) => "snapshot-isolation",
        (Engine::MySql, Isolation::ReadUncommitted) => "read-uncommitted",
        // InnoDB's snapshot is for reads alone.
        (Engine::MySql, Isolation::RepeatableRead) => "monotonic-atomic-view",
        (_, Isolation::ReadUncommitted | Isolation::ReadCommitted) => "read-committed",
        (Engine::Postgres, Isolation::Serializable) => "serializable",
    }
}

/// The history so far: its lines are in the order in which things began and ended.
#[derive(Default)]
struct Lines(Mutex<(usize, String)>);

impl Lines {
    fn add(&self, kind: &str, process: usize, ops: &[TxnOp], reads: &[Option<Vec<i64>>]) {
        let mut lines = self.0.lock().unwrap();
        let index = lines.0;
        let line = op_line(index, kind, process, index as u64, ops, reads, true);
        lines.0 += 1;
        lines.1 += &line;
    }
}

async fn run(tx: &Db, ops: &[TxnOp]) -> Result<Vec<Option<Vec<i64>>>> {
    let append = match tx.engine() {
        Engine::MySql => "UPDATE lists SET v = CONCAT(v, $1) WHERE k = $2",
        Engine::Sqlite | Engine::Postgres => "UPDATE lists SET v = v || $1 WHERE k = $2",
    };
    if tx.in_transaction() && tx.engine() == Engine::Postgres {
        // It looks for deadlocks once a second otherwise, and there are many.
        tx.query("SET LOCAL deadlock_timeout = '5ms'").execute().await?;
    }
    let mut reads = Vec::new();
    for op in ops {
        match *op {
            TxnOp::Read(key) => {
                let query = tx.query("SELECT v FROM lists WHERE k = $1").bind(key);
                let list: String = query.scalar().await?;
                let values = list.split(' ').filter_map(|v| v.parse().ok());
                reads.push(Some(values.collect()));
            }
            TxnOp::Append(key, value) | TxnOp::Write(key, value) => {
                tx.query(append).bind(format!(" {value}")).bind(key).execute().await?;
                reads.push(None);
            }
        }
    }
    Ok(reads)
}

async fn history(db: &Db, level: Isolation, seed: u64) -> History {
    db.query("UPDATE lists SET v = ''").execute().await.unwrap();
    let generator = Gen::new(GenOpts { kind: Kind::ListAppend, ..GenOpts::default() }, seed);
    let generator = Arc::new(Mutex::new(generator));
    let lines = Arc::new(Lines::default());
    let processes = Arc::new(AtomicUsize::new(WORKERS));
    let workers = (0..WORKERS).map(|worker| {
        let (db, generator, lines) = (db.clone(), Arc::clone(&generator), Arc::clone(&lines));
        let processes = Arc::clone(&processes);
        tokio::spawn(async move {
            let mut process = worker;
            for _ in 0..TRANSACTIONS / WORKERS {
                let ops = generator.lock().unwrap().txn();
                lines.add("invoke", process, &ops, &[]);
                let all = &ops;
                let outcome =
                    db.tx().isolation(level).run(|tx| async move { run(&tx, all).await }).await;
                match outcome {
                    // What is read there may never have been: it says nothing of the order of writes.
                    Ok(_) if level == Isolation::ReadUncommitted => {
                        lines.add("ok", process, &ops, &[]);
                    }
                    Ok(reads) => lines.add("ok", process, &ops, &reads),
                    Err(error) if error.code() == Code::TxAmbiguous => {
                        lines.add("info", process, &ops, &[]);
                        process = processes.fetch_add(1, SeqCst);
                    }
                    Err(_) => lines.add("fail", process, &ops, &[]),
                }
            }
        })
    });
    for worker in futures_util::future::join_all(workers).await {
        worker.unwrap();
    }
    // In the end all is read once more, by itself: the order in which the writes took effect.
    let keys: Vec<(i64,)> =
        db.query("SELECT k FROM lists WHERE v <> '' ORDER BY k").all().await.unwrap();
    let ops: Vec<TxnOp> = keys.into_iter().map(|(key,)| TxnOp::Read(key)).collect();
    let process = processes.fetch_add(1, SeqCst);
    lines.add("invoke", process, &ops, &[]);
    let reads = run(db, &ops).await.unwrap();
    lines.add("ok", process, &ops, &reads);
    let lines = lines.0.lock().unwrap();
    History::from_json(&lines.1).unwrap()
}

async fn no_level_shows_an_anomaly_that_it_forbids(db: Db) {
    db.script("CREATE TABLE lists (k BIGINT PRIMARY KEY, v VARCHAR(2000) NOT NULL)").await.unwrap();
    db.bulk_insert("lists", &["k", "v"], (0..KEYS).map(|k| (k, ""))).await.unwrap();
    for (seed, level) in Isolation::ALL.into_iter().enumerate() {
        if !level.is_of(db.engine()) {
            continue;
        }
        let history = history(&db, level, seed as u64).await;
        let holds = |model: &str| {
            let options = Opts { models: vec![model.to_owned()], ..Opts::default() };
            check(&history, Workload::ListAppend, &options)
        };
        let promised = promised(db.engine(), level);
        let report = holds(promised);
        assert_eq!(report.valid, Valid::True, "{level}, {promised}: {:?}", report.anomaly_types);
        // The load is one that shows anomalies where they are allowed, or the test would say nothing.
        if level == Isolation::ReadCommitted {
            assert_eq!(holds("serializable").valid, Valid::False);
        }
    }
}
