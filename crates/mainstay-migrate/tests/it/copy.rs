//! Data moved from one engine to another, with everything that each can hold.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mainstay_core::Code;
use mainstay_db::Db;
use mainstay_migrate::copy::{Copy, CopyTold};
use mainstay_testkit::Fresh;

use crate::support::{Engine, Here, on_every_engine, refused};

on_every_engine!(
    tables_and_columns_are_matched_by_name,
    a_run_that_was_cut_off_is_gone_on_with,
    what_does_not_match_is_named,
    rows_of_somebody_else_are_not_mixed_with,
    a_value_that_does_not_fit_is_named_and_not_shown,
    a_row_that_the_target_refuses_is_named,
    what_refers_comes_after_what_it_refers_to,
    a_circle_is_copied_too,
    rows_that_refer_to_none_are_found,
    tables_without_a_key_go_at_once,
    what_the_target_changes_is_found,
);

/// A database of its own, beside the test's.
struct Other {
    db: Db,
    fresh: Fresh,
}

impl Other {
    async fn new(engine: Engine, sql: &str) -> Self {
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        db.session().await.unwrap().run(sql).await.unwrap();
        Self { db, fresh }
    }

    async fn run(&self, sql: &str) {
        self.db.session().await.unwrap().run(sql).await.unwrap();
    }

    async fn end(self) {
        self.db.close(std::time::Duration::from_secs(5)).await.unwrap();
        self.fresh.remove().await;
    }
}

async fn sqlite(sql: &str) -> Other {
    Other::new(Engine::Sqlite, sql).await
}

const PEOPLE: &str =
    "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20), n INT)";

fn many(rows: usize) -> String {
    format!(
        "{PEOPLE}; WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {rows}) \
         INSERT INTO people SELECT n * 3, 'person ' || n, n FROM i"
    )
}

async fn texts(db: &Db, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = db.session().await.unwrap().rows(sql, Vec::new()).await.unwrap();
    let columns = |row: &mainstay_db::Row| row.columns().len();
    rows.iter().map(|row| (0..columns(row)).map(|n| row.at(n).unwrap()).collect()).collect()
}

async fn tables_and_columns_are_matched_by_name(here: Here) {
    let from = sqlite(&many(25)).await;
    // In another order and case, with a column more that may be left out.
    here.run(
        "CREATE TABLE People (extra INT, N INT, Name VARCHAR(20), id BIGINT NOT NULL PRIMARY KEY)",
    )
    .await;
    here.run("CREATE TABLE flyway_schema_history (x INT)").await;
    from.run("CREATE TABLE mainstay_change (x INT)").await;
    let copied = Copy::new(&from.db, &here.db).batch(10).run().await.unwrap();
    assert_eq!((copied.tables.len(), copied.tables[0].rows), (1, 25));
    let sum = copied.tables[0].checksum.clone();
    assert_eq!(
        here.count("SELECT COUNT(*) FROM People WHERE Name = 'person 7' AND id = 21").await,
        1
    );
    // Again, it compares alone.
    let again = Copy::new(&from.db, &here.db).batch(7).run().await.unwrap();
    assert_eq!(again.tables[0].checksum, sum);
    from.run("UPDATE people SET n = 0 WHERE id = 33").await;
    let report = refused(Copy::new(&from.db, &here.db).run().await, Code::CopyDiffers);
    assert!(report.contains("id = 33"), "{report}");
    from.end().await;
}

async fn a_run_that_was_cut_off_is_gone_on_with(here: Here) {
    let from = sqlite(&many(95)).await;
    here.run(PEOPLE).await;
    let stop = Arc::new(tokio::sync::Notify::new());
    let (batches, told) = (Arc::new(AtomicU64::new(0)), Arc::clone(&stop));
    let copy = Copy::new(&from.db, &here.db).batch(10).on(move |event| {
        if matches!(event, CopyTold::Batch { .. }) && batches.fetch_add(1, Ordering::SeqCst) == 3 {
            told.notify_one();
        }
    });
    tokio::select! {
        biased;
        () = stop.notified() => {}
        done = copy.run() => panic!("it was to be cut off: {done:?}"),
    }
    // Rows and cursor never part, whatever became of the batch under way.
    let apart = "SELECT (SELECT COUNT(*) FROM people) - (SELECT rows_done FROM mainstay_copy)";
    assert_eq!(here.count(apart).await, 0);
    let before = here.count("SELECT COUNT(*) FROM people").await;
    assert!((40..95).contains(&before), "{before}");
    let begun = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&begun);
    let copy = Copy::new(&from.db, &here.db).batch(10).on(move |event| {
        if let CopyTold::Table { rows_done, rows_total, .. } = event {
            kept.lock().unwrap().push((rows_done, rows_total));
        }
    });
    assert_eq!(copy.run().await.unwrap().tables[0].rows, 95);
    let begun = begun.lock().unwrap().clone();
    assert!(matches!(begun[..], [(40.., 95)]), "{begun:?}");
    assert_eq!(here.count("SELECT COUNT(*) FROM people").await, 95);
    from.end().await;
}

async fn what_does_not_match_is_named(here: Here) {
    let from =
        sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT, y TEXT); CREATE TABLE b (id INT)")
            .await;
    here.run("CREATE TABLE a (id BIGINT PRIMARY KEY, x VARCHAR(9), z INT NOT NULL)").await;
    here.run("CREATE TABLE c (id INT)").await;
    let report = refused(Copy::new(&from.db, &here.db).run().await, Code::CopySource);
    for part in [
        "the target's a lacks y",
        "the target's a has z, which must be given",
        "the target has no table b",
        "the target has the table c, and the source has not",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let report = refused(Copy::new(&from.db, &here.db).table("d").run().await, Code::CopySource);
    assert!(report.contains("the source has no table d"), "{report}");
    from.end().await;
}

async fn rows_of_somebody_else_are_not_mixed_with(here: Here) {
    let from = sqlite(&many(3)).await;
    here.run(PEOPLE).await;
    here.run("INSERT INTO people VALUES (1, 'Ada', 1)").await;
    let report = refused(Copy::new(&from.db, &here.db).run().await, Code::CopySource);
    assert!(report.contains("people has rows in the target already"), "{report}");
    here.run("DELETE FROM people").await;
    Copy::new(&from.db, &here.db).run().await.unwrap();
    let other = sqlite(&many(4)).await;
    let report = refused(Copy::new(&other.db, &here.db).run().await, Code::CopySource);
    assert!(report.contains("from another source"), "{report}");
    // Emptied, it is copied anew.
    here.run("DELETE FROM people").await;
    assert_eq!(Copy::new(&other.db, &here.db).run().await.unwrap().tables[0].rows, 4);
    from.end().await;
    other.end().await;
}

async fn a_value_that_does_not_fit_is_named_and_not_shown(here: Here) {
    // SQLite takes anything, and so does a copy to it.
    if here.db.engine() == mainstay_db::Engine::Sqlite {
        return;
    }
    let from = sqlite(&many(30)).await;
    from.run("UPDATE people SET n = 'secret' WHERE id = 60").await;
    here.run(PEOPLE).await;
    let report = refused(Copy::new(&from.db, &here.db).batch(10).run().await, Code::CopyRow);
    assert!(report.contains("people.n of id = 60"), "{report}");
    assert!(!report.contains("secret"), "{report}");
    assert_eq!(here.count("SELECT COUNT(*) FROM people").await, 10);
    from.run("UPDATE people SET n = 20 WHERE id = 60").await;
    assert_eq!(Copy::new(&from.db, &here.db).batch(10).run().await.unwrap().tables[0].rows, 30);
    from.end().await;
}

async fn a_row_that_the_target_refuses_is_named(here: Here) {
    let from = sqlite(&many(30)).await;
    let more = "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20), n INT, \
                CHECK (n <> 17))";
    here.run(more).await;
    let report = refused(Copy::new(&from.db, &here.db).run().await, Code::CopyRow);
    assert!(report.contains("id = 51"), "{report}");
    assert!(report.contains("a check"), "{report}");
    assert_eq!(here.count("SELECT COUNT(*) FROM people").await, 0);
    from.end().await;
}

async fn what_refers_comes_after_what_it_refers_to(here: Here) {
    // By name, the first refers to the last.
    let schema = "CREATE TABLE z (id BIGINT NOT NULL PRIMARY KEY); \
                  CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY, z_id BIGINT NOT NULL, \
                  FOREIGN KEY (z_id) REFERENCES z (id))";
    let from = sqlite(schema).await;
    from.run("INSERT INTO z VALUES (1), (2); INSERT INTO a VALUES (7, 2)").await;
    here.run(schema).await;
    let copied = Copy::new(&from.db, &here.db).run().await.unwrap();
    let names: Vec<_> = copied.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["z", "a"]);
    from.end().await;
}

async fn a_circle_is_copied_too(here: Here) {
    // Each row refers to one that comes later.
    let table = "CREATE TABLE nodes (id BIGINT NOT NULL PRIMARY KEY, next_id BIGINT, \
                 FOREIGN KEY (next_id) REFERENCES nodes (id))";
    let from = sqlite(table).await;
    from.run("INSERT INTO nodes VALUES (1, 2), (2, 3), (3, NULL)").await;
    here.run(table).await;
    assert_eq!(Copy::new(&from.db, &here.db).batch(1).run().await.unwrap().tables[0].rows, 3);
    from.end().await;
}

async fn rows_that_refer_to_none_are_found(here: Here) {
    let from = sqlite("CREATE TABLE nodes (id BIGINT NOT NULL PRIMARY KEY, next_id BIGINT)").await;
    from.run("INSERT INTO nodes VALUES (1, 2), (2, 77), (3, NULL)").await;
    here.run(
        "CREATE TABLE nodes (id BIGINT NOT NULL PRIMARY KEY, next_id BIGINT, \
         CONSTRAINT to_next FOREIGN KEY (next_id) REFERENCES nodes (id))",
    )
    .await;
    let report = refused(Copy::new(&from.db, &here.db).run().await, Code::CopyDiffers);
    assert!(report.contains("nodes refer to rows that are not there"), "{report}");
    let named = report.contains("to_next") || here.db.engine() == mainstay_db::Engine::Sqlite;
    assert!(named, "{report}");
    from.end().await;
}

async fn tables_without_a_key_go_at_once(here: Here) {
    let from = Other::new(
        Engine::Postgres,
        "CREATE TABLE log (what TEXT); INSERT INTO log SELECT 'line ' || n FROM generate_series(1, 50) n",
    )
    .await;
    here.run("CREATE TABLE log (what TEXT)").await;
    assert_eq!(Copy::new(&from.db, &here.db).batch(10).run().await.unwrap().tables[0].rows, 50);
    assert_eq!(here.count("SELECT COUNT(DISTINCT what) FROM log").await, 50);
    from.end().await;
}

async fn what_the_target_changes_is_found(here: Here) {
    let from = sqlite(&many(12)).await;
    here.run(PEOPLE).await;
    here.run(match here.db.engine() {
        mainstay_db::Engine::Postgres => {
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN IF NEW.id = 15 THEN NEW.name := 'put in by a trigger'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER changes BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION change()"
        }
        mainstay_db::Engine::MySql => {
            "CREATE TRIGGER changes BEFORE INSERT ON people FOR EACH ROW \
             SET NEW.name = IF(NEW.id = 15, 'put in by a trigger', NEW.name)"
        }
        mainstay_db::Engine::Sqlite => {
            "CREATE TRIGGER changes AFTER INSERT ON people WHEN NEW.id = 15 \
             BEGIN UPDATE people SET name = 'put in by a trigger' WHERE id = 15; END"
        }
    })
    .await;
    let report = refused(Copy::new(&from.db, &here.db).run().await, Code::CopyDiffers);
    assert!(report.contains("people differs") && report.contains("id = 15"), "{report}");
    assert!(!report.contains("put in"), "{report}");
    from.end().await;
}

const EVERYTHING_SQLITE: &str = r#"
CREATE TABLE things (
    id INTEGER PRIMARY KEY AUTOINCREMENT, big BIGINT, yes BOOLEAN, price TEXT, ratio REAL, name TEXT,
    padded CHAR(5), bytes BLOB, day TEXT, moment TEXT, wall TEXT, clock TEXT, doc TEXT, uid BLOB, other TEXT
);
INSERT INTO things VALUES
 (1, 9223372036854775807, 1, '12345678901234.5678', 0.1, 'plain', 'ab', x'00ff5c', '2024-02-29',
  '2024-01-02T03:04:05.123456789+02:00', '2024-01-02 03:04:05.5', '23:59:59.25',
  '{ "b": [1, 2.50, 1e2, null], "a": "é\n" }', x'000102030405060708090a0b0c0d0e0f',
  '00112233-4455-6677-8899-AABBCCDDEEFF'),
 (2, -9223372036854775808, 0, '-0.10', -1.5e300, '', '', x'', '1970-01-01', '1970-01-01 00:00:00 UTC',
  '9999-12-31 23:59:59', '00:00', '[]', NULL, NULL),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (40, 0, 'true', '7', 3, 'tab' || char(9) || 'line' || char(10) || 'cr' || char(13) || 'back\slash \N ''q''',
  'x    ', x'27', '2024-01-02 00:00:00', '2024-01-02', '2024-01-02T00:00', '01:02:03', '"s"', NULL, NULL),
 (41, 1, 'f', '1e3', 1e-7, 'Zürich 😀 日本', 'ü', NULL, NULL, NULL, NULL, NULL, '1', NULL, NULL);
"#;

const EVERYTHING_POSTGRES: &str = "CREATE TABLE things (\
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, big BIGINT, yes BOOLEAN, \
    price NUMERIC(20, 4), ratio DOUBLE PRECISION, name TEXT, padded CHAR(5), bytes BYTEA, day DATE, \
    moment TIMESTAMPTZ, wall TIMESTAMP, clock TIME, doc JSONB, uid UUID, other UUID)";

const EVERYTHING_MARIADB: &str = "CREATE TABLE things (\
    id BIGINT AUTO_INCREMENT PRIMARY KEY, big BIGINT, yes BOOLEAN, price DECIMAL(20, 4), ratio DOUBLE, \
    name TEXT CHARACTER SET utf8mb4, padded CHAR(5) CHARACTER SET utf8mb4, bytes BLOB, day DATE, \
    moment DATETIME(6), wall DATETIME(6), clock TIME(6), doc LONGTEXT CHARACTER SET utf8mb4, \
    uid BINARY(16), other VARCHAR(36))";

const EVERYTHING_BACK: &str = "CREATE TABLE things (\
    id INTEGER PRIMARY KEY, big BIGINT, yes BOOLEAN, price TEXT, ratio REAL, name TEXT, padded TEXT, \
    bytes BLOB, day TEXT, moment TEXT, wall TEXT, clock TEXT, doc TEXT, uid TEXT, other TEXT)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_sqlite_holds_goes_to_postgres_and_on_and_back() {
    let first = sqlite(EVERYTHING_SQLITE).await;
    let postgres = Other::new(Engine::Postgres, EVERYTHING_POSTGRES).await;
    let copied = Copy::new(&first.db, &postgres.db).batch(2).run().await.unwrap();
    assert_eq!(copied.tables[0].rows, 5);
    let shown = texts(
        &postgres.db,
        "SELECT big::text, yes::text, price::text, ratio::text, day::text, \
         to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), wall::text, clock::text, \
         doc::text, uid::text, other::text, encode(bytes, 'hex') FROM things WHERE id = 1",
    )
    .await;
    let expected = [
        "9223372036854775807",
        "true",
        "12345678901234.5678",
        "0.1",
        "2024-02-29",
        "2024-01-02 01:04:05.123456",
        "2024-01-02 03:04:05.5",
        "23:59:59.25",
        "{\"a\": \"é\\n\", \"b\": [1, 2.50, 100, null]}",
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "00112233-4455-6677-8899-aabbccddeeff",
        "00ff5c",
    ];
    let shown: Vec<_> = shown[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(shown, expected);
    let odd = texts(&postgres.db, "SELECT name FROM things WHERE id = 40").await;
    assert_eq!(odd[0][0].as_deref(), Some("tab\tline\ncr\rback\\slash \\N 'q'"));
    let empty = texts(&postgres.db, "SELECT name FROM things WHERE id IN (2, 3) ORDER BY id").await;
    assert_eq!(empty, [vec![Some(String::new())], vec![None]]);
    // The next number is one that is free.
    let sql = "INSERT INTO things (name) VALUES ('next') RETURNING id::text";
    assert_eq!(texts(&postgres.db, sql).await, [vec![Some("42".to_owned())]]);
    postgres.run("DELETE FROM things WHERE id = 42").await;

    postgres_to_mariadb_and_back(&postgres).await;
    for other in [first, postgres] {
        other.end().await;
    }
}

async fn postgres_to_mariadb_and_back(postgres: &Other) {
    let mariadb = Other::new(Engine::MariaDb, EVERYTHING_MARIADB).await;
    let copied = Copy::new(&postgres.db, &mariadb.db).batch(2).table("things").run().await.unwrap();
    assert_eq!(copied.tables[0].rows, 5);
    let sql = "SELECT HEX(uid), CAST(price AS CHAR), CAST(yes AS CHAR) FROM things WHERE id = 1";
    let shown = texts(&mariadb.db, sql).await;
    let expected = ["000102030405060708090A0B0C0D0E0F", "12345678901234.5678", "1"];
    let shown: Vec<_> = shown[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(shown, expected);

    let other_postgres = Other::new(Engine::Postgres, EVERYTHING_POSTGRES).await;
    Copy::new(&mariadb.db, &other_postgres.db).batch(3).run().await.unwrap();
    let all = "SELECT t::text FROM things t ORDER BY id";
    assert_eq!(texts(&postgres.db, all).await, texts(&other_postgres.db, all).await);

    let back = sqlite(EVERYTHING_BACK).await;
    Copy::new(&other_postgres.db, &back.db).batch(2).table("things").run().await.unwrap();
    let sql = "SELECT CAST(big AS TEXT), typeof(big), price, hex(bytes), CAST(yes AS TEXT) \
               FROM things WHERE id = 1";
    let shown = texts(&back.db, sql).await;
    let expected = ["9223372036854775807", "integer", "12345678901234.5678", "00FF5C", "1"];
    let shown: Vec<_> = shown[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(shown, expected);
    for other in [mariadb, other_postgres, back] {
        other.end().await;
    }
}

/// Bit for bit.
async fn reals(db: &Db) -> Vec<u64> {
    let sql = "SELECT v FROM t WHERE typeof(v) = 'real' ORDER BY k, n";
    let rows = db.session().await.unwrap().rows(sql, Vec::new()).await.unwrap();
    rows.iter().map(|row| row.at::<f64>(0).unwrap().to_bits()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_to_sqlite_keeps_what_is_stored_whatever_the_column_says() {
    let schema = "CREATE TABLE t (k TEXT, n INT, v, PRIMARY KEY (k, n)) WITHOUT ROWID";
    let from = sqlite(schema).await;
    from.run(
        "INSERT INTO t VALUES ('a', 1, 1), ('a', 2, 1.0), ('a', 3, '1'), ('b', 1, x'31'), \
         ('b', 2, 9e999), ('it''s', 1, 'nul' || char(0) || 'in it'), ('z', 'text', 0.1), \
         ('y', 1, 0.1 + 0.2), ('y', 2, 1.7976931348623157e308), ('y', 3, 5e-324), ('y', 0.1 + 0.2, -1e-7)",
    )
    .await;
    let to = sqlite(schema).await;
    assert_eq!(Copy::new(&from.db, &to.db).batch(2).run().await.unwrap().tables[0].rows, 11);
    let all = "SELECT k, typeof(n), typeof(v), quote(v) FROM t ORDER BY k, n";
    assert_eq!(texts(&from.db, all).await, texts(&to.db, all).await);
    let (left, right) = (reals(&from.db).await, reals(&to.db).await);
    assert!(left.len() >= 6, "{left:?}");
    assert_eq!(left, right);
    from.end().await;
    to.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_are_gone_through_on_mariadb() {
    let schema = "CREATE TABLE t (a VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL, \
                  b BIGINT UNSIGNED NOT NULL, c VARBINARY(4) NOT NULL, PRIMARY KEY (a, b, c))";
    let from = Other::new(Engine::MariaDb, schema).await;
    from.run(
        "INSERT INTO t VALUES ('a', 18446744073709551615, x'00'), ('a', 18446744073709551614, x'ff'), \
         ('a', 18446744073709551614, x'00'), ('Zoë', 1, x''), ('back\\\\slash', 1, x'27')",
    )
    .await;
    let to = Other::new(Engine::MariaDb, schema).await;
    assert_eq!(Copy::new(&from.db, &to.db).batch(1).run().await.unwrap().tables[0].rows, 5);
    let narrow = Other::new(
        Engine::Postgres,
        "CREATE TABLE t (a TEXT, b BIGINT, c BYTEA, PRIMARY KEY (a, b, c))",
    )
    .await;
    let report = refused(Copy::new(&from.db, &narrow.db).run().await, Code::CopyRow);
    assert!(report.contains("t.b of") && report.contains("does not fit bigint"), "{report}");
    for other in [from, to, narrow] {
        other.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enum_of_mariadbs_is_gone_through_in_its_own_order() {
    let schema = "CREATE TABLE t (e ENUM('z', 'b', 'a') NOT NULL, s SET('y', 'x') NOT NULL, n INT, \
                  PRIMARY KEY (e, s))";
    let from = Other::new(Engine::MariaDb, schema).await;
    from.run(
        "INSERT INTO t VALUES ('a', 'x', 1), ('a', 'x,y', 2), ('z', '', 3), ('b', 'y', 4), \
         ('z', 'y', 5), ('b', 'x', 6)",
    )
    .await;
    let to = Other::new(Engine::MariaDb, schema).await;
    assert_eq!(Copy::new(&from.db, &to.db).batch(1).run().await.unwrap().tables[0].rows, 6);
    let all = "SELECT CONCAT(e, ' ', s, ' ', n) FROM t ORDER BY n";
    assert_eq!(texts(&from.db, all).await, texts(&to.db, all).await);
    for other in [from, to] {
        other.end().await;
    }
}

/// Of more than half a packet, MariaDB's HEX() is NULL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bytes_of_mariadbs_do_not_become_null() {
    let schema = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, b LONGBLOB, p POINT)";
    let from = Other::new(Engine::MariaDb, schema).await;
    from.run("INSERT INTO t VALUES (1, REPEAT('x', 8500000), POINT(1, 2)), (2, '', NULL)").await;
    let to = Other::new(
        Engine::Postgres,
        "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, b BYTEA, p BYTEA)",
    )
    .await;
    assert_eq!(Copy::new(&from.db, &to.db).run().await.unwrap().tables[0].rows, 2);
    let long = "SELECT octet_length(b)::text, octet_length(p)::text FROM t WHERE id = 1";
    let lengths = ["8500000", "25"].map(|length| Some(length.to_owned()));
    assert_eq!(texts(&to.db, long).await, [lengths.to_vec()]);
    for other in [from, to] {
        other.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_float_that_would_lose_digits_is_refused() {
    let from = sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL)").await;
    from.run("INSERT INTO t VALUES (1, 0.5), (2, 1e300)").await;
    let to = Other::new(Engine::Postgres, "CREATE TABLE t (id BIGINT PRIMARY KEY, r REAL)").await;
    let report = refused(Copy::new(&from.db, &to.db).run().await, Code::CopyRow);
    assert!(report.contains("t.r of id = 2"), "{report}");
    from.run("UPDATE t SET r = 0.1 WHERE id = 2").await;
    refused(Copy::new(&from.db, &to.db).run().await, Code::CopyRow);
    from.run("UPDATE t SET r = 0.25 WHERE id = 2").await;
    assert_eq!(Copy::new(&from.db, &to.db).run().await.unwrap().tables[0].rows, 2);
    for other in [from, to] {
        other.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_only_the_default_names_goes_on_too() {
    let from =
        sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY)")
            .await;
    from.run("INSERT INTO a VALUES (40); INSERT INTO b VALUES (7)").await;
    let to = Other::new(
        Engine::Postgres,
        "CREATE SEQUENCE ids; CREATE TABLE a (id BIGINT PRIMARY KEY DEFAULT nextval('ids')); \
         CREATE TABLE b (id BIGINT PRIMARY KEY DEFAULT nextval('ids'))",
    )
    .await;
    Copy::new(&from.db, &to.db).run().await.unwrap();
    let next = texts(&to.db, "SELECT nextval('ids')::text").await;
    assert_eq!(next, [vec![Some("41".to_owned())]]);
    for other in [from, to] {
        other.end().await;
    }
}
