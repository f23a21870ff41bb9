//! What needs a PostgreSQL of its own: its settings, slots, connections, prepared transactions, statements.

use mainstay_core::Code;
use mainstay_db::Db;
use mainstay_doctor::Severity;
use mainstay_doctor::exam::{Check, Examination, Options, Outcome, Report, top_statements};
use mainstay_local::{Postgres, Server};

use super::quick;

/// A server with what a healthy one has.
const HEALTHY: &[&str] = &[
    "idle_in_transaction_session_timeout=60s",
    "statement_timeout=30s",
    "log_lock_waits=on",
    "track_io_timing=on",
    "random_page_cost=1.1",
];

struct Private {
    server: Option<Server>,
    url: String,
    _scratch: tempfile::TempDir,
}

impl Private {
    async fn start(settings: &[&str]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let options = mainstay_local::Options {
            tcp_password: Some("doctor-test".to_owned()),
            temporary: true,
            durable: !settings.contains(&"fsync=off"),
            settings: HEALTHY.iter().chain(settings).map(|s| (*s).to_owned()).collect(),
            ..mainstay_local::Options::new(scratch.path().join("server"))
        };
        let server =
            tokio::task::spawn_blocking(move || Postgres::start(&options)).await.unwrap().unwrap();
        let url = format!(
            "postgres://{}:doctor-test@127.0.0.1:{}/postgres",
            server.user(),
            server.port().unwrap()
        );
        Self { server: Some(server), url, _scratch: scratch }
    }

    async fn report(&self, options: Options) -> Report {
        Examination::new(&self.url).options(options).run().await.unwrap()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
        }
    }
}

async fn run(db: &Db, sql: &str) {
    db.session().await.unwrap().run(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_database_has_no_finding() {
    let private = Private::start(&[]).await;
    let db = Db::connect(&private.url).await.unwrap();
    run(&db, "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text UNIQUE); \
         CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users); \
         CREATE INDEX ON orders (user_id); INSERT INTO users (mail) SELECT n::text FROM generate_series(1, 5000) n; \
         INSERT INTO orders (user_id) SELECT id FROM users").await;
    run(&db, "VACUUM ANALYZE").await;
    let report = private.report(Options::default()).await;
    assert_eq!(report.findings().collect::<Vec<_>>(), Vec::<&mainstay_doctor::Finding>::new());
    let unknown = report.checks.iter().filter(|c| c.outcome == Outcome::Unknown).map(|c| c.check);
    // Whether enough was read already to judge the cache is the run's chance.
    let unknown: Vec<_> = unknown.filter(|check| *check != Check::Cache).collect();
    assert_eq!(unknown, [Check::Checksums, Check::UnusedIndexes, Check::Statements]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_slots_and_what_was_prepared_are_told() {
    let private = Private::start(&[
        "fsync=off",
        "max_prepared_transactions=5",
        "autovacuum=off",
        "shared_buffers=1MB",
        "max_wal_senders=4",
    ])
    .await;
    let db = Db::connect(&private.url).await.unwrap();
    let report = private.report(quick()).await;
    let settings: Vec<_> = report
        .check(Check::Settings)
        .unwrap()
        .findings
        .iter()
        .map(|f| (f.code, f.severity, f.what.as_str()))
        .collect();
    let bad = Severity::Error;
    assert_eq!(
        settings,
        [
            (Code::DoctorSettingUnsafe, bad, "fsync is off"),
            (Code::DoctorSettingUnsafe, bad, "full_page_writes is off"),
            (Code::DoctorSettingPoor, bad, "autovacuum is off"),
            (Code::DoctorSettingUnsafe, Severity::Hint, "synchronous_commit is off"),
        ]
    );
    assert_eq!(report.check(Check::ReplicationSlots).unwrap().detail, "there is none");

    run(&db, "SELECT pg_create_physical_replication_slot('left', true)").await;
    for _ in 0..6 {
        run(&db, "CREATE TABLE IF NOT EXISTS t (a text); INSERT INTO t VALUES ('x')").await;
        run(&db, "SELECT pg_switch_wal()").await;
    }
    run(&db, "CREATE TABLE p (a int)").await;
    run(&db, "BEGIN; INSERT INTO p VALUES (1); PREPARE TRANSACTION 'it''s left'").await;
    let report = private.report(quick()).await;
    let slot = &report.check(Check::ReplicationSlots).unwrap().findings;
    assert_eq!((slot[0].code, slot[0].severity), (Code::DoctorSlotRetains, Severity::Warning));
    assert!(slot[0].what.starts_with("the slot left retains 9"), "{}", slot[0]);
    let left = &report.check(Check::PreparedTransactions).unwrap().findings;
    assert_eq!(left[0].code, Code::DoctorTransactionPrepared);
    run(&db, slot[0].fix.lines().next().unwrap()).await;
    run(&db, &left[0].fix).await;

    // A cache that is too small for what is read.
    run(
        &db,
        "CREATE TABLE large AS SELECT n, repeat('x', 500) AS x FROM generate_series(1, 20000) n",
    )
    .await;
    for _ in 0..8 {
        run(&db, "SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM large").await;
    }
    let mut report = private.report(Options { cache_reads_min: 1_000, ..quick() }).await;
    for _ in 0..100 {
        if report.check(Check::Cache).unwrap().outcome == Outcome::Found {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(50)).await;
        report = private.report(Options { cache_reads_min: 1_000, ..quick() }).await;
    }
    let cache = report.check(Check::Cache).unwrap();
    assert_eq!(cache.findings.first().map(|f| f.code), Some(Code::DoctorCacheMisses), "{cache:?}");
    for check in [Check::ReplicationSlots, Check::PreparedTransactions] {
        assert_eq!(report.check(check).unwrap().outcome, Outcome::Good);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_nearly_full_is_left_alone() {
    let private = Private::start(&["max_connections=10", "superuser_reserved_connections=0"]).await;
    let db = Db::connect(&private.url).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(db.session().await.unwrap());
    }
    held[0].run("SET application_name = 'hoarder'; BEGIN; SELECT 1").await.unwrap();
    let report = private.report(quick()).await;
    let stopped = report.stopped.as_ref().unwrap();
    assert_eq!(stopped.code, Code::DoctorStopped);
    assert!(stopped.what.contains("of 10 connections are in use"), "{stopped}");
    assert_eq!(report.check(Check::Connections).unwrap().findings[0].severity, Severity::Error);
    // What says why is asked all the same.
    assert!(report.check(Check::Transactions).unwrap().findings[0].what.contains("hoarder"));
    assert_eq!(report.check(Check::UnusedIndexes).unwrap().outcome, Outcome::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_an_old_transaction_keeps_from_being_frozen_are_told() {
    let private =
        Private::start(&["autovacuum_freeze_max_age=100000", "synchronous_commit=off"]).await;
    let db = Db::connect(&private.url).await.unwrap();
    run(&db, "CREATE TABLE t (a int)").await;
    let mut holder = db.session().await.unwrap();
    holder
        .run("SET idle_in_transaction_session_timeout = 0; BEGIN; INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let mut burning = db.session().await.unwrap();
    burning.run("SET statement_timeout = 0").await.unwrap();
    let burn =
        "DO $$ BEGIN FOR i IN 1..210000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$";
    burning.run(burn).await.unwrap();
    let report = private.report(Options { only: vec![Check::Wraparound], ..quick() }).await;
    let found = &report.check(Check::Wraparound).unwrap().findings;
    assert_eq!((found[0].code, found[0].severity), (Code::DoctorWraparound, Severity::Warning));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_top_statements_are_read_without_their_values() {
    let private = Private::start(&["shared_preload_libraries=pg_stat_statements"]).await;
    let error = top_statements(&private.url, quick()).await.unwrap_err();
    assert!(error.what().contains("CREATE EXTENSION"), "{error:?}");
    let db = Db::connect(&private.url).await.unwrap();
    run(&db, "CREATE SCHEMA \"Ünder\"; CREATE EXTENSION pg_stat_statements SCHEMA \"Ünder\"").await;
    run(&db, "CREATE TABLE secrets (a text)").await;
    for _ in 0..3 {
        run(&db, "SELECT * FROM secrets WHERE a = 'hunter2'").await;
    }
    let statements = top_statements(&private.url, quick()).await.unwrap();
    let ours = statements.iter().find(|s| s.text.contains("FROM secrets")).unwrap();
    assert_eq!((ours.calls, ours.text.as_str()), (3, "SELECT * FROM secrets WHERE a = $1"));
    let sorted = statements.windows(2).all(|pair| pair[0].total_ms() >= pair[1].total_ms() - 1e-6);
    assert!(sorted, "{statements:#?}");
}
