//! The doctor at work, on real databases: what is wrong is named with its line, what is right is not.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use mainstay_core::inspect::{Health, Inspect};
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{Db, Engine, Isolation, network_call};
use mainstay_doctor::{Doctor, Finding, Limits, RecordOptions, Suppression, replay, trace};
use mainstay_jobs::{Job, Jobs};
use mainstay_pool::Options;

use crate::support::{of, on_every_engine, posts, told};

on_every_engine!(
    a_loop_is_named_with_its_line_and_its_parent,
    a_loop_on_spawned_tasks_is_named,
    healthy_code_is_not_named,
    through_sqlx_it_is_still_likely,
    what_the_pool_and_transactions_report_is_found,
    a_second_connection_is_named_where_it_is_asked_for,
    a_pool_with_a_queue_is_too_small,
    a_write_and_a_message_apart_are_a_dual_write,
    a_recording_is_replayed_to_the_same,
    a_suppression_silences_up_to_its_day,
);

const COMMENTS: &str = "SELECT text FROM comments WHERE post_id = $1";

fn scope() -> Scope {
    Scope::new(Kind::Request, "GET /posts")
}

async fn ids(db: &Db) -> Vec<i64> {
    let all: Vec<(i64,)> = db.query("SELECT id FROM posts ORDER BY id").all().await.unwrap();
    all.into_iter().map(|(id,)| id).collect()
}

fn watching(db: &Db) -> Doctor {
    let doctor = Doctor::builder().build();
    doctor.watch(db);
    doctor
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code.as_str()).collect()
}

async fn a_loop_is_named_with_its_line_and_its_parent(db: Db, _: String) {
    posts(&db, 9).await;
    let doctor = watching(&db);
    let line = line!() + 3;
    let request = async {
        for id in ids(&db).await {
            let comments = db.query(COMMENTS).bind(id);
            comments.all::<(String,)>().await.unwrap();
        }
    };
    scope().run(request).await;
    let findings = doctor.findings();
    let found = of(&findings, "DOC-001");
    assert_eq!(found.place, Some(format!("{}:{line}", file!())), "{found}");
    assert_eq!(found.scope.as_deref(), Some("GET /posts"));
    assert_eq!(found.cost.round_trips, 8, "{found}");
    let text = found.to_string();
    assert!(text.contains("9 of 9 values of `post_id` are of column `id`"), "{text}");
    assert!(text.contains("`SELECT id FROM posts ORDER BY id` at"), "{text}");
    assert!(text.contains("post_id = ANY($1)"), "{text}");
    assert_eq!(codes(&findings), ["DOC-001"]);
    assert_eq!(doctor.inspect().health, Health::Degraded);
    assert!(doctor.findings_json().contains("\"code\":\"DOC-001\""));
}

async fn a_loop_on_spawned_tasks_is_named(db: Db, _: String) {
    posts(&db, 9).await;
    let doctor = watching(&db);
    let (mut carried, mut lost) = (0, 0);
    let request = async {
        let own = Scope::current().unwrap();
        let tasks = ids(&db).await.into_iter().map(|id| {
            let (db, own) = (db.clone(), own.clone());
            tokio::spawn(own.run(async move {
                db.query(COMMENTS).bind(id).all::<(String,)>().await.unwrap();
            }))
        });
        join_all(tasks).await;
        carried = line!() - 4;
        // Without the scope, as it happens.
        let tasks = ids(&db).await.into_iter().map(|id| {
            let db = db.clone();
            tokio::spawn(async move {
                db.query(COMMENTS).bind(id).all::<(String,)>().await.unwrap();
            })
        });
        join_all(tasks).await;
        lost = line!() - 4;
        join_all(ids(&db).await.into_iter().map(|id| {
            db.query("SELECT id FROM comments WHERE post_id = $1").bind(id).all::<(i64,)>()
        }))
        .await;
    };
    scope().run(request).await;
    let findings = doctor.findings();
    // The list is also read several times over, which is another finding.
    let loops = findings.iter().filter(|f| f.code.as_str() == "DOC-001");
    let lines: Vec<String> = loops.filter_map(|f| f.place.clone()).collect();
    assert_eq!(lines.len(), 3, "{findings:#?}");
    for line in [carried, lost] {
        assert!(lines.contains(&format!("{}:{line}", file!())), "{line}: {lines:?}");
    }
    assert!(findings.iter().any(|f| f.to_string().contains("they ran on")), "{findings:#?}");
}

async fn healthy_code_is_not_named(db: Db, _: String) {
    posts(&db, 60).await;
    let doctor = watching(&db);
    let request = async {
        let all = ids(&db).await;
        // All at once.
        if db.engine() == Engine::Postgres {
            let sql = "SELECT text FROM comments WHERE post_id = ANY($1)";
            db.query(sql).bind(all.clone()).all::<(String,)>().await.unwrap();
        }
        // Pages.
        let mut last = 0_i64;
        loop {
            let page =
                db.query("SELECT id FROM posts WHERE id > $1 ORDER BY id LIMIT 10").bind(last);
            let page: Vec<(i64,)> = page.all().await.unwrap();
            let Some((id,)) = page.last() else { break };
            last = *id;
        }
        for offset in [0_i64, 10, 20, 30] {
            let page = db.query("SELECT id FROM posts ORDER BY id LIMIT 10 OFFSET $1").bind(offset);
            page.all::<(i64,)>().await.unwrap();
        }
        // Tried again.
        for _ in 0..4 {
            db.query("SELECT nothing FROM posts WHERE id = $1")
                .bind(all[0])
                .execute()
                .await
                .unwrap_err();
        }
        // Two of one row, and several statements of one key.
        for sql in [
            "SELECT id FROM comments WHERE post_id = $1",
            COMMENTS,
            "SELECT author FROM posts WHERE id = $1",
        ] {
            db.query(sql).bind(all[0]).execute().await.unwrap();
        }
    };
    scope().run(request).await;
    assert_eq!(codes(&doctor.findings()), [""; 0], "{:#?}", doctor.findings());
    assert_eq!(doctor.inspect().health, Health::Good);
}

/// sqlx keeps what it binds to itself; that a loop is as long as a result is seen all the same.
async fn through_sqlx_it_is_still_likely(db: Db, _: String) {
    posts(&db, 9).await;
    let doctor = watching(&db);
    let request = async {
        let all = ids(&db).await;
        for id in all {
            match db.engine() {
                Engine::Sqlite => {
                    let query = sqlx::query("SELECT text FROM comments WHERE post_id = ?").bind(id);
                    query.fetch_all(db.sqlite().unwrap()).await.map(|r| r.len())
                }
                Engine::Postgres => {
                    let query =
                        sqlx::query("SELECT text FROM comments WHERE post_id = $1").bind(id);
                    query.fetch_all(db.postgres().unwrap()).await.map(|r| r.len())
                }
                Engine::MySql => {
                    let query = sqlx::query("SELECT text FROM comments WHERE post_id = ?").bind(id);
                    query.fetch_all(db.mysql().unwrap()).await.map(|r| r.len())
                }
            }
            .unwrap();
        }
    };
    scope().run(request).await;
    let findings = doctor.findings();
    assert!(of(&findings, "DOC-001").what.starts_with("probably N+1"), "{findings:#?}");
}

async fn what_the_pool_and_transactions_report_is_found(_: Db, url: String) {
    let options = Options {
        leak_after: Some(Duration::from_millis(150)),
        transaction_idle_after: Some(Duration::from_millis(150)),
        ..Options::default()
    };
    let db = Db::builder(&url).pool(options).connect().await.unwrap();
    posts(&db, 9).await;
    let mut limits = Limits::default();
    (limits.transaction, limits.hold) = (Duration::from_millis(300), Duration::from_millis(300));
    let doctor = Doctor::builder().limits(limits).build();
    doctor.watch(&db);
    let outer = db.clone();
    let transfer = db.transaction(|tx| {
        let outer = outer.clone();
        async move {
            tx.query("SELECT COUNT(*) FROM posts").execute().await?;
            outer.query("SELECT COUNT(*) FROM comments").execute().await?;
            network_call("POST payments");
            tokio::time::sleep(Duration::from_millis(600)).await;
            // Each is told once, though the statements alone would tell of some as well.
            tx.query("SELECT COUNT(*) FROM posts").execute().await.map(drop)
        }
    });
    scope().run(transfer).await.unwrap();
    for code in ["DOC-007", "DOC-009", "DOC-010", "DOC-011", "DOC-012"] {
        let found = of(&told(&doctor, code).await, code).clone();
        assert!(found.place.as_deref().is_some_and(|p| p.contains("live.rs:")), "{found}");
        assert!(!found.fix.is_empty() && found.count >= 1, "{found}");
    }
    let mut rows = Box::pin(db.query("SELECT id FROM posts").stream::<(i64,)>());
    rows.try_next().await.unwrap();
    let found = of(&told(&doctor, "DOC-006").await, "DOC-006").clone();
    assert!(found.place.as_deref().is_some_and(|p| p.contains("live.rs:")), "{found}");
    drop(rows);
    db.close(Duration::from_secs(5)).await.unwrap();
}

async fn a_second_connection_is_named_where_it_is_asked_for(db: Db, _: String) {
    posts(&db, 9).await;
    let doctor = watching(&db);
    let mut lines = (0, 0);
    let request = async {
        let mut rows = Box::pin(db.query("SELECT id FROM posts").stream::<(i64,)>());
        lines.0 = line!() - 1;
        rows.try_next().await.unwrap();
        db.query("SELECT text FROM comments").all::<(String,)>().await.unwrap();
        lines.1 = line!() - 1;
        drop(rows);
        // One after the other is nothing to tell of.
        db.query("SELECT id FROM comments").all::<(i64,)>().await.unwrap();
    };
    scope().run(request).await;
    let findings = doctor.findings();
    let found = of(&findings, "DOC-008");
    assert_eq!(found.place, Some(format!("{}:{}", file!(), lines.1)), "{found}");
    assert_eq!(found.scope.as_deref(), Some("GET /posts"), "{found}");
    let first = format!("{}:{}", file!(), lines.0);
    assert!(found.evidence.iter().any(|e| e.contains(&first)), "{found}");
    assert_eq!((found.count, codes(&findings)), (1, vec!["DOC-008"]), "{findings:#?}");
}

async fn a_pool_with_a_queue_is_too_small(_: Db, url: String) {
    let options = Options { max_size: 1, ..Options::default() };
    let db = Db::builder(&url).pool(options).connect().await.unwrap();
    db.script("CREATE TABLE t (n BIGINT)").await.unwrap();
    let doctor = Doctor::builder().pool_window(Duration::from_secs(2)).build();
    doctor.watch(&db);
    let work = || {
        let db = db.clone();
        tokio::spawn(async move {
            for _ in 0..1000 {
                let write = db.transaction(|tx| async move {
                    tx.query("INSERT INTO t VALUES (1)").execute().await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(())
                });
                if write.await.is_err() {
                    return;
                }
            }
        })
    };
    let workers: Vec<_> = (0..6).map(|_| work()).collect();
    let findings = told(&doctor, "DOC-016").await;
    for worker in &workers {
        worker.abort();
    }
    let found = of(&findings, "DOC-016");
    let text = found.to_string();
    assert!(text.contains("Little"), "{text}");
    assert!(found.place.as_deref().is_some_and(|p| p.contains("live.rs:")), "{text}");
    assert!(text.contains("pool.max_size = "), "{text}");
    let _ = db.close(Duration::from_secs(5)).await;
}

async fn a_write_and_a_message_apart_are_a_dual_write(db: Db, _: String) {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Mail {
        to: String,
    }
    impl Job for Mail {
        const NAME: &'static str = "mail";
    }
    posts(&db, 3).await;
    mainstay_jobs::install(&db).await.unwrap();
    let doctor = watching(&db);
    let write = |db: Db| async move {
        let sql = "UPDATE posts SET author = $1 WHERE id = $2";
        db.query(sql).bind("bob").bind(3_i64).execute().await?;
        db.enqueue(&Mail { to: "bob".to_owned() }).await.map(drop)
    };
    scope().run(db.transaction(write)).await.unwrap();
    assert_eq!(codes(&doctor.findings()), [""; 0], "{:#?}", doctor.findings());
    scope().run(write(db.clone())).await.unwrap();
    let found = of(&doctor.findings(), "DOC-013").clone();
    assert!(found.place.as_deref().is_some_and(|p| p.contains("live.rs:")), "{found}");
    assert!(found.what.contains("UPDATE posts"), "{found}");
}

async fn a_recording_is_replayed_to_the_same(db: Db, _: String) {
    posts(&db, 9).await;
    let doctor = watching(&db);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    doctor.record_to(&path, &RecordOptions::default()).unwrap();
    let error = doctor.record_to(&path, &RecordOptions::default()).unwrap_err();
    assert_eq!(error.code().as_str(), "DOC-019", "a trace is never written over");
    let request = async {
        for id in ids(&db).await {
            db.query(COMMENTS).bind(id).all::<(String,)>().await.unwrap();
        }
        db.query("SELECT id FROM posts WHERE author = $1")
            .bind("s3cret")
            .all::<(i64,)>()
            .await
            .unwrap();
    };
    scope().run(request).await;
    let recorded = doctor.stop_recording().await.unwrap();
    assert_eq!((recorded.lines, recorded.dropped), (11, 0));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let replayed = replay(&trace::read(text.as_bytes()).unwrap());
    let (offline, live) = (of(&replayed, "DOC-001"), doctor.findings());
    let live = of(&live, "DOC-001");
    assert_eq!((&offline.place, &offline.what, &offline.evidence, &offline.scope), {
        (&live.place, &live.what, &live.evidence, &live.scope)
    });
    let small = folder.path().join("small.jsonl");
    doctor.record_to(&small, &RecordOptions::default().bytes_max(500)).unwrap();
    for _ in 0..5 {
        db.query("SELECT 1").execute().await.unwrap();
    }
    let recorded = doctor.stop_recording().await.unwrap();
    assert!(recorded.lines >= 1 && recorded.lines + recorded.dropped == 5, "{recorded:?}");
    let text = std::fs::read_to_string(&small).unwrap();
    assert!(text.ends_with(&format!("{{\"dropped\":{}}}\n", recorded.dropped)), "{text}");
}

async fn a_suppression_silences_up_to_its_day(db: Db, _: String) {
    posts(&db, 9).await;
    let doctor = watching(&db);
    let request = async {
        for id in ids(&db).await {
            db.query(COMMENTS).bind(id).all::<(String,)>().await.unwrap();
        }
    };
    scope().run(request).await;
    let silence = |year: u32| {
        let text = format!(
            r#"{{"code":"DOC-001","at":"GET /posts","reason":"nine rows","until":"{year}-01-31"}}"#
        );
        serde_json::from_str::<Suppression>(&text).unwrap()
    };
    doctor.suppress(silence(2020)).unwrap();
    assert_eq!(codes(&doctor.findings()), ["DOC-001", "DOC-018"]);
    doctor.suppress(silence(2999)).unwrap();
    assert_eq!(codes(&doctor.findings()), ["DOC-018"]);
}

mod conflicts {
    use std::sync::Arc;

    use mainstay_db::Error;
    use tokio::sync::Barrier;

    use super::*;

    on_every_engine!(a_deadlock_is_told_with_both_sides, conflicts_that_go_on_are_a_storm);

    async fn a_deadlock_is_told_with_both_sides(db: Db, _: String) {
        // One writer: they can't wait for each other.
        if db.engine() == Engine::Sqlite {
            return;
        }
        posts(&db, 9).await;
        let doctor = watching(&db);
        let all = ids(&db).await;
        let barrier = Arc::new(Barrier::new(2));
        let side = |first: i64, second: i64| {
            let (db, barrier) = (db.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                let retry = mainstay_db::RetryPolicy::none();
                let work = db.tx().retry(retry).run(|tx| {
                    let barrier = Arc::clone(&barrier);
                    async move {
                        let sql = "UPDATE posts SET author = 'x' WHERE id = $1";
                        tx.query(sql).bind(first).execute().await?;
                        barrier.wait().await;
                        tx.query(sql).bind(second).execute().await?;
                        Ok::<(), Error>(())
                    }
                });
                work.await
            })
        };
        let (a, b) = (side(all[0], all[1]), side(all[1], all[0]));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert!(a.is_err() || b.is_err(), "no deadlock");
        let found = of(&doctor.findings(), "DOC-014").clone();
        let text = found.to_string();
        assert!(text.contains("the victim") && text.contains("the other"), "{text}");
        assert!(text.matches("live.rs:").count() >= 4, "{text}");
    }

    async fn conflicts_that_go_on_are_a_storm(db: Db, _: String) {
        // Only PostgreSQL refuses what can't be serialized; the others wait or deadlock.
        if db.engine() != Engine::Postgres {
            return;
        }
        posts(&db, 9).await;
        let doctor = watching(&db);
        let first = ids(&db).await[0];
        for _ in 0..6 {
            let (inner, other) = (db.clone(), db.clone());
            let tried = db.tx().isolation(Isolation::RepeatableRead).run(move |tx| {
                let (inner, other) = (inner.clone(), other.clone());
                async move {
                    tx.query("SELECT author FROM posts WHERE id = $1")
                        .bind(first)
                        .execute()
                        .await?;
                    // Somebody else's write comes in between, at the first attempt.
                    if inner.status().in_use == 1 {
                        let sql = "UPDATE posts SET author = 'y' WHERE id = $1";
                        let write = async move { other.query(sql).bind(first).execute().await };
                        tokio::spawn(write).await.unwrap()?;
                    }
                    let sql = "UPDATE posts SET author = 'z' WHERE id = $1";
                    tx.query(sql).bind(first).execute().await.map(drop)
                }
            });
            let _ = tokio::time::timeout(Duration::from_secs(2), tried).await;
        }
        let found = of(&told(&doctor, "DOC-015").await, "DOC-015").clone();
        assert!(found.what.contains("could not be serialized"), "{found}");
        assert!(found.to_string().contains("live.rs:"), "{found}");
    }
}

mod cost {
    use std::sync::Arc;

    use mainstay_core::Place;
    use mainstay_core::observe::{KeyColumns, Outcome, SqlId, Statement, ValueHash, Values};

    use super::*;

    /// What the doctor does with a statement on the hot path, values included, allocates nothing.
    #[test]
    fn observation_allocates_nothing_in_steady_state() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let db = runtime.block_on(Db::connect("sqlite::memory:")).unwrap();
        let doctor = Doctor::builder().build();
        doctor.watch(&db);
        let scope = scope();
        let columns = Arc::new(KeyColumns(Box::new(["id".into()])));
        let place = Place::here();
        let observe = |n: i64| {
            let mut values = Values::take();
            values.bind(std::iter::once(ValueHash::int(n)));
            values.set_columns(Arc::clone(&columns));
            values.returns(ValueHash::int(n));
            db.observer().statement(&Statement {
                pool: "main",
                system: "sqlite",
                sql: COMMENTS,
                sql_id: SqlId::of(COMMENTS),
                place,
                scope: Some(&scope),
                transaction: None,
                connection: Some(1),
                wait: Duration::ZERO,
                duration: Duration::from_micros(90),
                rows: 1,
                affected: 0,
                outcome: Outcome::Done,
                ended: mainstay_core::clock::Clock::system().now(),
                values: Some(&values),
            });
            values.give_back();
        };
        observe(0);
        let counted = allocation_counter::measure(|| (1..1000).for_each(observe));
        assert_eq!(counted.count_total, 0, "{counted:?}");
        assert_eq!(doctor.dropped(), 0);
    }
}
