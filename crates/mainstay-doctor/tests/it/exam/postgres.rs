//! PostgreSQL's catalogue and sessions, on the run's own server.

use mainstay_core::Code;
use mainstay_doctor::Severity;
use mainstay_doctor::exam::{Check, Options};
use mainstay_testkit::Engine;

use super::{Here, only, quick};

async fn here() -> Here {
    Here::new(Engine::Postgres).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_whose_build_failed_is_told_and_mended() {
    let here = here().await;
    here.run("CREATE TABLE \"Bücher\" (id int PRIMARY KEY, x int); INSERT INTO \"Bücher\" VALUES (1, 7), (2, 7)").await;
    let mut session = here.session().await;
    let built =
        session.run("CREATE UNIQUE INDEX CONCURRENTLY \"doppelt ü\" ON \"Bücher\" (x)").await;
    assert!(built.is_err(), "two rows are the same");
    drop(session);
    let found = here.found(Check::InvalidIndexes).await;
    let finding = only(&found, Code::DoctorIndexInvalid, Severity::Warning);
    assert_eq!(finding.what, "public.\"doppelt ü\" on public.\"Bücher\" is invalid");
    here.run("DELETE FROM \"Bücher\" WHERE id = 2").await;
    here.mend(&found).await;
    assert_eq!(here.found(Check::InvalidIndexes).await, []);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn superfluous_indexes_are_told_and_what_differs_is_not() {
    let here = here().await;
    here.run("CREATE TABLE t (id bigint PRIMARY KEY, a int, b text, c int)").await;
    for sql in [
        "CREATE INDEX one ON t (a)",
        "CREATE INDEX two ON t (a)",
        "CREATE INDEX wide ON t (a, c)",
        "CREATE INDEX lower_1 ON t (lower(b))",
        "CREATE   INDEX lower_2   ON t (lower(b))",
        // Each of these does what no other does.
        "CREATE INDEX id_again ON t (id)",
        "CREATE INDEX descending ON t (c DESC)",
        "CREATE INDEX ascending ON t (c)",
        "CREATE INDEX partial ON t (c) WHERE a > 1",
        "CREATE INDEX other_class ON t (b text_pattern_ops)",
        "CREATE INDEX plain ON t (b)",
        "CREATE UNIQUE INDEX enforces ON t (c, a, b)",
        "CREATE UNIQUE INDEX enforces_less ON t (c, a) WHERE c > 0",
        "CREATE INDEX hashed ON t USING hash (a)",
    ] {
        here.run(sql).await;
    }
    let found = here.found(Check::DuplicateIndexes).await;
    let told: Vec<_> =
        found.iter().map(|f| f.fix.trim_start_matches("DROP INDEX CONCURRENTLY public.")).collect();
    assert_eq!(told, ["id_again;", "lower_2;", "two;", "ascending;", "one;"], "{found:#?}");
    here.mend(&found).await;
    assert_eq!(here.found(Check::DuplicateIndexes).await, []);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_and_missing_indexes_are_told_by_the_counters() {
    let here = here().await;
    here.run("CREATE TABLE t (id bigint PRIMARY KEY, a int, b int)").await;
    here.run("INSERT INTO t SELECT n, n, n FROM generate_series(1, 60000) n").await;
    here.run("CREATE INDEX idle ON t (a); CREATE INDEX busy ON t (b)").await;
    here.run("VACUUM ANALYZE t").await;
    let mut session = here.session().await;
    session.run("SET enable_seqscan = off; SELECT * FROM t WHERE b = 3").await.unwrap();
    session.run("SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off").await.unwrap();
    session
        .run("DO $$ BEGIN FOR i IN 1..120 LOOP PERFORM 1 FROM t WHERE a = -1; END LOOP; END $$")
        .await
        .unwrap();
    // Counters are told when their session ends.
    drop(session);
    let (mut unused, mut missing) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        unused = here.found(Check::UnusedIndexes).await;
        missing = here.found(Check::MissingIndexes).await;
        if unused.len() == 1 && !missing.is_empty() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(50)).await;
    }
    let finding = only(&unused, Code::DoctorIndexUnused, Severity::Warning);
    assert_eq!(finding.fix, "DROP INDEX CONCURRENTLY public.idle;");
    let finding = only(&missing, Code::DoctorIndexMissing, Severity::Hint);
    assert!(finding.what.starts_with("public.t was read from end to end"), "{finding}");
    // Counters of today say nothing of what is never used.
    let why = here.unknown(Check::UnusedIndexes, Options::default()).await;
    assert!(why.contains("they tell after 3 days"), "{why}");
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_without_an_index_is_told_and_mended() {
    let here = here().await;
    here.run("CREATE TABLE \"Käufer\" (a int, b int, PRIMARY KEY (a, b))").await;
    here.run(
        "CREATE TABLE orders (id int PRIMARY KEY, x int, y int, z int REFERENCES orders, w int REFERENCES orders, \
         v int REFERENCES orders, u int REFERENCES orders, \
         FOREIGN KEY (x, y) REFERENCES \"Käufer\" (a, b)); \
         CREATE INDEX ON orders (z) WHERE z IS NOT NULL; CREATE INDEX ON orders (w) WHERE w > 5; \
         CREATE INDEX ON orders (x, id); CREATE INDEX ON orders (v, id); CREATE INDEX ON orders (id, u)",
    )
    .await;
    here.run("INSERT INTO orders (id) SELECT generate_series(1, 2000); ANALYZE orders").await;
    let found = here.found(Check::ForeignKeys).await;
    let mut told: Vec<_> = found.iter().map(|f| (f.severity, f.fix.clone())).collect();
    told.sort();
    let on = |columns: &str| {
        (Severity::Warning, format!("CREATE INDEX CONCURRENTLY ON public.orders ({columns});"))
    };
    assert_eq!(told, [on("u"), on("w"), on("x, y")], "{found:#?}");
    here.mend(&found).await;
    assert_eq!(here.found(Check::ForeignKeys).await, []);
    // The columns in another order serve as well.
    here.run("DROP INDEX orders_x_y_idx; CREATE INDEX ON orders (y, x)").await;
    assert_eq!(here.found(Check::ForeignKeys).await, []);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_near_their_end_are_told() {
    let here = here().await;
    here.run(
        "CREATE TABLE narrow (id int PRIMARY KEY); CREATE SEQUENCE wide; \
              ALTER TABLE narrow ALTER COLUMN id SET DEFAULT nextval('wide')",
    )
    .await;
    here.run(
        "CREATE TABLE fresh (id bigserial PRIMARY KEY, other int GENERATED ALWAYS AS IDENTITY)",
    )
    .await;
    here.run("CREATE SEQUENCE around MAXVALUE 10 CYCLE; CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 START -1").await;
    here.run("SELECT setval('wide', 1700000000); SELECT setval('around', 10); SELECT setval('down', -95)").await;
    let found = here.found(Check::Sequences).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!((found[0].code, found[0].severity), (Code::DoctorSequenceEnding, Severity::Error));
    assert!(found[0].what.starts_with("public.down has used 9"), "{}", found[0]);
    assert_eq!(found[1].severity, Severity::Warning);
    assert_eq!(found[1].what, "public.wide has used 79 %: 447,483,647 numbers are left");
    assert!(found[1].evidence[0].contains("public.narrow.id, which is integer"), "{}", found[1]);
    here.mend(&found[1..]).await;
    assert_eq!(here.found(Check::Sequences).await.len(), 1);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_nobody_looks_after_are_told() {
    let here = here().await;
    here.run("CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE heap (a int) WITH (autovacuum_enabled = off)").await;
    here.run("INSERT INTO heap SELECT generate_series(1, 50000)").await;
    let finding = here.found(Check::PrimaryKeys).await;
    only(&finding, Code::DoctorKeyMissing, Severity::Warning);
    let found = here.found(Check::Statistics).await;
    let finding = only(&found, Code::DoctorStatisticsMissing, Severity::Warning);
    assert_eq!(finding.what, "public.heap was never analyzed");
    here.mend(&found).await;
    assert_eq!(here.found(Check::Statistics).await, []);
    here.run("UPDATE heap SET a = a + 1").await;
    let found = here.found(Check::Statistics).await;
    let codes: Vec<_> = found.iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::DoctorStatisticsMissing, Code::DoctorTableBloated], "{found:#?}");
    here.mend(&found).await;
    assert_eq!(here.found(Check::Statistics).await, []);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_holds_nothing_is_estimated() {
    let here = here().await;
    here.run(
        "CREATE TABLE t (id bigint PRIMARY KEY, a bigint, n text) WITH (autovacuum_enabled = off)",
    )
    .await;
    here.run("INSERT INTO t SELECT n, n, NULL FROM generate_series(1, 150000) n; CREATE INDEX t_a ON t (a)").await;
    let options = || Options { bytes_min: 1 << 20, ..quick() };
    assert!(here.unknown(Check::BloatedTables, options()).await.contains("ANALYZE"));
    here.run("VACUUM ANALYZE t").await;
    assert_eq!(here.found_with(Check::BloatedTables, options()).await, [], "it was just built");
    assert_eq!(here.found_with(Check::BloatedIndexes, options()).await, []);
    here.run("DELETE FROM t WHERE id % 10 <> 0").await;
    here.run("VACUUM ANALYZE t").await;
    let found = here.found_with(Check::BloatedTables, options()).await;
    only(&found, Code::DoctorTableBloated, Severity::Hint);
    let found = here.found_with(Check::BloatedIndexes, options()).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0].code, Code::DoctorIndexBloated);
    here.mend(&found).await;
    assert_eq!(here.found_with(Check::BloatedIndexes, options()).await, []);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_transaction_and_who_waits_for_it_are_told() {
    let here = here().await;
    here.run("CREATE TABLE t (id int PRIMARY KEY, secret text); INSERT INTO t VALUES (1, 'x')")
        .await;
    assert_eq!(here.found(Check::Locks).await, []);
    assert_eq!(here.found(Check::Transactions).await, []);
    let mut holder = here.session().await;
    holder
        .run("SET application_name = 'holder'; BEGIN; UPDATE t SET secret = 'hunter2' WHERE id = 1")
        .await
        .unwrap();
    let mut waiter = here.session().await;
    let waits =
        tokio::spawn(async move { waiter.run("UPDATE t SET secret = 'other' WHERE id = 1").await });
    let mut found = Vec::new();
    for _ in 0..200 {
        found = here.found(Check::Locks).await;
        if !found.is_empty() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(20)).await;
    }
    let finding = only(&found, Code::DoctorLockBlocking, Severity::Error);
    assert!(finding.what.contains("(holder) keeps a lock from 1 session"), "{finding}");
    assert!(finding.evidence[1].contains("UPDATE t SET secret = ? WHERE id = ?"), "{finding}");
    assert!(!finding.to_string().contains("hunter2"), "{finding}");
    let idle = here.found(Check::Transactions).await;
    let idle = idle.iter().find(|f| f.what.contains("(holder)")).unwrap();
    assert!(idle.what.contains(", idle for "), "{idle}");
    // The fix ends it, and the waiting one goes on.
    here.run(found[0].fix.lines().next().unwrap()).await;
    waits.await.unwrap().unwrap();
    drop(holder);
    assert_eq!(here.found(Check::Locks).await, []);
    here.done().await;
}
