//! What must not be lost: writes between two steps, what others own, and what a kill leaves.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::support::on_every_engine;

on_every_engine!(
    names_that_are_taken_are_refused,
    one_change_of_a_table_is_under_way,
    writes_while_it_starts_are_kept,
);

async fn names_that_are_taken_are_refused(here: Here) {
    orders(&here, 3).await;
    here.run("CREATE INDEX mine ON orders (note)").await;
    let online = online(&here.db);
    for kind in ["add_index", "add_unique"] {
        let rest = format!("[{kind}]\ncolumns = [\"id\", \"note\"]\nname = \"mine\"\n");
        let report = refused(online.start(&change("x", "orders", &rest)).await, Code::ExpandPlan);
        assert!(report.contains("called mine already"), "{report}");
    }
    // The twin of an index of the column's.
    here.run("CREATE INDEX orders_total ON orders (total)").await;
    here.run("CREATE INDEX orders_total__new ON orders (note)").await;
    refused(online.start(&change("x", "orders", RENAME)).await, Code::ExpandPlan);
    assert!(online.status().await.unwrap().is_empty());
    assert_eq!(index(&here, "mine").await, 1);
    if here.db.engine() == Sql::Sqlite {
        return;
    }
    here.run(
        "CREATE TABLE items (id BIGINT NOT NULL PRIMARY KEY, order_id BIGINT, \
         CONSTRAINT mine_too FOREIGN KEY (order_id) REFERENCES orders (id))",
    )
    .await;
    let rest = "[add_foreign_key]\ncolumns = [\"order_id\"]\nreferences = \"orders\"\nto = [\"id\"]\n\
                name = \"mine_too\"\n";
    let report = refused(online.start(&change("x", "items", rest)).await, Code::ExpandPlan);
    assert!(report.contains("mine_too"), "{report}");
}

async fn one_change_of_a_table_is_under_way(here: Here) {
    orders(&here, 3).await;
    let online = online(&here.db);
    online.start(&change(KILLED, "orders", RENAME)).await.unwrap();
    let other = change("orders-note", "orders", "[add_index]\ncolumns = [\"note\"]\n");
    let report = refused(online.start(&other).await, Code::ExpandOrder);
    assert!(report.contains(KILLED), "{report}");
    to_the_end(&here, &change(KILLED, "orders", RENAME)).await;
    online.start(&other).await.unwrap();
}

/// Old code goes on while the triggers are made one after the other.
async fn writes_while_it_starts_are_kept(here: Here) {
    // SQLite makes them in one transaction.
    if here.db.engine() == Sql::Sqlite {
        return;
    }
    orders(&here, 3).await;
    let (stop, writer) = (Arc::new(AtomicBool::new(false)), here.clone());
    let stopped = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut session = writer.db.session().await.unwrap();
        let mut id = 10_000;
        while !stopped.load(Ordering::SeqCst) {
            id += 1;
            let insert = format!("INSERT INTO orders (id, total) VALUES ({id}, 1)");
            session.run(&insert).await.unwrap();
            // Also of a row that came in before.
            for id in [id, id - 1, id - 2] {
                let update = format!("UPDATE orders SET total = total + 1 WHERE id = {id}");
                session.run(&update).await.unwrap();
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    online(&here.db).start(&change(KILLED, "orders", RENAME)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    online(&here.db).backfill(KILLED).await.unwrap();
    has(&here, 0, "orders WHERE cents IS NULL OR total <> cents").await;
}

async fn on(engine: Engine, sql: &[&str]) -> (Here, Fresh) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    let here = Here { db };
    for sql in sql {
        here.run(sql).await;
    }
    (here, fresh)
}

async fn end((here, fresh): (Here, Fresh)) {
    here.db.close(Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

/// Killed after each statement in turn: once the old column is gone, nothing takes the new one too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_that_has_begun_is_not_taken_back_on_mariadb() {
    let (here, fresh) = on(Engine::MariaDb, &[]).await;
    orders(&here, 5).await;
    let rename = change(KILLED, "orders", "[rename_column]\ncolumn = \"note\"\nto = \"remark\"\n");
    online(&here.db).start(&rename).await.unwrap();
    online(&here.db).backfill(KILLED).await.unwrap();
    let mut was_gone = false;
    for after in 5.. {
        assert!(after < 200, "it never ends by itself");
        let lock = here.db.advisory_lock(format!("mainstay change {KILLED}"));
        lock.acquire().await.unwrap().release().await.unwrap();
        if !run_victim(fresh.url(), "contract", after).await {
            break;
        }
        let gone = sent(&here, "SELECT note FROM orders").await.is_err();
        if gone && status(&here, KILLED).await.phase == Phase::Contract {
            was_gone = true;
            for _ in 0..500 {
                match online(&here.db).abort(KILLED).await {
                    Err(error) if error.code() == Code::LockBusy => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    done => {
                        refused(done, Code::ExpandOrder);
                        break;
                    }
                }
            }
        }
        has(&here, 5, "orders WHERE remark = 'n'").await;
    }
    assert!(was_gone, "it was never killed between the column's end and its own");
    patiently(|| async { online(&here.db).contract(KILLED, true).await }).await;
    here.run("INSERT INTO orders (id, total, remark) VALUES (9001, 5, 'new')").await;
    end((here, fresh)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_sees_what_a_text_of_a_float_does_not_and_leaves_times_of_change() {
    let table = "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, total FLOAT NOT NULL, \
                 changed DATETIME ON UPDATE CURRENT_TIMESTAMP)";
    let rows = "INSERT INTO orders VALUES (1, 1.234567, '2020-01-01'), (2, 1.234567, '2020-01-01')";
    let (here, fresh) = on(Engine::MariaDb, &[table, rows]).await;
    online(&here.db).start(&change(KILLED, "orders", RENAME)).await.unwrap();
    online(&here.db).backfill(KILLED).await.unwrap();
    here.run("UPDATE orders SET total = total + 0.0000005 WHERE id = 1").await;
    here.run("UPDATE orders SET cents = cents + 0.0000005 WHERE id = 2").await;
    has(&here, 2, "orders WHERE total = cents AND total > 1.2345673").await;
    here.run("UPDATE orders SET changed = '2020-01-01'").await;
    to_the_end(&here, &change(KILLED, "orders", RENAME)).await;
    let add = "[add_column]\ncolumn = \"label\"\ntype = \"varchar(9)\"\nfill = \"'T' || id\"\n";
    let add = change("orders-label", "orders", add);
    online(&here.db).start(&add).await.unwrap();
    to_the_end(&here, &add).await;
    has(&here, 2, "orders WHERE label IS NOT NULL AND changed = '2020-01-01'").await;
    end((here, fresh)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_keeps_an_index_that_a_foreign_key_needs() {
    let tables = [
        "CREATE TABLE shops (id BIGINT NOT NULL PRIMARY KEY)",
        "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, shop BIGINT NOT NULL, \
         name VARCHAR(101) NOT NULL, KEY both_of_them (shop, name), \
         FOREIGN KEY (shop) REFERENCES shops (id))",
    ];
    let (here, fresh) = on(Engine::MariaDb, &tables).await;
    let split = change("people-name", "people", SPLIT);
    let report = refused(online(&here.db).start(&split).await, Code::ExpandPlan);
    assert!(report.contains("needs the index both_of_them"), "{report}");
    here.run("CREATE INDEX shop_alone ON people (shop)").await;
    online(&here.db).start(&split).await.unwrap();
    to_the_end(&here, &split).await;
    assert_eq!(index(&here, "both_of_them").await, 0);
    end((here, fresh)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_triggers_that_name_the_column_use_it() {
    let (here, fresh) = on(Engine::Postgres, &[]).await;
    orders(&here, 1).await;
    here.run(
        "CREATE FUNCTION cap() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.total := least(NEW.total, 100); RETURN NEW; END $$; \
         CREATE TRIGGER capped BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION cap()",
    )
    .await;
    let renamed = online(&here.db).start(&change(KILLED, "orders", RENAME)).await;
    let report = refused(renamed, Code::ExpandPlan);
    assert!(report.contains("function cap of the trigger capped"), "{report}");
    end((here, fresh)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_type_with_nulls_in_it_is_a_value_to_postgres() {
    let (here, fresh) = on(
        Engine::Postgres,
        &[
            "CREATE TYPE price AS (amount INT, currency TEXT)",
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, total price NOT NULL)",
            "INSERT INTO orders VALUES (1, ROW(1, NULL)), (2, ROW(NULL, NULL)), (3, ROW(3, 'x'))",
        ],
    )
    .await;
    let rename = change(KILLED, "orders", RENAME);
    online(&here.db).start(&rename).await.unwrap();
    here.run("INSERT INTO orders (id, cents) VALUES (4, ROW(4, NULL))").await;
    here.run("INSERT INTO orders (id, total) VALUES (5, ROW(NULL, NULL))").await;
    to_the_end(&here, &rename).await;
    has(&here, 5, "orders WHERE cents IS DISTINCT FROM NULL").await;
    has(&here, 1, "orders WHERE id = 4 AND (cents).amount = 4").await;
    end((here, fresh)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlites_collations_go_with_the_column() {
    let table = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total TEXT COLLATE NOCASE NOT NULL, \
                 note TEXT NOT NULL ON CONFLICT IGNORE)";
    let index = "CREATE UNIQUE INDEX orders_total ON orders (total)";
    let rows = "INSERT INTO orders VALUES (1, 'Ada', 'n')";
    let (here, fresh) = on(Engine::Sqlite, &[table, index, rows]).await;
    let rest = "[rename_column]\ncolumn = \"note\"\nto = \"remark\"\n";
    let report =
        refused(online(&here.db).start(&change("x", "orders", rest)).await, Code::ExpandPlan);
    assert!(report.contains("ON CONFLICT"), "{report}");
    let rest = "[retype_column]\ncolumn = \"total\"\ntype = \"VARCHAR(9)\"\nusing = \"total\"\n";
    let retype = change("orders-total", "orders", rest);
    online(&here.db).start(&retype).await.unwrap();
    to_the_end(&here, &retype).await;
    let rename = change(KILLED, "orders", RENAME);
    online(&here.db).start(&rename).await.unwrap();
    to_the_end(&here, &rename).await;
    has(&here, 1, "orders WHERE cents = 'ADA'").await;
    let twice = sent(&here, "INSERT INTO orders (id, cents, note) VALUES (2, 'aDA', 'n')").await;
    refused(twice, Code::Unique);
    end((here, fresh)).await;
}
