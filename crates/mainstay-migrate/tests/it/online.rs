//! Changes without downtime, end to end: what old and new code write between the phases, what is
//! refused, and what is left after a kill.

mod safety;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mainstay_core::{Code, Result};
use mainstay_db::{Db, Engine as Sql};
use mainstay_migrate::online::{Change, Online, OnlineOptions, Phase, Status};
use mainstay_testkit::Fresh;

use crate::support::{Engine, Here, Kill, on_every_engine, refused};

on_every_engine!(
    a_column_is_added_and_filled,
    a_constant_column_is_there_at_once,
    what_fill_leaves_null_is_named,
    a_column_is_renamed,
    a_column_gets_another_type,
    a_column_is_split,
    duplicates_stand_in_the_way_of_a_unique_constraint,
    orphans_stand_in_the_way_of_a_foreign_key,
    an_index_is_added,
    phases_come_in_their_order,
    what_is_aborted_is_as_before,
    what_uses_the_column_is_named,
    a_plan_changes_nothing,
    one_process_works_on_a_change,
);

const ORDERS: &str =
    "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, total INT NOT NULL, note VARCHAR(20))";

fn online(db: &Db) -> Online {
    let options = OnlineOptions {
        duty: 1.0,
        batch_target: Duration::from_millis(1),
        ..OnlineOptions::default()
    };
    Online::new(db).options(options).on(|_| ())
}

fn change(name: &str, table: &str, rest: &str) -> Change {
    let text = format!("name = \"{name}\"\ntable = \"{table}\"\n{rest}");
    Change::parse("change.toml", &text).unwrap()
}

/// `orders` with rows 1 to `n`.
async fn orders(here: &Here, n: usize) {
    here.run(ORDERS).await;
    let rows: Vec<_> = (1..=n).map(|id| format!("({id}, {}, 'n')", id % 1000)).collect();
    for rows in rows.chunks(500) {
        here.run(&format!("INSERT INTO orders VALUES {}", rows.join(", "))).await;
    }
}

async fn sent(here: &Here, sql: &str) -> Result<u64> {
    here.db.session().await.unwrap().run(sql).await
}

async fn status(here: &Here, name: &str) -> Status {
    let all = online(&here.db).status().await.unwrap();
    all.into_iter().find(|status| status.name == name).unwrap()
}

async fn has(here: &Here, n: i64, of: &str) {
    assert_eq!(here.count(&format!("SELECT COUNT(*) FROM {of}")).await, n, "{of}");
}

async fn to_the_end(here: &Here, change: &Change) {
    let online = online(&here.db);
    online.backfill(change.name()).await.unwrap();
    online.contract(change.name(), true).await.unwrap();
    assert_eq!(status(here, change.name()).await.phase, Phase::Done);
}

async fn a_column_is_added_and_filled(here: Here) {
    orders(&here, 1500).await;
    let change = change(
        "orders-label",
        "orders",
        "[add_column]\ncolumn = \"label\"\ntype = \"varchar(20)\"\nfill = \"'T' || total\"\n\
         default = \"'none'\"\n",
    );
    online(&here.db).start(&change).await.unwrap();
    assert_eq!(status(&here, "orders-label").await.phase, Phase::Backfill);
    // Old code does not know the column; new code does; old rows are written meanwhile.
    here.run("INSERT INTO orders (id, total) VALUES (9001, 5)").await;
    here.run("INSERT INTO orders (id, total, label) VALUES (9002, 6, 'own')").await;
    here.run("UPDATE orders SET total = 7 WHERE id = 3").await;
    has(&here, 1, "orders WHERE id = 9001 AND label = 'T5'").await;
    to_the_end(&here, &change).await;
    has(&here, 0, "orders WHERE label IS NULL").await;
    has(&here, 1, "orders WHERE id = 9002 AND label = 'own'").await;
    has(&here, 1, "orders WHERE id = 3 AND label = 'T7'").await;
    has(&here, 1, "orders WHERE id = 1200 AND label = 'T200'").await;
    let null = sent(&here, "UPDATE orders SET label = NULL WHERE id = 1").await;
    refused(null, Code::NotNull);
    here.run("INSERT INTO orders (id, total) VALUES (9003, 8)").await;
    has(&here, 1, "orders WHERE id = 9003 AND label = 'none'").await;
    // Twice is once.
    online(&here.db).start(&change).await.unwrap();
    to_the_end(&here, &change).await;
}

async fn a_constant_column_is_there_at_once(here: Here) {
    orders(&here, 10).await;
    let change = change(
        "orders-currency",
        "orders",
        "[add_column]\ncolumn = \"currency\"\ntype = \"varchar(3)\"\nfill = \"'EUR'\"\n\
         default = \"'EUR'\"\n",
    );
    assert_eq!(online(&here.db).plan(&change).await.unwrap().phases.len(), 1);
    online(&here.db).start(&change).await.unwrap();
    assert_eq!(status(&here, "orders-currency").await.phase, Phase::Done);
    here.run("INSERT INTO orders (id, total) VALUES (9001, 5)").await;
    has(&here, 11, "orders WHERE currency = 'EUR'").await;
    refused(sent(&here, "UPDATE orders SET currency = NULL").await, Code::NotNull);
}

async fn what_fill_leaves_null_is_named(here: Here) {
    orders(&here, 10).await;
    here.run("UPDATE orders SET note = NULL WHERE id = 4").await;
    let change = change(
        "orders-note",
        "orders",
        "[add_column]\ncolumn = \"remark\"\ntype = \"varchar(20)\"\nfill = \"note\"\n",
    );
    let online = online(&here.db);
    online.start(&change).await.unwrap();
    let report = refused(online.backfill("orders-note").await, Code::ExpandData);
    assert!(report.contains("id=4") || report.contains("rowid=4"), "{report}");
    here.run("UPDATE orders SET note = 'x' WHERE id = 4").await;
    to_the_end(&here, &change).await;
    has(&here, 1, "orders WHERE id = 4 AND remark = 'x'").await;
}

async fn a_column_is_renamed(here: Here) {
    orders(&here, 1500).await;
    here.run("CREATE INDEX orders_total ON orders (total, id)").await;
    let change = change(
        "orders-cents",
        "orders",
        "[rename_column]\ncolumn = \"total\"\nto = \"total_cents\"\n",
    );
    online(&here.db).start(&change).await.unwrap();
    here.run("INSERT INTO orders (id, total) VALUES (9001, 51)").await;
    here.run("INSERT INTO orders (id, total_cents) VALUES (9002, 52)").await;
    here.run("INSERT INTO orders (id, total, total_cents) VALUES (9003, 1, 53)").await;
    here.run("UPDATE orders SET total = 11 WHERE id = 1").await;
    here.run("UPDATE orders SET total_cents = 12 WHERE id = 2").await;
    has(&here, 5, "orders WHERE total = total_cents AND total IN (51, 52, 53, 11, 12)").await;
    // Of SQLite's, a trigger refuses: the table lets the old column be NULL meanwhile.
    let code = if here.db.engine() == Sql::Sqlite { Code::Check } else { Code::NotNull };
    refused(sent(&here, "INSERT INTO orders (id) VALUES (9009)").await, code);
    online(&here.db).backfill("orders-cents").await.unwrap();
    has(&here, 1503, "orders WHERE total = total_cents").await;
    here.run("UPDATE orders SET total = 21 WHERE id = 1").await;
    here.run("UPDATE orders SET total_cents = 22 WHERE id = 2").await;
    has(&here, 1503, "orders WHERE total = total_cents").await;
    to_the_end(&here, &change).await;
    assert!(sent(&here, "SELECT total FROM orders").await.is_err());
    has(&here, 1, "orders WHERE id = 2 AND total_cents = 22").await;
    refused(sent(&here, "INSERT INTO orders (id) VALUES (9009)").await, Code::NotNull);
    assert_eq!(index(&here, "orders_total").await, 1);
}

/// How many indexes of that name there are.
async fn index(here: &Here, name: &str) -> i64 {
    let of = match here.db.engine() {
        Sql::Sqlite => format!("sqlite_schema WHERE type = 'index' AND name = '{name}'"),
        Sql::Postgres => format!(
            "pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE c.relname = '{name}' AND i.indisvalid"
        ),
        Sql::MySql => format!(
            "information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
             AND INDEX_NAME = '{name}' AND SEQ_IN_INDEX = 1"
        ),
    };
    here.count(&format!("SELECT COUNT(*) FROM {of}")).await
}

async fn a_column_gets_another_type(here: Here) {
    orders(&here, 300).await;
    here.run("CREATE INDEX orders_total ON orders (total)").await;
    let change = change(
        "orders-big",
        "orders",
        "[retype_column]\ncolumn = \"total\"\ntype = \"bigint\"\nusing = \"total\"\n",
    );
    online(&here.db).start(&change).await.unwrap();
    here.run("INSERT INTO orders (id, total) VALUES (9001, 51)").await;
    here.run("INSERT INTO orders (id, total__new) VALUES (9002, 52)").await;
    here.run("UPDATE orders SET total = 11 WHERE id = 1").await;
    has(&here, 3, "orders WHERE total = total__new AND total IN (51, 52, 11)").await;
    to_the_end(&here, &change).await;
    here.run("UPDATE orders SET total = 5000000000 WHERE id = 2").await;
    has(&here, 1, "orders WHERE total = 5000000000").await;
    has(&here, 1, "orders WHERE id = 1 AND total = 11").await;
    has(&here, 1, "orders WHERE id = 9002 AND total = 52").await;
    assert!(sent(&here, "SELECT total__new FROM orders").await.is_err());
    refused(sent(&here, "INSERT INTO orders (id) VALUES (9009)").await, Code::NotNull);
    assert_eq!(index(&here, "orders_total").await, 1);
}

const SPLIT: &str = r#"
[split_column]
column = "name"
back = "first_name || ' ' || last_name"
[[split_column.into]]
column = "first_name"
type = "varchar(50)"
[split_column.into.fill]
postgres = "split_part(name, ' ', 1)"
mysql = "substring_index(name, ' ', 1)"
sqlite = "substr(name, 1, instr(name, ' ') - 1)"
[[split_column.into]]
column = "last_name"
type = "varchar(50)"
[split_column.into.fill]
postgres = "split_part(name, ' ', 2)"
mysql = "substring_index(name, ' ', -1)"
sqlite = "substr(name, instr(name, ' ') + 1)"
"#;

async fn a_column_is_split(here: Here) {
    here.run("CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(101) NOT NULL)")
        .await;
    here.run("INSERT INTO people VALUES (1, 'Ada Lovelace'), (2, 'Bob Hope'), (3, 'Cy Twombly')")
        .await;
    let change = change("people-name", "people", SPLIT);
    online(&here.db).start(&change).await.unwrap();
    here.run("INSERT INTO people (id, name) VALUES (4, 'Old Code')").await;
    here.run("INSERT INTO people (id, first_name, last_name) VALUES (5, 'New', 'Code')").await;
    // The backfill has not come to it: what is not written must not be lost.
    here.run("UPDATE people SET first_name = 'Robert' WHERE id = 2").await;
    here.run("UPDATE people SET name = 'Ada King' WHERE id = 1").await;
    has(&here, 1, "people WHERE id = 2 AND name = 'Robert Hope' AND last_name = 'Hope'").await;
    has(&here, 1, "people WHERE id = 5 AND name = 'New Code'").await;
    online(&here.db).backfill("people-name").await.unwrap();
    // Only the case of a letter.
    here.run("UPDATE people SET name = 'Cy twombly' WHERE id = 3").await;
    to_the_end(&here, &change).await;
    has(&here, 1, "people WHERE id = 1 AND first_name = 'Ada' AND last_name = 'King'").await;
    has(&here, 1, "people WHERE id = 3 AND SUBSTR(last_name, 1, 7) = 'twombly'").await;
    has(&here, 1, "people WHERE id = 4 AND first_name = 'Old' AND last_name = 'Code'").await;
    assert!(sent(&here, "SELECT name FROM people").await.is_err());
    let half = sent(&here, "INSERT INTO people (id, first_name) VALUES (6, 'x')").await;
    refused(half, Code::NotNull);
}

async fn duplicates_stand_in_the_way_of_a_unique_constraint(here: Here) {
    here.run("CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(50))").await;
    here.run(
        "INSERT INTO users VALUES (1, 'secret@x'), (2, 'b'), (3, 'secret@x'), (4, NULL), (5, NULL)",
    )
    .await;
    let rest = "[add_unique]\ncolumns = [\"email\"]\nname = \"users_email_key\"\n";
    let change = change("users-email", "users", rest);
    let report = refused(online(&here.db).start(&change).await, Code::ExpandData);
    assert!(report.contains("=1") && report.contains("=3"), "{report}");
    assert!(!report.contains("secret"), "{report}");
    here.run("UPDATE users SET email = 'c' WHERE id = 3").await;
    online(&here.db).start(&change).await.unwrap();
    assert_eq!(status(&here, "users-email").await.phase, Phase::Done);
    refused(sent(&here, "INSERT INTO users VALUES (6, 'b')").await, Code::Unique);
    assert_eq!(index(&here, "users_email_key").await, 1);
}

async fn orphans_stand_in_the_way_of_a_foreign_key(here: Here) {
    orders(&here, 3).await;
    here.run("CREATE TABLE items (id BIGINT NOT NULL PRIMARY KEY, order_id BIGINT)").await;
    here.run("INSERT INTO items VALUES (1, 1), (2, 77), (3, NULL)").await;
    let change = change(
        "items-order",
        "items",
        "[add_foreign_key]\ncolumns = [\"order_id\"]\nreferences = \"orders\"\nto = [\"id\"]\n\
         on_delete = \"cascade\"\n",
    );
    let report = refused(online(&here.db).start(&change).await, Code::ExpandData);
    assert!(report.contains("=2"), "{report}");
    here.run("UPDATE items SET order_id = 2 WHERE id = 2").await;
    online(&here.db).start(&change).await.unwrap();
    refused(sent(&here, "INSERT INTO items VALUES (4, 99)").await, Code::ForeignKey);
    here.run("DELETE FROM orders WHERE id = 1").await;
    has(&here, 2, "items").await;
}

async fn an_index_is_added(here: Here) {
    orders(&here, 3).await;
    let rest = "[add_index]\ncolumns = [\"note\", \"total\"]\nname = \"orders_note\"\n";
    let change = change("orders-note", "orders", rest);
    online(&here.db).start(&change).await.unwrap();
    assert_eq!(index(&here, "orders_note").await, 1);
    let wrong = self::change("x", "orders", "[add_index]\ncolumns = [\"nothing\"]\n");
    let report = refused(online(&here.db).start(&wrong).await, Code::ExpandPlan);
    assert!(report.contains("no column `nothing`"), "{report}");
}

async fn phases_come_in_their_order(here: Here) {
    orders(&here, 20).await;
    let rest = "[rename_column]\ncolumn = \"total\"\nto = \"cents\"\n";
    let change = change("orders-cents", "orders", rest);
    let online = online(&here.db);
    refused(online.backfill("orders-cents").await, Code::ExpandOrder);
    online.start(&change).await.unwrap();
    let early = refused(online.contract("orders-cents", true).await, Code::ExpandOrder);
    assert!(early.contains("its backfill is not done"), "{early}");
    online.backfill("orders-cents").await.unwrap();
    let report = refused(online.contract("orders-cents", false).await, Code::ExpandOrder);
    assert!(report.contains("the column orders.total"), "{report}");
    if here.db.engine() == Sql::Postgres {
        assert!(report.contains("older than the expand phase's end"), "{report}");
    }
    has(&here, 20, "orders WHERE total = cents").await;
    let other =
        self::change("orders-cents", "orders", "[rename_column]\ncolumn = \"note\"\nto = \"x\"\n");
    refused(online.start(&other).await, Code::ExpandPlan);
    online.contract("orders-cents", true).await.unwrap();
    refused(online.abort("orders-cents").await, Code::ExpandOrder);
}

async fn schema(here: &Here) -> String {
    let sql = match here.db.engine() {
        Sql::Sqlite => {
            "SELECT name || ': ' || type || \"notnull\" || coalesce(dflt_value, '') \
             FROM pragma_table_info('orders') UNION ALL \
             SELECT name FROM sqlite_schema WHERE type <> 'table' AND tbl_name = 'orders' \
             ORDER BY 1"
        }
        Sql::Postgres => {
            "SELECT attname || ': ' || attnotnull FROM pg_attribute WHERE attrelid = 'orders'::regclass \
             AND attnum > 0 AND NOT attisdropped UNION ALL SELECT indexname FROM pg_indexes \
             WHERE tablename = 'orders' UNION ALL SELECT tgname FROM pg_trigger UNION ALL \
             SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
        }
        Sql::MySql => {
            "SELECT CONCAT(COLUMN_NAME, ': ', COLUMN_TYPE, IS_NULLABLE) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'orders' UNION ALL \
             SELECT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
             AND TABLE_NAME = 'orders' UNION ALL SELECT TRIGGER_NAME FROM \
             information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1"
        }
    };
    let mut session = here.db.session().await.unwrap();
    let rows = session.rows(sql, Vec::new()).await.unwrap();
    let names = rows.iter().map(|row| row.at::<String>(0).unwrap());
    names.collect::<Vec<_>>().join("\n")
}

async fn what_is_aborted_is_as_before(here: Here) {
    orders(&here, 700).await;
    here.run("CREATE INDEX orders_total ON orders (total)").await;
    let before = schema(&here).await;
    let rest = "[rename_column]\ncolumn = \"total\"\nto = \"cents\"\n";
    let change = change("orders-cents", "orders", rest);
    let online = online(&here.db);
    online.start(&change).await.unwrap();
    online.backfill("orders-cents").await.unwrap();
    here.run("INSERT INTO orders (id, cents) VALUES (9001, 5)").await;
    assert_ne!(schema(&here).await, before);
    online.abort("orders-cents").await.unwrap();
    assert_eq!(schema(&here).await, before);
    has(&here, 1, "orders WHERE id = 9001 AND total = 5").await;
    assert!(online.status().await.unwrap().is_empty());
    // It may begin anew.
    online.start(&change).await.unwrap();
    to_the_end(&here, &change).await;
}

async fn what_uses_the_column_is_named(here: Here) {
    orders(&here, 1).await;
    here.run("CREATE VIEW dear AS SELECT id FROM orders WHERE total > 100").await;
    let online = online(&here.db);
    let rename = |column: &str| {
        change("x", "orders", &format!("[rename_column]\ncolumn = \"{column}\"\nto = \"y\"\n"))
    };
    let report = refused(online.start(&rename("total")).await, Code::ExpandPlan);
    assert!(report.contains("dear"), "{report}");
    let report = refused(online.start(&rename("id")).await, Code::ExpandPlan);
    assert!(report.contains("primary key"), "{report}");
    refused(online.start(&rename("nothing")).await, Code::ExpandPlan);
    let taken = change("x", "orders", "[rename_column]\ncolumn = \"note\"\nto = \"total\"\n");
    let report = refused(online.start(&taken).await, Code::ExpandPlan);
    assert!(report.contains("has a column `total` already"), "{report}");
    assert!(online.status().await.unwrap().is_empty());
}

async fn a_plan_changes_nothing(here: Here) {
    orders(&here, 1).await;
    let before = schema(&here).await;
    let rest = "[rename_column]\ncolumn = \"total\"\nto = \"cents\"\n";
    let plan = online(&here.db).plan(&change("orders-cents", "orders", rest)).await.unwrap();
    let phases: Vec<_> = plan.phases.iter().map(|steps| steps.phase).collect();
    assert_eq!(phases, [Phase::Expand, Phase::Backfill, Phase::Contract]);
    assert!(plan.to_string().contains("ADD COLUMN"), "{plan}");
    assert_eq!(schema(&here).await, before);
    assert!(!here.exists("mainstay_change").await);
}

async fn one_process_works_on_a_change(here: Here) {
    orders(&here, 1).await;
    let lock = here.db.advisory_lock("mainstay change orders-cents").acquire().await.unwrap();
    let rest = "[rename_column]\ncolumn = \"total\"\nto = \"cents\"\n";
    let change = change("orders-cents", "orders", rest);
    refused(online(&here.db).start(&change).await, Code::LockBusy);
    lock.release().await.unwrap();
    online(&here.db).start(&change).await.unwrap();
}

const KILLED: &str = "orders-cents";
const RENAME: &str = "[rename_column]\ncolumn = \"total\"\nto = \"cents\"\n";

/// Not a test: the process that others start, kill, and start again.
#[tokio::test]
#[ignore = "started by the tests of this file"]
async fn victim() {
    let variable = |name: &str| mainstay_core::config::variable(name).unwrap();
    let after: i64 = variable("MAINSTAY_TEST_KILL").parse().unwrap();
    let db = Db::connect(&variable("MAINSTAY_TEST_URL")).await.unwrap();
    db.observer().subscribe(Kill(AtomicI64::new(after)));
    let online = online(&db);
    match variable("MAINSTAY_TEST_PHASE").as_str() {
        "backfill" => online.backfill(KILLED).await.unwrap(),
        "contract" => online.contract(KILLED, true).await.unwrap(),
        _ => all(&online).await.unwrap(),
    }
}

async fn all(online: &Online) -> Result<()> {
    online.start(&change(KILLED, "orders", RENAME)).await?;
    online.backfill(KILLED).await?;
    online.contract(KILLED, true).await
}

/// Whether it was killed.
async fn run_victim(url: &str, phase: &str, after: i64) -> bool {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "online::victim", "--ignored", "--nocapture"])
        .env("MAINSTAY_TEST_URL", url)
        .env("MAINSTAY_TEST_PHASE", phase)
        .env("MAINSTAY_TEST_KILL", after.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    let text = String::from_utf8_lossy(&output.stderr);
    // The server may not have seen the last one's end.
    let busy = text.contains("LOCK-002");
    assert!(output.status.success() || killed || busy, "{text}");
    killed || busy
}

/// Again while the server has not seen that the last holder of the lock is gone.
async fn patiently<F: Future<Output = Result<()>>>(work: impl Fn() -> F) {
    for _ in 0..500 {
        match work().await {
            Err(error) if error.code() == Code::LockBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done.unwrap(),
        }
    }
    panic!("the lock never came free");
}

/// A trigger that writes down each update of a row.
fn audit(here: &Here) -> &'static str {
    match here.db.engine() {
        Sql::Sqlite => {
            "CREATE TABLE audit (id BIGINT); CREATE TRIGGER audited AFTER UPDATE ON orders \
             BEGIN INSERT INTO audit VALUES (NEW.id); END"
        }
        Sql::Postgres => {
            "CREATE TABLE audit (id BIGINT); CREATE FUNCTION audited() RETURNS trigger \
             LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NULL; END $$; \
             CREATE TRIGGER audited AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION audited()"
        }
        Sql::MySql => {
            "CREATE TABLE audit (id BIGINT); CREATE TRIGGER audited AFTER UPDATE ON orders \
             FOR EACH ROW INSERT INTO audit VALUES (NEW.id)"
        }
    }
}

/// Killed again and again, the backfill goes on each time where it was: what is written down is what
/// is filled, and no row is filled twice.
async fn a_killed_backfill_goes_on(engine: Engine) {
    const ROWS: i64 = 6000;
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    let here = Here { db: db.clone() };
    orders(&here, 6000).await;
    here.run(audit(&here)).await;
    online(&db).start(&change(KILLED, "orders", RENAME)).await.unwrap();
    let mut kills = 0;
    for after in (9..).step_by(4) {
        assert!(after < 2000, "it never ends by itself");
        if !run_victim(fresh.url(), "backfill", after).await {
            break;
        }
        kills += 1;
        let done = i64::try_from(status(&here, KILLED).await.rows_done).unwrap();
        has(&here, done, "orders WHERE cents IS NOT NULL").await;
        has(&here, done, "audit").await;
    }
    assert!(kills > 2, "{kills}");
    patiently(|| async { online(&db).backfill(KILLED).await }).await;
    has(&here, ROWS, "audit").await;
    has(&here, ROWS, "orders WHERE total = cents").await;
    assert_eq!(status(&here, KILLED).await.rows_done, 6000);
    db.close(Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

/// Killed at every third statement of all three phases, the next run ends where an undisturbed one
/// does.
async fn a_killed_change_goes_on(engine: Engine) {
    let (mut expected, mut kills) = (None, 0);
    for after in (0..).map(|n| if n == 0 { i64::MAX } else { 3 * n - 2 }) {
        assert!(after == i64::MAX || after < 500, "it never ends by itself");
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        let here = Here { db: db.clone() };
        orders(&here, 20).await;
        here.run("CREATE INDEX orders_total ON orders (total)").await;
        let killed = run_victim(fresh.url(), "all", after).await;
        patiently(|| async { all(&online(&db)).await }).await;
        let seen = schema(&here).await;
        assert_eq!(expected.get_or_insert_with(|| seen.clone()), &seen, "killed after {after}");
        has(&here, 20, "orders WHERE cents IS NOT NULL").await;
        db.close(Duration::from_secs(5)).await.unwrap();
        fresh.remove().await;
        if !killed && after != i64::MAX {
            break;
        }
        kills += i32::from(killed);
    }
    assert!(kills > 6, "{kills}");
}

macro_rules! killed {
    ($($module:ident $engine:ident),*) => {
        mod killed {
            $(
                mod $module {
                    use crate::support::Engine;

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn in_the_backfill() {
                        crate::online::a_killed_backfill_goes_on(Engine::$engine).await;
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn anywhere() {
                        crate::online::a_killed_change_goes_on(Engine::$engine).await;
                    }
                }
            )*
        }
    };
}
killed!(sqlite Sqlite, postgres Postgres, mariadb MariaDb);
